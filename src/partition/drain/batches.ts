import { DbopsError } from '../../errors.ts';
import { pause } from '../../plan/apply.ts';
import { batchSizes, nextSize } from '../../plan/batch-size.ts';
import { isRetryable } from '../../pg/sqlstate.ts';
import { getDrainSource, moveBatch, type BatchRow, type Move, type WalkCursor } from '../../sql/drain.ts';
import { listWaiters, type WaiterRow } from '../../sql/locks.ts';
import { displayName, visible } from '../../sql/quote.ts';
import type { JobContext } from '../context.ts';

/** So many batches in a row with somebody waiting for our row locks, and the run stops. */
const maxWaitedFor = 5;

/** So many tries of one batch that fails on locks or time. */
const maxFailures = 20;

/** Walks over the source until nothing is left, but not for ever: the final transaction takes the rest. */
const maxWalks = 5;

/** The job's cursor as it is kept. */
export interface DrainCursor {
  walk: WalkCursor;
  moved: number;
}

export interface BatchWork {
  move: Move;
  sourceOid: number;
  keyIsIndexed: boolean;
  withoutTriggers: boolean;
  jobName: string;
  cursor: DrainCursor | undefined;
  /** The most rows of one batch. */
  batchSize: number;
  /** For progress: rows counted when the plan was made. */
  expected: number;
}

/**
 * Moves the rows of one period batch by batch, each in its own transaction with its cursor. Walks over the source again
 * while walks still find many rows (those that were locked, or that arrived). Throws partly_done when others keep
 * waiting for us. Returns how many rows were moved in all.
 */
export async function moveInBatches(context: JobContext, work: BatchWork): Promise<number> {
  let moved = work.cursor?.moved ?? 0;
  let cursor = work.cursor?.walk ?? (await newWalk(context, work));
  for (let walk = 1; walk <= maxWalks; walk += 1) {
    const before = moved;
    moved = await walkOnce(context, work, cursor, moved);
    if (moved - before < batchSizes.first) break;
    cursor = await newWalk(context, work);
  }
  return moved;
}

async function newWalk(context: JobContext, work: BatchWork): Promise<WalkCursor> {
  if (work.keyIsIndexed) return { by: 'key', after: null };
  const { blocks } = await getDrainSource(context.db, work.sourceOid, work.move.key);
  return { by: 'block', next: 0, end: blocks };
}

/** Rows in a block, guessed for the first batch; the measured time corrects it. */
const rowsInBlock = 50;

async function walkOnce(
  context: JobContext,
  work: BatchWork,
  start: WalkCursor,
  alreadyMoved: number,
): Promise<number> {
  let cursor = start;
  let moved = alreadyMoved;
  const unit = cursor.by === 'key' ? 1 : rowsInBlock;
  const most = Math.max(Math.floor(work.batchSize / unit), 1);
  let size = Math.min(Math.ceil(batchSizes.first / unit), most);
  let failures = 0;
  let waitedFor = 0;
  let reportedAt = performance.now();
  while (cursor.by === 'key' || cursor.next < cursor.end) {
    const started = performance.now();
    let done: { batch: BatchRow; waiters: WaiterRow[] };
    try {
      done = await oneBatch(context, work, cursor, moved, size);
    } catch (error) {
      failures += 1;
      if (!isRetryable(error) || failures > maxFailures) throw error;
      size = Math.max(Math.floor(size / 2), Math.ceil(batchSizes.least / unit));
      await pause(50 * failures * (0.5 + Math.random()), context.signal);
      continue;
    }
    failures = 0;
    const tookMs = performance.now() - started;
    moved += done.batch.moved;
    // A batch that is not full has reached the end; rows that arrive behind it are not chased.
    const isLast = cursor.by === 'key' && done.batch.picked < size;
    cursor = advance(cursor, done.batch, size);
    waitedFor = done.waiters.length > 0 ? waitedFor + 1 : 0;
    if (waitedFor >= maxWaitedFor) throw othersWait(work, done.waiters, moved);
    if (isLast) break;
    size = waitedFor > 0 ? Math.max(Math.floor(size / 2), 1) : nextSize(size, tookMs, most);
    if (performance.now() - reportedAt > 10_000) {
      reportedAt = performance.now();
      context.log.info(
        { event: 'partition_drain_progress', rows: moved, expected: work.expected, batch: size },
        `${displayName(work.move.target)}: ${String(moved)} of about ${String(work.expected)} rows moved`,
      );
    }
    // As long a pause as the work took: at most half of the time is ours.
    await pause(Math.max(tookMs, 5), context.signal);
  }
  return moved;
}

function advance(cursor: WalkCursor, batch: BatchRow, size: number): WalkCursor {
  return cursor.by === 'key'
    ? { by: 'key', after: batch.last ?? cursor.after }
    : { ...cursor, next: Math.min(cursor.next + size, cursor.end) };
}

async function oneBatch(
  context: JobContext,
  work: BatchWork,
  cursor: WalkCursor,
  moved: number,
  size: number,
): Promise<{ batch: BatchRow; waiters: WaiterRow[] }> {
  const { db, settings } = context;
  return await db.transaction(async () => {
    await db.execute(
      "set local lock_timeout = '500ms'; set local statement_timeout = '5s'" +
        (work.withoutTriggers ? '; set local session_replication_role = replica' : ''),
    );
    const job = { schema: settings.stateSchema, name: work.jobName, moved };
    const batch = await moveBatch(db, work.move, job, cursor, size);
    if (batch.marked !== 1) {
      throw new DbopsError('object_changed', `the job "${work.jobName}" vanished while rows were moved`, {
        hint: `Look at ${displayName(work.move.target)}: rows that were moved are in it.`,
      });
    }
    return { batch, waiters: await listWaiters(db) };
  });
}

function othersWait(work: BatchWork, waiters: WaiterRow[], moved: number): DbopsError {
  return new DbopsError(
    'partly_done',
    `stopped: other sessions kept waiting for rows that were being moved to ${displayName(work.move.target)}`,
    {
      detail: [
        `${String(moved)} rows are in it already and are not in the parent until it is attached`,
        ...waiters.map(
          (row) =>
            `pid ${String(row.pid)} (user ${visible(row.user)}): ${visible(row.query.replaceAll(/\s+/g, ' '))}`,
        ),
      ].join('\n'),
      hint: 'Run the same command again at a quieter time: it goes on from here.',
    },
  );
}
