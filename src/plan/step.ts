import type { LockNeed } from '../sql/locks.ts';

/** One statement of a plan, with what it locks and why it is there. */
export interface Step {
  sql: string;
  /** What it locks, on tables that others use; empty when only objects of our own are touched. */
  locks: LockNeed[];
  why: string;
  /** Waits this long for the locks of this step instead of the change's time. */
  lockTimeoutMs?: number;
}

/**
 * Statements that belong together: one transaction with short timeouts that is tried again as a whole, or statements
 * that cannot run in a transaction (CONCURRENTLY). A dry run prints changes; a run executes the same ones.
 */
export interface Change {
  /** For people: "create public.orders_y2026m12". */
  summary: string;
  /** The table that the change is about, for messages and history. */
  table: string;
  kind: 'transaction' | 'single';
  steps: Step[];
  /** Each lock is waited for at most this long; null: not limited (CONCURRENTLY, which must not be). */
  lockTimeoutMs: number | null;
  /** Each statement runs at most this long; null: not limited. lock_timeout counts per lock, hence both. */
  statementTimeoutMs: number | null;
  /**
   * Begin only when no other transaction (on a busy table: none older than a second) holds a lock that conflicts with
   * these: for statements that cannot be given a lock_timeout.
   */
  startWhenFree?: LockNeed[];
  /** It leaves nothing behind that would have to be taken back when a later change fails. */
  leavesNothing?: boolean;
  /** Never tried again by itself: what a failed try leaves behind needs another statement. */
  isTriedOnce?: boolean;
  /** Logged when the change is done. */
  event: string;
  /** A step on the way to the next change: logged only under -v. */
  isIntermediate?: boolean;
  /** Takes this change back when a later one of its group fails: of intermediate changes only. */
  undo?: Change;
  /** Other fields of that log line. */
  fields?: Record<string, string | number | boolean>;
}

/** Below deadlock_timeout (1 s), so that a wait never turns into a deadlock check; see architecture "nothing stalls". */
export const defaultLockTimeoutMs = 100;
/** lock_timeout counts for each lock: several locks in one statement add up, and this ends them. */
export const defaultStatementTimeoutMs = 2000;

/** A change in one transaction with the usual short timeouts. */
export function transactionChange(
  change: Pick<Change, 'summary' | 'table' | 'steps' | 'event'> &
    Partial<
      Pick<
        Change,
        'lockTimeoutMs' | 'statementTimeoutMs' | 'fields' | 'isIntermediate' | 'leavesNothing' | 'undo'
      >
    >,
): Change {
  return {
    kind: 'transaction',
    lockTimeoutMs: defaultLockTimeoutMs,
    statementTimeoutMs: defaultStatementTimeoutMs,
    ...change,
  };
}

/** A step that touches nothing that others use. */
export function quietStep(sql: string, why: string): Step {
  return { sql, locks: [], why };
}

/** What is added to deadlock_timeout, so that the autovacuum worker has cancelled itself before we give up. */
const autovacuumMarginMs = 250;

/**
 * Takes SHARE UPDATE EXCLUSIVE before anything stronger. It conflicts with autovacuum, which gives way only to who has
 * waited for deadlock_timeout, but neither with readers nor writers: the long wait happens where nobody queues behind
 * us, and the worker cannot come back before the transaction ends. Every short try for ACCESS EXCLUSIVE alone fails
 * under a running autovacuum; a long one would stall the writers.
 */
export function prelockStep(table: string, deadlockTimeoutMs: number): Step {
  return {
    sql: `lock table only ${table} in share update exclusive mode`,
    locks: [{ table, mode: 'SHARE UPDATE EXCLUSIVE' }],
    why: 'makes a running autovacuum give way while readers and writers go on',
    lockTimeoutMs: deadlockTimeoutMs + autovacuumMarginMs,
  };
}
