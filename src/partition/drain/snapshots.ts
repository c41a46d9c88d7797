import { DbopsError } from '../../errors.ts';
import { pause } from '../../plan/apply.ts';
import type { Change } from '../../plan/step.ts';
import { visible } from '../../sql/quote.ts';
import { listSnapshots, type SnapshotRow } from '../../sql/snapshots.ts';
import type { JobContext } from '../context.ts';

/**
 * Waits, without any lock, until the snapshots of this moment have ended: who reads as of before the move and comes to
 * the table after it would look for the rows in the new partition and not see them there. Later ones are not waited for;
 * no wait could exclude who begins while the rows move. Throws lock_timeout naming the oldest after the deadline (a
 * moment of performance.now()).
 */
export async function waitForSnapshots(context: JobContext, change: Change, deadline: number): Promise<void> {
  const { db, log, signal, settings } = context;
  let waiting = await listSnapshots(db);
  for (let attempt = 1; waiting.length > 0; attempt += 1) {
    const remainingMs = deadline - performance.now();
    if (remainingMs <= 0) throw neverEnded(change, waiting, settings.lockDeadlineMs);
    // A READ COMMITTED transaction between two statements has none; only what is still there is worth a word.
    if (attempt === 4) {
      log.info(
        { event: 'snapshot_wait', table: change.table, holder: waiting[0]?.pid ?? null },
        `not begun yet, since these would not see the moved rows:\n${describe(waiting)}`,
      );
    }
    await pause(Math.min(20 * 2 ** Math.min(attempt, 6), 1000, remainingMs), signal);
    const known = new Set(waiting.map((row) => row.identity));
    waiting = (await listSnapshots(db)).filter((row) => known.has(row.identity));
  }
}

function describe(rows: SnapshotRow[]): string {
  return rows
    .map(
      (row) =>
        `pid ${String(row.pid)} (user ${visible(row.user)}, ${row.state ?? 'state unknown'}, transaction ` +
        `${row.transactionAgeSeconds.toFixed(1)} s old) holds a snapshot: ${visible(row.query.replaceAll(/\s+/g, ' ').trim())}`,
    )
    .join('\n');
}

function neverEnded(change: Change, rows: SnapshotRow[], deadlineMs: number): DbopsError {
  const pid = String(rows[0]?.pid);
  return new DbopsError(
    'lock_timeout',
    `gave up after ${String(Math.round(deadlineMs / 1000))} s: older transactions would not see the moved rows: ${change.summary}`,
    {
      detail: describe(rows),
      hint: `Wait for pid ${pid} to end, or end it: select pg_terminate_backend(${pid}).`,
    },
  );
}
