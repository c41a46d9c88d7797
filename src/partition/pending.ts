import { relation, visible } from '../sql/quote.ts';
import type { Change } from '../plan/step.ts';
import type { Branch } from './set.ts';

/** How long a FINALIZE or a concurrent detach may run before it is given up, in milliseconds. */
export const detachDeadlineMs = 60_000;

/**
 * An interrupted concurrent detach hides its rows and refuses inserts: every run finishes those first. No lock_timeout:
 * it would leave the detach pending again; the deadline bounds it.
 */
export function finalizeChanges(branch: Branch): Change[] {
  const table = relation(branch);
  const label = visible(`${branch.schema}.${branch.name}`);
  return branch.pending.map((partition) => ({
    summary: `finish the interrupted detach of ${visible(`${partition.schema}.${partition.name}`)} from ${label}`,
    table: label,
    kind: 'single',
    lockTimeoutMs: null,
    statementTimeoutMs: detachDeadlineMs,
    event: 'partition_detach_finalized',
    fields: { partition: `${partition.schema}.${partition.name}` },
    steps: [
      {
        sql: `alter table ${table} detach partition ${relation(partition)} finalize`,
        locks: [
          { table, mode: 'SHARE UPDATE EXCLUSIVE' },
          { table: relation(partition), mode: 'ACCESS EXCLUSIVE' },
        ],
        why: 'its rows are in no query until this is done',
      },
    ],
  }));
}
