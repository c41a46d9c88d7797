import { DbopsError } from '../../errors.ts';
import { humanSeconds } from '../../output/human.ts';
import { withAdvisoryLock } from '../../pg/advisory-lock.ts';
import type { Change } from '../../plan/step.ts';
import { findJob } from '../../sql/jobs.ts';
import { displayName, ident } from '../../sql/quote.ts';
import { listRelationsNamed } from '../../sql/relations.ts';
import { countHiddenSessions } from '../../sql/snapshots.ts';
import type { Range } from '../model/bounds.ts';
import type { JobContext, PlanContext } from '../context.ts';
import type { Point } from '../model/key.ts';
import { currentPoints, loadSets } from '../model/load-sets.ts';
import type { PartitionSet } from '../model/set.ts';
import { applyHeavyChange } from './apply.ts';
import { batchesAsLoop, beginChange, excludeChanges, finishChange, needsCheck } from './batch-changes.ts';
import { boundsAfter, type PeriodWork } from './period-work.ts';
import { transactionChangeOf } from './transaction-changes.ts';
import { estimate } from './estimate.ts';
import { jobNameOf, jobSpec, resumedPeriod, runBatches, type DrainJob } from './job.ts';
import { planPeriods, type DrainPeriod } from './periods.ts';
import { waitForSnapshots } from './snapshots.ts';
import { hasOutgoing, loadSource, refuseOutgoing, type DrainSource } from './source.ts';

export type DrainMode = 'transaction' | 'batches';

export interface DrainOptions {
  /** The partition that rows are taken from: schema.name, or its name alone. */
  from: string;
  mode: DrainMode;
  /** How long others may be kept out by one period, in milliseconds. */
  limitMs: number;
  /** The most rows of one batch. */
  batchSize: number;
}

/** One period of the plan, for people. */
export interface PlannedPeriod {
  partition: string;
  from: string;
  to: string;
  rows: number;
  keptOutMs: number;
  invisibleMs: number;
}

export interface DrainPlan {
  set: PartitionSet;
  source: DrainSource;
  periods: PlannedPeriod[];
  works: PeriodWork[];
  changes: Change[];
  warnings: string[];
  /** What an earlier run in batches has left half done. */
  job: DrainJob | undefined;
}

/** How long one period may keep others out unless --limit says otherwise. */
export const defaultLimitMs = 5000;

/**
 * Plans a drain: which periods, what fires, how long others wait. Reads the source's keys once. Throws refused with the
 * reason, before anything was changed. Locks: ACCESS SHARE.
 */
export async function planDrain(context: PlanContext, options: DrainOptions): Promise<DrainPlan> {
  const { db, settings } = context;
  const { sets, problems } = await loadSets(db, settings.partitions);
  if (problems[0] !== undefined) throw problems[0].error;
  const [set] = sets;
  if (set === undefined) throw new Error('no set was loaded');
  const source = await loadSource(db, set, options.from, options.mode);
  const jobName = jobNameOf(source);
  const row = await findJob(db, settings.stateSchema, jobName);
  const job = row === undefined ? undefined : resumedPeriod(source, row);
  if (job !== undefined && options.mode === 'transaction') throw halfDone(source, job);
  if (job === undefined && options.mode === 'batches') refuseOutgoing(source);
  const current = (await currentPoints(db, [set], context.now)).get(set.rootOid);
  const planned = await planPeriods(db, source, current);
  const onlyBegun = job !== undefined && hasOutgoing(source);
  const periods = inOrder(planned.periods, job).slice(0, onlyBegun ? 1 : undefined);
  await refuseCollisions(context, source, periods, job);
  const works = periodWorks(context, source, periods, options);
  const warnings = [...planned.warnings];
  if (onlyBegun) {
    warnings.push(
      `only the period that was begun is ended: ${set.label} has foreign keys, so move the others with --mode transaction`,
    );
  }
  if (source.withoutTriggers) {
    warnings.push(
      `triggers are off while rows move (session_replication_role), so these do not fire: ${source.fires.join('; ')}`,
    );
  }
  if (options.mode === 'transaction' && works.length > 0) {
    const hidden = await countHiddenSessions(db);
    if (hidden > 0) {
      warnings.push(
        `${String(hidden)} sessions of other roles cannot be looked into, so the move does not wait for REPEATABLE READ transactions ` +
          `of theirs, which may miss moved rows: GRANT pg_read_all_stats TO ${ident(db.server.user)};`,
      );
    }
  }
  const changes = works.flatMap((work) => planPeriod(work, options, current, jobName, job));
  return {
    set,
    source,
    works,
    changes,
    warnings,
    job,
    periods: works.map(({ period, estimate: predicted }) => ({
      partition: displayName(period.partition.table),
      from: set.codec.format(period.partition.from),
      to: set.codec.format(period.partition.to),
      rows: period.rows,
      keptOutMs: predicted.keptOutMs,
      invisibleMs: predicted.invisibleMs,
    })),
  };
}

/** What was begun is ended first. Its rows may have left the source already, so that the count does not find it. */
function inOrder(periods: DrainPeriod[], job: DrainJob | undefined): DrainPeriod[] {
  if (job === undefined) return periods;
  const begun = periods.find((period) => period.partition.from === job.period.partition.from);
  const rows = (begun?.rows ?? 0) + (job.cursor?.moved ?? 0);
  return [{ ...job.period, rows }, ...periods.filter((period) => period !== begun)];
}

function halfDone(source: DrainSource, job: DrainJob): DbopsError {
  return new DbopsError(
    'refused',
    `${displayName(source.partition)}: a drain in batches into ${displayName(job.period.partition.table)} was begun and not ended`,
    { hint: 'Finish it first: run the command with --mode batches.' },
  );
}

async function refuseCollisions(
  context: PlanContext,
  source: DrainSource,
  periods: DrainPeriod[],
  job: DrainJob | undefined,
): Promise<void> {
  const tables = periods.map((period) => period.partition.table);
  const mine = job?.period.partition.table;
  const [taken] = (await listRelationsNamed(context.db, tables)).filter(
    (row) => row.schema !== mine?.schema || row.name !== mine.name,
  );
  if (taken === undefined) return;
  throw new DbopsError('name_collision', `${source.set.label}: ${displayName(taken)} exists already`, {
    detail: 'a period of the drained partition would be called so',
    hint: 'Rename it, or change "naming" in the table\'s entry.',
  });
}

function periodWorks(
  context: PlanContext,
  source: DrainSource,
  periods: DrainPeriod[],
  options: DrainOptions,
): PeriodWork[] {
  let bounds: Range | undefined = source.direction === undefined ? undefined : source.partition.range;
  return periods.map((period) => {
    const work: PeriodWork = {
      source,
      period,
      estimate: estimate(source, period, options.mode),
      bounds,
      settings: context.settings,
      limitMs: options.limitMs,
      deadlockTimeoutMs: context.db.server.deadlockTimeoutMs,
      serverVersionNum: context.db.server.versionNum,
    };
    if (bounds !== undefined) bounds = boundsAfter(source, bounds, period.partition);
    return work;
  });
}

function planPeriod(
  work: PeriodWork,
  options: DrainOptions,
  current: Point | undefined,
  jobName: string,
  job: DrainJob | undefined,
): Change[] {
  const { estimate: predicted, period } = work;
  if (options.mode === 'transaction') {
    if (predicted.keptOutMs > options.limitMs) throw overLimit(work, 'Use --mode batches');
    return [transactionChangeOf(work)];
  }
  const withCheck = needsCheck(work);
  const isPast = current !== undefined && period.partition.to <= current;
  if (withCheck && (!isPast || predicted.keptOutMs - predicted.sparedMs > options.limitMs)) {
    throw overLimit(work, isPast ? 'Run it at a quiet time' : 'Drain the current period when it is over');
  }
  const begun = job?.period.partition.from === period.partition.from;
  return [
    ...(begun ? [] : [beginChange(work, jobName, jobSpec(work.source, period))]),
    batchesAsLoop(work),
    ...(withCheck ? excludeChanges(work) : []),
    finishChange(work, jobName, withCheck),
  ];
}

function overLimit(work: PeriodWork, instead: string): DbopsError {
  const { source, period, estimate: predicted, limitMs } = work;
  const seconds = Math.ceil(predicted.keptOutMs / 1000);
  return new DbopsError(
    'refused',
    `${source.set.label}: moving ${displayName(period.partition.table)} would keep readers and writers out for about ` +
      `${humanSeconds(predicted.keptOutMs / 1000)}, and the limit is ${humanSeconds(limitMs / 1000)}`,
    {
      detail:
        `${String(period.rows)} rows to move, and ${humanSeconds(predicted.scanMs / 1000)} to read what is left in ` +
        `${displayName(source.partition)} under ACCESS EXCLUSIVE`,
      hint: `${instead}, or give --limit ${String(seconds + 1)}s when they may wait that long.`,
    },
  );
}

export interface DrainResult {
  periods: PlannedPeriod[];
  warnings: string[];
  source: string;
}

/**
 * Drains a partition. One run at a time for a table (advisory lock). The plan is made under that lock, shown, and carried
 * out as it was shown. Throws refused, lock_busy, lock_timeout, or partly_done when others wait for a batch.
 */
export async function drain(
  context: JobContext,
  options: DrainOptions,
  oidOf: PartitionSet,
): Promise<DrainResult> {
  const { db, waitMs, signal } = context;
  const lock = { table: oidOf.rootOid, name: oidOf.label };
  return await withAdvisoryLock(db, lock, { waitMs, signal }, async () => {
    const plan = await planDrain(context, options);
    const result = {
      periods: plan.periods,
      warnings: plan.warnings,
      source: displayName(plan.source.partition),
    };
    if (plan.works.length === 0) return result;
    const count = `${String(plan.works.length)} ${plan.works.length === 1 ? 'period' : 'periods'}`;
    await context.consent(plan.changes, `Move ${count} out of ${result.source}?`);
    await context.history.begin(db, plan.periods);
    if (options.mode === 'batches') await runBatches(context, plan, options);
    else {
      for (const change of plan.changes)
        await applyHeavyChange(context, change, options.limitMs, waitForSnapshots);
    }
    return result;
  });
}

/** The set of the one configured table, for the lock that is taken before anything is planned. */
export async function loadDrainSet(context: Pick<JobContext, 'db' | 'settings'>): Promise<PartitionSet> {
  const { sets, problems } = await loadSets(context.db, context.settings.partitions);
  if (problems[0] !== undefined) throw problems[0].error;
  const [set] = sets;
  if (set === undefined) throw new Error('no set was loaded');
  return set;
}
