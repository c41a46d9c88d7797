import type { RowsLimits } from '../config/rows.ts';
import { DbopsError } from '../errors.ts';
import { humanCount } from '../output/human.ts';
import { tryTableLockInTransaction } from '../pg/advisory-lock.ts';
import { isRetryable, sqlStateOf } from '../pg/sqlstate.ts';
import { pause } from '../plan/apply.ts';
import { batchSizes, nextSize } from '../plan/batch-size.ts';
import { saveJob } from '../sql/jobs.ts';
import { listWaiters, type WaiterRow } from '../sql/locks.ts';
import { displayName, visible } from '../sql/quote.ts';
import { findLeafState } from '../sql/rows-parts.ts';
import { listRowsLeaves } from '../sql/rows-table.ts';
import type { Db } from '../pg/connection.ts';
import { batchSettings, runBatch, type BatchMode, type BatchRow, type Stretch } from '../sql/rows-batch.ts';
import type { RowsContext } from './context.ts';
import type { RowsPlan } from './plan.ts';
import type { StopReason, Watch } from './pressure.ts';
import {
  jobPrefix,
  refresh,
  tellRefreshed,
  withMissed,
  type RowsCursor,
  type RowsSpec,
  type SpecLeaf,
} from './spec.ts';
import { batchStatementTimeoutMs, windowOf } from './window.ts';

/** Without waiting for rows, only a lock on the whole table can be in the way. */
const carefulLockTimeoutMs = 500;
/** After a lock was in the way, so many batches pass over locked rows. */
const carefulBatches = 20;
/** So many failures of one window on locks, and it is left for the second pass. */
const failuresToPassOver = 6;
/** So many failures in a row, and the run ends. */
const mostFailures = 12;

export interface WalkWork {
  /** Without the prefix. */
  job: string;
  plan: RowsPlan;
  /** As it is kept. */
  spec: RowsSpec;
  cursor: RowsCursor;
  limits: RowsLimits;
  watch: Watch;
}

export interface WalkResult {
  cursor: RowsCursor;
  batches: number;
  /** Undefined when the end was reached. */
  stopped: StopReason | undefined;
}

/** How the next batch is made. */
interface Gait {
  /** In rows. */
  size: number;
  careful: number;
  failures: number;
}

/**
 * Walks from the cursor to the end, batch by batch, each with its cursor in one transaction. At the end it goes once
 * more over what was locked. Throws what a batch throws when trying again does not help.
 */
export async function walk(context: RowsContext, begun: WalkWork): Promise<WalkResult> {
  const progress = { batches: 0, reportedAt: performance.now() };
  let work = begun;
  let { cursor } = work;
  let gait: Gait = { size: Math.min(batchSizes.first, work.limits.batchSize), careful: 0, failures: 0 };
  for (;;) {
    const stretch = currentStretch(work.plan, cursor);
    if (stretch === undefined) {
      if (cursor.pass === 2 || cursor.again.length === 0)
        return { cursor, batches: progress.batches, stopped: undefined };
      cursor = { ...cursor, pass: 2, at: 0, after: null };
      continue;
    }
    if (isEmpty(stretch)) {
      cursor = { ...cursor, at: cursor.at + 1, after: null };
      continue;
    }
    const stopped = await work.watch.check();
    if (stopped !== undefined) return { cursor, batches: progress.batches, stopped };
    const started = performance.now();
    let done: OneBatch;
    try {
      done = await oneBatch(context, work, cursor, stretch, gait);
    } catch (error) {
      if (error instanceof Rewritten) {
        ({ work, cursor } = await beginAnew(context, work, cursor));
        continue;
      }
      gait = afterFailure(gait, forbidden(work, error));
      await pause(50 * gait.failures * (0.5 + Math.random()), context.signal);
      continue;
    }
    const tookMs = performance.now() - started;
    cursor = done.cursor;
    progress.batches += 1;
    if (done.batch.changed > 0) context.applied.changes += 1;
    report(context, work, cursor, progress, { ...done.batch, tookMs });
    gait = {
      size: done.waiters.length > 0 ? half(gait.size) : nextSize(gait.size, tookMs, work.limits.batchSize),
      careful: Math.max(gait.careful - 1, 0),
      failures: 0,
    };
    const crowded = await work.watch.afterBatch(done.waiters);
    if (crowded !== undefined) return { cursor, batches: progress.batches, stopped: crowded };
    if (work.limits.gentle) await work.watch.rest(tookMs);
  }
}

function currentStretch(plan: RowsPlan, cursor: RowsCursor): Stretch | undefined {
  const stretch = (cursor.pass === 1 ? plan.stretches : cursor.again)[cursor.at];
  return stretch === undefined ? undefined : { ...stretch, after: cursor.after ?? stretch.after };
}

function isEmpty(stretch: Stretch): boolean {
  return typeof stretch.upto === 'number' && Number(stretch.after ?? 0) >= stretch.upto;
}

function half(size: number): number {
  return Math.max(Math.floor(size / 2), batchSizes.least);
}

/** The table of a batch was rewritten, so that the batch looked at places of other rows. */
class Rewritten extends Error {}

/**
 * Looks, now that the batch has locked the table, whether it was the one that the job means. Throws Rewritten, or
 * object_changed; either way the batch must be rolled back.
 */
async function proveLeaf(db: Db, plan: RowsPlan, leaf: SpecLeaf, byPlaces: boolean): Promise<void> {
  const now = await findLeafState(db, leaf.oid, plan.table.oid);
  if (now?.isPart !== true || now.schema !== leaf.schema || now.name !== leaf.name) {
    throw new DbopsError(
      'object_changed',
      `${displayName(leaf)} was detached, dropped or renamed while the job ran`,
      { hint: 'The same command goes on with the tables that are there now.' },
    );
  }
  if (byPlaces && now.file !== leaf.file) throw new Rewritten();
}

/** Fits the job to tables that were rewritten under it (VACUUM FULL, CLUSTER), and keeps that. */
async function beginAnew(
  context: RowsContext,
  work: WalkWork,
  cursor: RowsCursor,
): Promise<{ work: WalkWork; cursor: RowsCursor }> {
  const { db, settings, log } = context;
  const fitted = refresh(work.spec, cursor, await listRowsLeaves(db, work.plan.table.oid));
  tellRefreshed(log, fitted);
  const { leaves, stretches } = fitted;
  const spec = { ...work.spec, leaves, stretches };
  const job = { name: `${jobPrefix}${work.job}`, cursor: fitted.cursor, state: 'running', spec };
  if (!(await saveJob(db, settings.stateSchema, job))) throw jobGone(work.job);
  return { work: { ...work, spec, plan: { ...work.plan, leaves, stretches } }, cursor: fitted.cursor };
}

interface OneBatch {
  batch: BatchRow;
  cursor: RowsCursor;
  waiters: WaiterRow[];
}

async function oneBatch(
  context: RowsContext,
  work: WalkWork,
  cursor: RowsCursor,
  stretch: Stretch,
  gait: Gait,
): Promise<OneBatch> {
  const { db, settings } = context;
  const { plan } = work;
  const leaf = plan.leaves[stretch.leaf];
  if (leaf === undefined) throw new Error('a stretch without its table');
  const mode: BatchMode =
    gait.failures >= failuresToPassOver
      ? 'look'
      : gait.careful > 0 || cursor.pass === 2
        ? 'careful'
        : 'plain';
  const lockTimeoutMs = mode === 'plain' ? settings.lockTimeoutMs : carefulLockTimeoutMs;
  return await db.transaction(async () => {
    const isOurs = await tryTableLockInTransaction(db, plan.table.oid, {
      lock_timeout: `${String(lockTimeoutMs)}ms`,
      statement_timeout: `${String(batchStatementTimeoutMs)}ms`,
      ...batchSettings,
    });
    if (!isOurs) throw lockLost(plan);
    const window = await windowOf(db, plan.shape.keys, leaf, stretch, gait.size);
    const batch = await runBatch(db, plan.shape, leaf, window, mode);
    await proveLeaf(db, plan, leaf, typeof stretch.upto === 'number');
    const next = advance(cursor, stretch, window, batch);
    const job = { name: `${jobPrefix}${work.job}`, cursor: next, state: 'running' };
    if (!(await saveJob(db, settings.stateSchema, job))) throw jobGone(work.job);
    return { batch, cursor: next, waiters: await listWaiters(db) };
  });
}

/** Where the cursor stands after a batch over the first piece of a stretch. Pure. */
export function advance(cursor: RowsCursor, stretch: Stretch, window: Stretch, batch: BatchRow): RowsCursor {
  const isOver = JSON.stringify(window.upto) === JSON.stringify(stretch.upto);
  const missed = Math.max(batch.hits - batch.changed, 0);
  const isFirst = cursor.pass === 1;
  const { again, forgotten } = withMissed(cursor.again, window, batch);
  return {
    ...cursor,
    at: isOver ? cursor.at + 1 : cursor.at,
    after: isOver ? null : window.upto,
    again: isFirst ? again : cursor.again,
    changed: cursor.changed + batch.changed,
    skipped: cursor.skipped + (isFirst ? missed : 0),
    left: cursor.left + (isFirst ? forgotten : missed),
    reason: undefined,
  };
}

/** What a constraint forbids (SQLSTATE class 23), with what can be done; other errors as they are. */
function forbidden(work: WalkWork, error: unknown): unknown {
  if (sqlStateOf(error)?.startsWith('23') !== true || !(error instanceof DbopsError)) return error;
  const { table, shape } = work.plan;
  const job = visible(work.job);
  const place =
    shape.target === undefined
      ? displayName(table)
      : `${displayName(table)} to ${displayName(shape.target.table)}`;
  return new DbopsError(
    'constraint_violated',
    `the job "${job}" (${shape.verb} ${place}) met a row that a constraint forbids: ${visible(error.message)}`,
    {
      detail: error.detail === undefined ? undefined : visible(error.detail),
      hint:
        `Its batch was rolled back. Mend that row and run "dbops rows resume ${job}", or end the job with ` +
        `"dbops rows cancel ${job}" and leave such rows out by --where.`,
      cause: error,
    },
  );
}

/** The same window again, smaller and past locked rows. Throws what does not pass by waiting. */
function afterFailure(gait: Gait, error: unknown): Gait {
  const failures = gait.failures + 1;
  if (!isRetryable(error) || failures > mostFailures) throw error;
  // Ten rows that take seconds are no matter of locks.
  if (sqlStateOf(error) === '57014' && gait.size <= batchSizes.least) throw tooSlow(error);
  return { size: half(gait.size), careful: carefulBatches, failures };
}

function report(
  context: RowsContext,
  work: WalkWork,
  cursor: RowsCursor,
  progress: { reportedAt: number },
  batch: BatchRow & { tookMs: number },
): void {
  context.log.debug(
    {
      event: 'rows_batch_done',
      job: work.job,
      changed: batch.changed,
      skipped: batch.hits - batch.changed,
      milliseconds: batch.tookMs,
    },
    `${String(batch.changed)} rows in ${batch.tookMs.toFixed(0)} ms`,
  );
  if (performance.now() - progress.reportedAt < 10_000) return;
  progress.reportedAt = performance.now();
  context.log.info(
    { event: 'rows_progress', job: work.job, rows: cursor.changed, expected: work.plan.expectedRows },
    `${displayName(work.plan.table)}: ${humanCount(cursor.changed)} of about ${humanCount(work.plan.expectedRows)} rows`,
  );
}

function lockLost(plan: RowsPlan): DbopsError {
  return new DbopsError('lock_busy', `another dbops run works on table ${displayName(plan.table)}`, {
    hint: 'This session lost its lock: is a pooler in transaction mode in between? Connect to the server itself.',
  });
}

function jobGone(job: string): DbopsError {
  return new DbopsError('object_changed', `the job "${visible(job)}" was cancelled while it ran`, {
    hint: 'Rows of earlier batches stay as the job left them.',
  });
}

function tooSlow(error: unknown): DbopsError {
  return new DbopsError(
    'statement_timeout',
    `${String(batchSizes.least)} rows took longer than ${String(batchStatementTimeoutMs / 1000)} s`,
    {
      hint: 'Look at its triggers, and at foreign keys that point at it without an index: the plan names them.',
      cause: error,
    },
  );
}
