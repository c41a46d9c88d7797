import { DbopsError } from '../../errors.ts';
import { prelockStep, quietStep, transactionChange, type Change } from '../../plan/step.ts';
import type { LockNeed } from '../../sql/locks.ts';
import { displayName, ident, literal, relation, visible } from '../../sql/quote.ts';
import { countInRange, type MarkedConstraintRow } from '../../sql/relations.ts';
import type { NewPartition } from './child.ts';
import type { JobContext, PlanContext } from '../context.ts';
import { pointLiteral } from '../model/key.ts';
import { derivedName } from '../model/naming.ts';
import type { Partition } from '../model/set.ts';
import type { Wanted } from './wanted.ts';

/** The CHECK on a default partition that spares the attach its scan; it refuses rows of the range until then. */
export const excludeMarker = 'dbops:excluding';

/** The attach would fail over them; moving them is another job. */
export async function refuseRowsInDefault(
  db: JobContext['db'],
  wanted: Wanted,
  partition: NewPartition,
): Promise<void> {
  const { set, branch } = wanted;
  if (branch.defaultPartition === undefined) return;
  const rows = await countInRange(
    db,
    relation(branch.defaultPartition),
    ident(set.settings.key),
    pointLiteral(set.codec, partition.from),
    pointLiteral(set.codec, partition.to),
  );
  if (rows === 0) return;
  throw new DbopsError(
    'refused',
    `${set.label}: ${String(rows)} rows from ${set.codec.format(partition.from)} to ${set.codec.format(partition.to)} lie in its default partition`,
    {
      hint: `"dbops partition drain ${set.label} --from ${visible(`${branch.defaultPartition.schema}.${branch.defaultPartition.name}`)} --mode transaction --dry-run" shows how they move.`,
    },
  );
}

/** A CHECK on the default partition that a killed run left behind refuses rows: it goes first. */
export function leftoverConstraints(
  context: PlanContext,
  wanted: Pick<Wanted, 'set' | 'branch'>,
  leftovers: MarkedConstraintRow[],
): Change[] {
  const { defaultPartition } = wanted.branch;
  if (defaultPartition === undefined) return [];
  return leftovers
    .filter((row) => row.tableOid === defaultPartition.oid)
    .map((row) => removeConstraint(context, wanted.set.label, defaultPartition, row.constraint));
}

function removeConstraint(
  context: PlanContext,
  label: string,
  defaultPartition: Partition,
  constraint: string,
): Change {
  const table = relation(defaultPartition);
  return transactionChange({
    summary: `remove constraint ${visible(constraint)} that an interrupted run left on ${displayName(defaultPartition)}`,
    table: label,
    lockTimeoutMs: context.settings.lockTimeoutMs,
    event: 'partition_leftover_removed',
    steps: [
      prelockStep(table, context.db.server.deadlockTimeoutMs),
      {
        sql: `alter table ${table} drop constraint if exists ${ident(constraint)}`,
        locks: [{ table, mode: 'ACCESS EXCLUSIVE' }],
        why: 'it makes inserts into its range fail',
      },
    ],
  });
}

/**
 * The attach scans a default partition under ACCESS EXCLUSIVE unless a validated CHECK on it excludes the range. The
 * CHECK refuses rows of the range until the attach, so the time between is kept short.
 */
export function excludingChanges(
  context: PlanContext,
  wanted: Wanted,
  partition: NewPartition,
): { changes: Change[]; prelock: Change['steps']; drop: Change['steps'] } {
  const { set, branch } = wanted;
  if (branch.defaultPartition === undefined) return { changes: [], prelock: [], drop: [] };
  const table = relation(branch.defaultPartition);
  const constraint = derivedName('dbops_exclude', partition.table.schema, partition.table.name);
  const name = ident(constraint);
  const key = ident(set.settings.key);
  const from = pointLiteral(set.codec, partition.from);
  const to = pointLiteral(set.codec, partition.to);
  const exclusive: LockNeed[] = [{ table, mode: 'ACCESS EXCLUSIVE' }];
  const prelock = [prelockStep(table, context.db.server.deadlockTimeoutMs)];
  const label = visible(`${branch.defaultPartition.schema}.${branch.defaultPartition.name}`);
  return {
    prelock,
    changes: [
      transactionChange({
        summary: `exclude ${set.codec.format(partition.from)} to ${set.codec.format(partition.to)} from ${label}`,
        table: set.label,
        lockTimeoutMs: context.settings.lockTimeoutMs,
        event: 'default_partition_excluded',
        isIntermediate: true,
        undo: removeConstraint(context, set.label, branch.defaultPartition, constraint),
        steps: [
          ...prelock,
          {
            sql: `alter table ${table} add constraint ${name} check (${key} is null or ${key} < ${from} or ${key} >= ${to}) not valid`,
            locks: exclusive,
            why: 'from here until the attach, rows of this range are refused',
          },
          quietStep(
            `comment on constraint ${name} on ${table} is ${literal(excludeMarker)}`,
            'so that the next run finds it',
          ),
        ],
      }),
      transactionChange({
        summary: `validate that ${label} holds no such rows`,
        table: set.label,
        lockTimeoutMs: context.settings.lockTimeoutMs,
        statementTimeoutMs: null,
        event: 'default_partition_validated',
        isIntermediate: true,
        leavesNothing: true,
        steps: [
          {
            sql: `alter table ${table} validate constraint ${name}`,
            locks: [{ table, mode: 'SHARE UPDATE EXCLUSIVE' }],
            why: 'reads the default partition while readers and writers go on',
          },
        ],
      }),
    ],
    drop: [
      {
        sql: `alter table ${table} drop constraint ${name}`,
        locks: exclusive,
        why: 'the new partition takes the range over',
      },
    ],
  };
}
