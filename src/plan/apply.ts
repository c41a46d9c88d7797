import { setTimeout as sleep } from 'node:timers/promises';
import { DbopsError } from '../errors.ts';
import type { Log } from '../output/log.ts';
import type { Db } from '../pg/connection.ts';
import { isConnectionLoss, isRetryable, sqlStateOf } from '../pg/sqlstate.ts';
import { listBlockers, type BlockerRow, type LockNeed } from '../sql/locks.ts';
import { statementsOf } from './render.ts';
import type { Change } from './step.ts';

export interface ApplyOptions {
  log: Log;
  signal?: AbortSignal | undefined;
  /** How long one change may be tried again, in milliseconds. */
  deadlineMs: number;
  /** Called after each change that took effect. */
  onDone?: (change: Change) => Promise<void> | void;
}

/** What a run has behind it; the runner turns exit 4 into 5 when something was changed. */
export interface Applied {
  changes: number;
}

/**
 * Executes changes in their order, each retried with jittered backoff while locks are in the way. Nothing waits in a
 * lock queue longer than the change's lock_timeout. Throws lock_timeout naming who holds the lock after the deadline.
 */
export async function applyChanges(
  db: Db,
  changes: Change[],
  applied: Applied,
  options: ApplyOptions,
): Promise<void> {
  let unfinished: Change[] = [];
  for (const change of changes) {
    try {
      await applyChange(db, change, options);
    } catch (error) {
      if (await takeBack(db, unfinished, error, options)) applied.changes -= unfinished.length;
      throw error;
    }
    applied.changes += 1;
    unfinished = change.isIntermediate === true ? [...unfinished, change] : [];
    const level = change.isIntermediate === true ? 'debug' : 'info';
    options.log[level]({ event: change.event, table: change.table, ...change.fields }, change.summary);
    await options.onDone?.(change);
  }
}

/** What the taking back of a failed group may cost, in milliseconds; the next run does what was not done by then. */
const takeBackDeadlineMs = 10_000;

/**
 * Takes back the intermediate changes of a group whose end failed, the newest first: a constraint that refuses rows must
 * not stay until the next run. Returns whether nothing of them is left. After an interruption or on a lost connection
 * nothing can be said to the server any more.
 */
async function takeBack(
  db: Db,
  unfinished: Change[],
  reason: unknown,
  options: ApplyOptions,
): Promise<boolean> {
  if (isConnectionLoss(reason) || options.signal?.aborted === true) return false;
  const deadlineMs = Math.min(options.deadlineMs, takeBackDeadlineMs);
  try {
    for (const { undo, leavesNothing } of unfinished.toReversed()) {
      // What cannot be taken back stays, and so does what came before it and tells of it.
      if (undo === undefined && leavesNothing !== true) return false;
      if (undo !== undefined) await applyChange(db, undo, { ...options, deadlineMs });
    }
    return true;
  } catch (error) {
    options.log.warn(
      { event: 'take_back_failed', reason: error instanceof Error ? error.message : String(error) },
      'what was begun could not be taken back; the next run does it',
    );
    return false;
  }
}

async function applyChange(db: Db, change: Change, options: ApplyOptions): Promise<void> {
  const deadline = performance.now() + options.deadlineMs;
  for (let attempt = 1; ; attempt += 1) {
    try {
      await waitUntilFree(db, change, deadline, options);
      await attemptOnce(db, change);
      return;
    } catch (error) {
      if (change.isTriedOnce === true || !isRetryable(error)) throw error;
      const blockers = await listBlockers(db, locksOf(change));
      // Its own time was too short for the work, not the wait: trying again would only do the same once more.
      if (blockers.length === 0 && sqlStateOf(error) === '57014') throw error;
      const remainingMs = deadline - performance.now();
      if (remainingMs <= 0) throw gaveUp(change, blockers, options.deadlineMs, error);
      options.log.debug(
        { event: 'lock_retry', table: change.table, attempt, holder: blockers[0]?.pid ?? null },
        `${change.summary}: ${describeBlockers(blockers)}; trying again`,
      );
      await pause(Math.min(backoffMs(attempt), remainingMs), options.signal);
    }
  }
}

/**
 * A transaction is sent as one message: the locks it takes are not held over round trips. What cannot run in a
 * transaction is sent one by one, and the session's own settings are put back after it.
 */
async function attemptOnce(db: Db, change: Change): Promise<void> {
  const statements = statementsOf(change);
  if (change.kind === 'transaction') {
    await db.executeTransaction(statements);
    return;
  }
  try {
    for (const sql of statements) await db.execute(sql);
  } finally {
    await db.resetTimeouts();
  }
}

/** A busy table is never quite free: after this time, transactions younger than a second are taken as ones that end. */
const strictWaitMs = 3000;
const oldTransactionSeconds = 1;

/**
 * Waits, without any lock, until no transaction is in the way: a CONCURRENTLY that meets a lasting one is left half
 * done. First for a moment with none at all, since a transaction that has just begun may be a long one; on a table that
 * is never free, then for a moment with young ones only. Throws lock_timeout naming who is in the way.
 */
async function waitUntilFree(db: Db, change: Change, deadline: number, options: ApplyOptions): Promise<void> {
  if (change.startWhenFree === undefined) return;
  const started = performance.now();
  const firstSeen = new Map<number, number>();
  for (let attempt = 1; ; attempt += 1) {
    const isStrict = performance.now() - started < strictWaitMs;
    const rows = await listBlockers(db, change.startWhenFree);
    for (const { pid } of rows) if (!firstSeen.has(pid)) firstSeen.set(pid, performance.now());
    for (const pid of firstSeen.keys()) if (!rows.some((row) => row.pid === pid)) firstSeen.delete(pid);
    const blockers = rows.filter((row) => isInTheWay(row, isStrict, firstSeen.get(row.pid) ?? 0));
    if (blockers.length === 0) return;
    const remainingMs = deadline - performance.now();
    if (remainingMs <= 0) throw gaveUp(change, blockers, options.deadlineMs, undefined);
    if (attempt === 1 || !isStrict) {
      options.log.debug(
        { event: 'lock_wait', table: change.table, attempt, holder: blockers[0]?.pid ?? null },
        `${change.summary}: not begun yet: ${describeBlockers(blockers)}`,
      );
    }
    await pause(
      Math.min(isStrict ? 20 + Math.random() * 20 : backoffMs(attempt), remainingMs),
      options.signal,
    );
  }
}

/** Where the age of a transaction may not be read (no pg_read_all_stats), how long we have seen it counts. */
function isInTheWay(row: BlockerRow, isStrict: boolean, firstSeen: number): boolean {
  if (row.isAutovacuum) return row.isWraparoundVacuum;
  if (isStrict || row.pid === 0) return true;
  const ageSeconds = row.transactionAgeSeconds ?? (performance.now() - firstSeen) / 1000;
  return ageSeconds > oldTransactionSeconds;
}

/** Full jitter between half and the whole of a growing pause, at most 5 s. */
function backoffMs(attempt: number): number {
  const ceiling = Math.min(50 * 2 ** Math.min(attempt, 10), 5000);
  return ceiling * (0.5 + Math.random() / 2);
}

function locksOf(change: Change): LockNeed[] {
  return change.steps.flatMap((step) => step.locks);
}

function gaveUp(change: Change, blockers: BlockerRow[], deadlineMs: number, cause: unknown): DbopsError {
  const seconds = Math.round(deadlineMs / 1000);
  const holder = blockers.find((row) => row.granted) ?? blockers[0];
  return new DbopsError('lock_timeout', `gave up after ${String(seconds)} s: ${change.summary}`, {
    detail: describeBlockers(blockers),
    hint:
      holder === undefined
        ? 'The lock was busy each time but is free now; run the command again.'
        : holder.pid === 0
          ? 'It is a prepared transaction: see pg_prepared_xacts, then COMMIT PREPARED or ROLLBACK PREPARED.'
          : `Wait for pid ${String(holder.pid)} to end, or end it: select pg_terminate_backend(${String(holder.pid)}).`,
    cause,
  });
}

/** One line a session: pid, user, age, state, query. */
export function describeBlockers(blockers: BlockerRow[]): string {
  if (blockers.length === 0) return 'no session holds a conflicting lock at the moment';
  return blockers
    .map((row) => {
      const age =
        row.transactionAgeSeconds === null ? 'unknown age' : `${row.transactionAgeSeconds.toFixed(1)} s old`;
      const verb = row.granted ? 'holds' : 'waits for';
      const query = row.query.replaceAll(/\s+/g, ' ').trim();
      return (
        `pid ${String(row.pid)} (user ${row.user || row.backendType}, ${row.state ?? row.backendType}, transaction ${age}) ` +
        `${verb} ${row.mode} on ${row.table}: ${query}`
      );
    })
    .join('\n');
}

/** Sleeps, and ends early without an error when the run is interrupted: the next statement reports it. */
export async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(milliseconds, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
}
