import { DbopsError } from '../../errors.ts';
import { describeBlockers, pause } from '../../plan/apply.ts';
import { statementsOf } from '../../plan/render.ts';
import type { Change } from '../../plan/step.ts';
import { isRetryable, sqlStateOf } from '../../pg/sqlstate.ts';
import { listBlockers } from '../../sql/locks.ts';
import type { JobContext } from '../context.ts';

/**
 * Executes a change that keeps others out while it works. A lock that is busy is tried for again, as everywhere; but work
 * that took longer than its limit is not: each try would keep others out once more. Throws lock_timeout after the
 * deadline, statement_timeout for the limit; both leave the database as it was before this change. `before` waits before each try for what no lock tells.
 */
export async function applyHeavyChange(
  context: JobContext,
  change: Change,
  limitMs: number,
  before?: (context: JobContext, change: Change, deadline: number) => Promise<void>,
): Promise<void> {
  const { db, settings, signal, log, applied } = context;
  const deadline = performance.now() + settings.lockDeadlineMs;
  for (let attempt = 1; ; attempt += 1) {
    await before?.(context, change, deadline);
    try {
      await db.executeTransaction(statementsOf(change));
      applied.changes += 1;
      log.info({ event: change.event, table: change.table, ...change.fields }, change.summary);
      return;
    } catch (error) {
      if (!isRetryable(error)) throw error;
      if (sqlStateOf(error) === '57014') throw tookTooLong(change, limitMs, error);
      const blockers = await listBlockers(
        db,
        change.steps.flatMap((step) => step.locks),
      );
      if (performance.now() >= deadline) {
        throw new DbopsError(
          'lock_timeout',
          `gave up after ${String(Math.round(settings.lockDeadlineMs / 1000))} s: ${change.summary}`,
          {
            detail: describeBlockers(blockers),
            hint: 'Run the command again when the sessions that hold these locks have ended.',
            cause: error,
          },
        );
      }
      log.debug(
        { event: 'lock_retry', table: change.table, attempt, holder: blockers[0]?.pid ?? null },
        `${change.summary}: ${describeBlockers(blockers)}; trying again`,
      );
      await pause(Math.min(100 * 2 ** Math.min(attempt, 6), 5000) * (0.5 + Math.random() / 2), signal);
    }
  }
}

function tookTooLong(change: Change, limitMs: number, cause: unknown): DbopsError {
  return new DbopsError(
    'statement_timeout',
    `took longer than ${String(limitMs / 1000)} s and was rolled back: ${change.summary}`,
    {
      hint: 'Raise --limit when others may wait for longer, or use --mode batches.',
      cause,
    },
  );
}
