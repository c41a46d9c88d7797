import { DbopsError } from '../errors.ts';
import type { JobContext } from '../partition/context.ts';
import { withAdvisoryLock } from '../pg/advisory-lock.ts';
import { isConnectionLoss, isRetryable, sqlStateOf } from '../pg/sqlstate.ts';
import { applyChanges } from '../plan/apply.ts';
import { findIndexDetail } from '../sql/index-tables.ts';
import { displayName } from '../sql/quote.ts';
import { dropChange } from './changes.ts';
import { tellLeftover } from './leftover.ts';
import { planCreate, type Build, type CreatePlan } from './plan-create.ts';
import { duplicatesSql, type IndexSpec } from './spec.ts';
import { watchBuild } from './progress.ts';

export interface CreateResult {
  table: string;
  index: string;
  /** How many changes it took; 0: it was there. */
  changes: number;
  notes: string[];
}

/** Partitions that came while the others were built are done in further rounds. */
const mostRounds = 3;
/** A build that was the victim of a deadlock is tried again. */
const mostTries = 3;
/** What removing the remains of a failed build may take; the next run does what was not done by then. */
const cleanUpDeadlineMs = 10_000;

/**
 * Creates an index without stalling writers, and looks at the end whether it is valid. Under the lock of the table; what an
 * interrupted run has left, the next one takes away or completes. `begin` writes the history of a run that makes more than
 * one. Throws what planCreate throws, lock_timeout,
 * constraint_violated for a unique index that cannot be, or partly_done.
 */
export async function createIndex(
  context: JobContext,
  spec: IndexSpec,
  begin = (plan: CreatePlan) =>
    context.history.begin(context.db, { index: displayName(plan.index), changes: plan.changes }),
): Promise<CreateResult> {
  const { db, waitMs, signal } = context;
  const first = await planCreate(context, spec);
  if (first.changes.length === 0) return resultOf(first, 0);
  const lock = { table: first.tableOid, name: first.table };
  return await withAdvisoryLock(db, lock, { waitMs, signal }, async (waited) => {
    let plan = waited ? await planCreate(context, spec) : first;
    let done = 0;
    // What was built once and is not there is not built a second time.
    const built = new Set<string>();
    for (let round = 1; plan.changes.length > 0; round += 1) {
      const isAgain = plan.builds.some(({ table }) => built.has(displayName(table)));
      if (round > mostRounds || isAgain) throw unfinished(plan);
      for (const { table } of plan.builds) built.add(displayName(table));
      if (round === 1) await begin(plan);
      const progress = watchBuild(context);
      await applyPlan(context, plan).finally(() => progress.end());
      done += plan.changes.length;
      plan = await planCreate(context, spec);
    }
    return resultOf(plan, done);
  });
}

async function applyPlan(context: JobContext, plan: CreatePlan): Promise<void> {
  const { db, log, signal, settings, applied } = context;
  const options = { log, signal, deadlineMs: settings.lockDeadlineMs };
  for (const change of plan.changes) {
    const build = plan.builds.find((item) => item.change === change);
    for (let attempt = 1; ; attempt += 1) {
      try {
        await applyChanges(db, [change], applied, options);
        break;
      } catch (error) {
        const isClean = build === undefined || (await cleanUp(context, build, error));
        if (build === undefined || !isClean || !isRetryable(error) || attempt >= mostTries)
          throw build === undefined ? error : withDuplicates(plan, build, error);
      }
    }
  }
}

/**
 * Removes what a failed build left: an invalid index is kept by every write and goes on refusing duplicates. Returns whether
 * nothing is left. After an interruption it is told, and the next run does it.
 */
async function cleanUp(context: JobContext, { index, table }: Build, reason: unknown): Promise<boolean> {
  const { db, log, signal, settings, applied } = context;
  if (isConnectionLoss(reason) || signal.aborted) return !(await tellLeftover(context, index));
  try {
    const left = await findIndexDetail(db, index);
    if (left === undefined || left.isValid) return true;
    const change = dropChange(
      index,
      table,
      { deadlockTimeoutMs: db.server.deadlockTimeoutMs },
      'the build failed and left it, not valid',
    );
    const deadlineMs = Math.min(settings.lockDeadlineMs, cleanUpDeadlineMs);
    await applyChanges(db, [change], { changes: 0 }, { log, signal, deadlineMs });
    return true;
  } catch (error) {
    applied.changes += 1;
    log.warn(
      { event: 'index_left_invalid', reason: error instanceof Error ? error.message : String(error) },
      `the invalid index ${displayName(index)} could not be removed; the next run does it`,
    );
    return false;
  }
}

/** The server tells one of the keys that are there twice; the statement finds them all. */
function withDuplicates({ spec, columns }: CreatePlan, { table }: Build, error: unknown): unknown {
  // unique_violation
  if (!(error instanceof DbopsError) || sqlStateOf(error) !== '23505') return error;
  return new DbopsError(error.code, error.message, {
    detail: error.detail,
    hint: `Find the rows, mend them, and run the same command again: ${duplicatesSql(spec, table, columns)}`,
    cause: error,
  });
}

function resultOf(plan: CreatePlan, changes: number): CreateResult {
  return { table: plan.table, index: displayName(plan.index), changes, notes: plan.notes };
}

function unfinished(plan: CreatePlan): DbopsError {
  return new DbopsError(
    'partly_done',
    `the index ${displayName(plan.index)} of ${plan.table} is not complete: partitions came or went while it was built`,
    { detail: plan.changes.map(({ summary }) => summary).join('\n'), hint: 'Run the command again.' },
  );
}
