import { humanCount, humanSeconds } from '../../output/human.ts';
import { prelockStep, quietStep, type Change } from '../../plan/step.ts';
import { batchSql } from '../../sql/drain.ts';
import { deleteJobSql, insertJobSql } from '../../sql/jobs.ts';
import { displayName, ident, literal, relation } from '../../sql/quote.ts';
import { attachSteps, boundCheck, createSteps, drainingMarker } from '../create/child.ts';
import { excludeMarker } from '../create/default-partition.ts';
import { derivedName } from '../model/naming.ts';
import {
  type PeriodWork,
  boundsAfter,
  moveOf,
  rangeText,
  statementTimeoutOf,
  lockSteps,
  attachLocksOf,
  detachSteps,
  reattachSteps,
  moveSteps,
} from './period-work.ts';

/** Whether a CHECK that refuses new rows of the period spares the scan under the strong locks. */
export function needsCheck(work: PeriodWork): boolean {
  return work.estimate.keptOutMs > work.limitMs;
}

/** Batches begin with a table that is not attached, and the job that says how far they have come. */
export function beginChange(work: PeriodWork, jobName: string, spec: unknown): Change {
  const { source, period } = work;
  const { set, parent } = source;
  const table = relation(period.partition.table);
  return {
    summary: `create ${displayName(period.partition.table)} for ${humanCount(period.rows)} rows from ${rangeText(work)}, not attached yet`,
    table: set.label,
    kind: 'transaction',
    lockTimeoutMs: work.settings.lockTimeoutMs,
    statementTimeoutMs: 2000,
    event: 'partition_drain_begun',
    fields: { partition: `${period.partition.table.schema}.${period.partition.table.name}` },
    steps: [
      ...createSteps(
        parent,
        set.settings.key,
        set.codec,
        period.partition,
        set.settings.storageParameters,
        true,
      ),
      quietStep(
        `comment on table ${table} is ${literal(`${drainingMarker} from=${relation(source.partition)} to=${relation(parent)}`)}`,
        'rows that are in it already are read here until it is attached',
      ),
      quietStep(
        insertJobSql(work.settings.stateSchema, jobName, spec, 'moving'),
        'so that a kill loses nothing',
      ),
    ],
  };
}

/** The batches as a loop that psql can run; the run itself sends them one by one and watches their time. */
export function batchesAsLoop(work: PeriodWork): Change {
  const { source, period, estimate } = work;
  const sql = batchSql(moveOf(source, period), 1000, source.facts.keyIsIndexed);
  const quiet = source.withoutTriggers
    ? `perform pg_catalog.set_config('session_replication_role', 'replica', true); `
    : '';
  const twice = source.facts.isUnique
    ? 'stops the drain until one of the two rows is deleted'
    : 'leaves two rows, since no unique key refuses it';
  return {
    summary:
      `move ${humanCount(period.rows)} rows in batches; for about ${humanSeconds(estimate.invisibleMs / 1000)} rows of this ` +
      `period are not in ${source.set.label} but in ${displayName(period.partition.table)}: updates and deletes do not see them, ` +
      `and an upsert or a second insert of such a key goes through and ${twice}. The run itself measures each ` +
      `batch, keeps a cursor, and stops when others wait for it; this loop does neither`,
    table: source.set.label,
    kind: 'single',
    lockTimeoutMs: 500,
    statementTimeoutMs: null,
    event: 'partition_drain_moved',
    steps: [
      {
        sql: `do ${literal(
          `declare moved int8; begin loop ${quiet}${sql}; get diagnostics moved = row_count; commit; ` +
            'exit when moved = 0; perform pg_catalog.pg_sleep(0.05); end loop; end',
        )}`,
        locks: [
          { table: relation(source.partition), mode: 'ROW EXCLUSIVE' },
          { table: relation(period.partition.table), mode: 'ROW EXCLUSIVE' },
        ],
        why: 'each batch is a transaction of its own, and passes over rows that somebody has locked',
      },
    ],
  };
}

/** The CHECK by which the server knows, without a scan under locks, that no row of the period is left. */
function checkName(work: PeriodWork): string {
  const { table } = work.period.partition;
  return derivedName('dbops_drained', relation(work.source.partition), relation(table));
}

/** From the first of these on, new rows of the period are refused; the last one reads the source without a strong lock. */
export function excludeChanges(work: PeriodWork): Change[] {
  const { source, settings, bounds, period } = work;
  const table = relation(source.partition);
  const name = ident(checkName(work));
  const move = moveOf(source, period);
  const key = ident(move.key);
  const condition =
    bounds === undefined
      ? `${key} is null or ${key} < ${move.from} or ${key} >= ${move.to}`
      : ((rest) => boundCheck(move.key, source.set.codec, rest.from, rest.to))(
          boundsAfter(source, bounds, period.partition),
        );
  const common = {
    table: source.set.label,
    kind: 'transaction',
    lockTimeoutMs: settings.lockTimeoutMs,
  } as const;
  return [
    {
      ...common,
      summary: `refuse new rows from ${rangeText(work)} in ${displayName(source.partition)} until the attach, about ${humanSeconds(work.estimate.sparedMs / 1000)}`,
      statementTimeoutMs: 2000,
      event: 'partition_drain_excluded',
      isIntermediate: true,
      steps: [
        prelockStep(table, work.deadlockTimeoutMs),
        {
          sql: `alter table ${table} drop constraint if exists ${name}, add constraint ${name} check (${condition}) not valid`,
          locks: [{ table, mode: 'ACCESS EXCLUSIVE' }],
          why: 'inserts of this range fail from here until the attach',
        },
        quietStep(
          `comment on constraint ${name} on ${table} is ${literal(excludeMarker)}`,
          'so that a later run finds it',
        ),
      ],
    },
    {
      ...common,
      summary: `move the last rows of ${rangeText(work)} and read what is left in ${displayName(source.partition)}`,
      statementTimeoutMs: null,
      event: 'partition_drain_validated',
      isIntermediate: true,
      steps: [
        ...moveSteps(work),
        {
          sql: `alter table ${table} validate constraint ${name}`,
          locks: [{ table, mode: 'SHARE UPDATE EXCLUSIVE' }],
          why: 'reads it while readers and writers go on',
        },
      ],
    },
  ];
}

/** The end of a period in batches: what arrived meanwhile is moved, and the table attached, under the strong locks. */
export function finishChange(work: PeriodWork, jobName: string, isExcluded: boolean): Change {
  const { source, period, estimate } = work;
  const { set, parent } = source;
  const keptOutMs = estimate.keptOutMs - (isExcluded ? estimate.sparedMs : 0);
  const dropCheck = quietStep(
    `alter table ${relation(source.partition)} drop constraint ${ident(checkName(work))}`,
    'the bounds say the same now',
  );
  return {
    summary:
      `attach ${displayName(period.partition.table)} for ${rangeText(work)}, with the rows that arrived meanwhile; ` +
      `readers and writers of ${set.label} wait about ${humanSeconds(keptOutMs / 1000)}`,
    table: set.label,
    kind: 'transaction',
    lockTimeoutMs: work.settings.lockTimeoutMs,
    statementTimeoutMs: statementTimeoutOf(work),
    event: 'partition_drained',
    fields: {
      partition: `${period.partition.table.schema}.${period.partition.table.name}`,
      rows: period.rows,
    },
    steps: [
      ...lockSteps(work),
      // A validated CHECK says that there is none left.
      ...(isExcluded ? [] : moveSteps(work)),
      ...detachSteps(work),
      ...reattachSteps(work),
      ...attachSteps(parent, set.codec, period.partition, attachLocksOf(work)),
      ...(isExcluded ? [dropCheck] : []),
      quietStep(deleteJobSql(work.settings.stateSchema, jobName), 'this period is done'),
    ],
  };
}
