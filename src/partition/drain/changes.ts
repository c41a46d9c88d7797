import type { Settings } from '../../config/settings.ts';
import { humanCount, humanSeconds } from '../../output/human.ts';
import { prelockStep, quietStep, type Change, type Step } from '../../plan/step.ts';
import { batchSql, checkReferencesSql, moveSql, type Move } from '../../sql/drain.ts';
import { deleteJobSql, insertJobSql } from '../../sql/jobs.ts';
import type { LockNeed } from '../../sql/locks.ts';
import { displayName, ident, literal, relation } from '../../sql/quote.ts';
import type { Range } from '../bounds.ts';
import { attachLocks, attachSteps, boundCheck, boundClause, createSteps, drainingMarker } from '../child.ts';
import { excludeMarker } from '../default-partition.ts';
import { pointLiteral, type Point } from '../key.ts';
import { derivedName } from '../naming.ts';
import type { ClosedRange } from '../set.ts';
import type { Estimate } from './estimate.ts';
import type { DrainPeriod } from './periods.ts';
import type { DrainSource } from './source.ts';

/** What the changes of a period are made from. */
export interface PeriodWork {
  source: DrainSource;
  period: DrainPeriod;
  estimate: Estimate;
  /** The source's bounds before this period leaves it; undefined for a default partition. */
  bounds: Range | undefined;
  settings: Pick<Settings, 'lockTimeoutMs' | 'stateSchema'>;
  /** What one statement under the strong locks may take, in milliseconds. */
  limitMs: number;
  deadlockTimeoutMs: number;
  serverVersionNum: number;
}

/** What is left of the source's bounds when a period has left it at one of its ends. Pure. */
export function boundsAfter(
  source: Pick<DrainSource, 'direction'>,
  bounds: Range,
  period: ClosedRange,
): Range {
  return source.direction === 'from the upper end'
    ? { from: bounds.from, to: period.from }
    : { from: period.to, to: bounds.to };
}

/** Whether a CHECK that refuses new rows of the period spares the scan under the strong locks. */
export function needsCheck(work: PeriodWork): boolean {
  return work.estimate.keptOutMs > work.limitMs;
}

/** From where to where the rows of a period go. */
export function moveOf(source: DrainSource, period: DrainPeriod): Move {
  const { codec, settings } = source.set;
  const point = (value: Point) => pointLiteral(codec, value);
  return {
    source: source.partition,
    target: period.partition.table,
    key: settings.key,
    columns: source.facts.columns,
    from: point(period.partition.from),
    to: point(period.partition.to),
  };
}

function rangeText(work: PeriodWork): string {
  const { codec } = work.source.set;
  const { from, to } = work.period.partition;
  return `${codec.format(from)} to ${codec.format(to)}`;
}

/**
 * One period in one transaction: to READ COMMITTED rows are never absent and never twice. A REPEATABLE READ transaction
 * whose snapshot is older than the commit looks for them in the new partition, where it does not see them.
 */
export function transactionChangeOf(work: PeriodWork): Change {
  const { source, period, estimate } = work;
  const { set, parent } = source;
  const target = displayName(period.partition.table);
  const kept = humanSeconds(estimate.keptOutMs / 1000);
  return {
    summary:
      `move ${humanCount(period.rows)} rows from ${rangeText(work)} out of ${displayName(source.partition)} to ${target}; ` +
      `readers and writers of ${set.label} wait about ${kept}`,
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
      ...detachSteps(work),
      ...createSteps(parent, set.settings.key, set.codec, period.partition, set.settings.storageParameters),
      ...moveSteps(work),
      ...reattachSteps(work),
      ...attachSteps(parent, set.codec, period.partition, attachLocksOf(work)),
      ...checkSteps(work),
    ],
  };
}

/** One statement may wait for an autovacuum that gives way as well. */
function statementTimeoutOf(work: PeriodWork): number {
  return Math.max(work.limitMs, 2000) + work.deadlockTimeoutMs;
}

/**
 * The strong locks come first, each tried for an instant, so that nobody queues behind us while rows move. ACCESS
 * EXCLUSIVE on the parent too: who planned a query before the attach and then waited for the source alone would look for
 * the rows there after they have left (seen: a reader counted none of them, a writer's row was refused).
 */
function lockSteps(work: PeriodWork): Step[] {
  const { source } = work;
  const exclusive = (name: string, why: string): Step => ({
    sql: `lock table only ${name} in access exclusive mode`,
    locks: [{ table: name, mode: 'ACCESS EXCLUSIVE' }],
    why,
  });
  const steps = [
    prelockStep(relation(source.partition), work.deadlockTimeoutMs),
    exclusive(relation(source.parent), 'queries wait here, before they have chosen their partitions'),
    exclusive(relation(source.partition), 'no row comes or goes meanwhile'),
  ];
  if (source.otherDefault !== undefined) {
    steps.push(
      exclusive(relation(source.otherDefault.partition), 'the attach looks for rows of the new bounds in it'),
    );
  }
  for (const need of foreignKeyLocks(work)) {
    steps.push({
      sql: `lock table only ${need.table} in ${need.mode.toLowerCase()} mode`,
      locks: [need],
      why: 'a foreign key: the attach locks its other side, and late would be in vain',
    });
  }
  return steps;
}

/** The attach of a source that has its foreign keys already takes ACCESS EXCLUSIVE on their targets. */
function foreignKeyLocks(work: PeriodWork): LockNeed[] {
  const { source } = work;
  const found = new Map<string, LockNeed>();
  for (const key of source.foreignKeys) {
    if (!source.lockable.includes(key.otherOid)) continue;
    if (key.direction === 'incoming' && work.serverVersionNum < 150_000) continue;
    const table = relation({ schema: key.otherSchema, name: key.otherName });
    found.set(table, {
      table,
      mode: source.direction === undefined ? 'SHARE ROW EXCLUSIVE' : 'ACCESS EXCLUSIVE',
    });
  }
  return [...found.values()];
}

function attachLocksOf(work: PeriodWork): LockNeed[] {
  const { source } = work;
  return attachLocks(
    source.parent,
    source.foreignKeys,
    work.serverVersionNum,
    source.direction === undefined ? source.partition : source.otherDefault?.partition,
  );
}

/** A partition's bounds can be changed only by taking it out and putting it back. */
function detachSteps(work: PeriodWork): Step[] {
  const { source } = work;
  if (source.direction === undefined) return [];
  return [
    {
      sql: `alter table ${relation(source.parent)} detach partition ${relation(source.partition)}`,
      locks: [{ table: relation(source.parent), mode: 'ACCESS EXCLUSIVE' }],
      why: 'its bounds can be changed only by taking it out and putting it back in the same transaction',
    },
  ];
}

function reattachSteps(work: PeriodWork): Step[] {
  const { source, bounds, period } = work;
  if (source.direction === undefined || bounds === undefined) return [];
  const { from, to } = boundsAfter(source, bounds, period.partition);
  return [
    {
      sql: `alter table ${relation(source.parent)} attach partition ${relation(source.partition)} ${boundClause(source.set.codec, from, to)}`,
      locks: attachLocksOf(work),
      why: 'what is left goes back with the rest of its bounds; it is scanned once',
    },
  ];
}

function moveSteps(work: PeriodWork): Step[] {
  const sql = moveSql(moveOf(work.source, work.period));
  const move = quietStep(
    sql,
    'what is deleted here is inserted there; a REPEATABLE READ transaction that is older than the commit may miss it there, ' +
      'so the run begins when those of before have ended',
  );
  if (!work.source.withoutTriggers) return [move];
  return [
    quietStep(
      'set local session_replication_role = replica',
      `nothing may fire: ${work.source.fires.join('; ')}`,
    ),
    move,
    quietStep('set local session_replication_role = origin', 'from here on as usual'),
  ];
}

/** Triggers of foreign keys did not fire either, so what they watch over is looked at. */
function checkSteps(work: PeriodWork): Step[] {
  const { source, period } = work;
  if (!source.withoutTriggers) return [];
  return source.foreignKeys
    .filter((key) => key.direction === 'incoming')
    .map((key) =>
      quietStep(
        checkReferencesSql(
          source.parent,
          {
            constraint: key.constraint,
            referencing: { schema: key.otherSchema, name: key.otherName },
            columns: key.otherColumns,
            referenced: key.columns,
          },
          moveOf(source, period),
        ),
        'its triggers were off: every row that points at the moved ones must still find them',
      ),
    );
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
