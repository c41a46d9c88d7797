import type { Settings } from '../../config/settings.ts';
import { prelockStep, quietStep, type Step } from '../../plan/step.ts';
import { moveSql, type Move } from '../../sql/drain.ts';
import type { LockNeed } from '../../sql/locks.ts';
import { relation } from '../../sql/quote.ts';
import type { Range } from '../model/bounds.ts';
import { attachLocks, boundClause } from '../create/child.ts';
import { pointLiteral, type Point } from '../model/key.ts';
import type { ClosedRange } from '../model/set.ts';
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

/** The bounds of the period, for people. */
export function rangeText(work: PeriodWork): string {
  const { codec } = work.source.set;
  const { from, to } = work.period.partition;
  return `${codec.format(from)} to ${codec.format(to)}`;
}

/** One statement may wait for an autovacuum that gives way as well. */
export function statementTimeoutOf(work: PeriodWork): number {
  return Math.max(work.limitMs, 2000) + work.deadlockTimeoutMs;
}

/**
 * The strong locks come first, each tried for an instant, so that nobody queues behind us while rows move. ACCESS
 * EXCLUSIVE on the parent too: who planned a query before the attach and then waited for the source alone would look for
 * the rows there after they have left (seen: a reader counted none of them, a writer's row was refused).
 */
export function lockSteps(work: PeriodWork): Step[] {
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

/** What attaching the new partition locks, on all sides. */
export function attachLocksOf(work: PeriodWork): LockNeed[] {
  const { source } = work;
  return attachLocks(
    source.parent,
    source.foreignKeys,
    work.serverVersionNum,
    source.direction === undefined ? source.partition : source.otherDefault?.partition,
  );
}

/** A partition's bounds can be changed only by taking it out and putting it back. */
export function detachSteps(work: PeriodWork): Step[] {
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

/** Puts back what is left of the source, with what is left of its bounds; nothing for a default partition. */
export function reattachSteps(work: PeriodWork): Step[] {
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

/** Moves the rows of the period that are there, with triggers off where one would fire. */
export function moveSteps(work: PeriodWork): Step[] {
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
