import type { Change } from '../../plan/step.ts';
import { displayName, relation, type RelationName } from '../../sql/quote.ts';
import type { Branch } from '../model/set.ts';

/** How long a FINALIZE or a concurrent detach may run before it is given up, in milliseconds. */
export const detachDeadlineMs = 60_000;

/**
 * Finishes an interrupted concurrent detach, which hides its rows and refuses inserts. No lock_timeout: it waits for
 * the partition only, which nobody reaches through the parent any more; the deadline bounds it.
 */
export function finalizeChange(parent: RelationName, partition: RelationName): Change {
  const table = relation(parent);
  return {
    summary: `finish the interrupted detach of ${displayName(partition)} from ${displayName(parent)}`,
    table: displayName(parent),
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
  };
}

/** Every run first finishes what an interrupted detach left pending. */
export function finalizeChanges(branch: Branch): Change[] {
  return branch.pending.map((partition) => finalizeChange(branch, partition));
}
