import { DbopsError } from '../../errors.ts';
import { applyChanges } from '../../plan/apply.ts';
import { ensureState } from '../../state/history.ts';
import type { JobRow } from '../../sql/jobs.ts';
import { displayName, ident, relation } from '../../sql/quote.ts';
import { countInRange, listRelationsNamed } from '../../sql/relations.ts';
import type { JobContext } from '../context.ts';
import { applyHeavyChange } from './apply.ts';
import { moveInBatches, type DrainCursor } from './batches.ts';
import { beginChange, excludeChanges, finishChange, needsCheck } from './batch-changes.ts';
import { moveOf, type PeriodWork } from './period-work.ts';
import type { DrainOptions, DrainPlan } from './drain.ts';
import { rowsWithin } from './estimate.ts';
import type { DrainPeriod } from './periods.ts';
import { explainRefusal, refuseDoubles } from './refused.ts';
import type { DrainSource } from './source.ts';

/** A period that an earlier run has begun. */
export interface DrainJob {
  period: DrainPeriod;
  cursor: DrainCursor | undefined;
}

/** What the job's row says of itself; points as the codec prints them. */
interface DrainSpec {
  sourceOid: number;
  schema: string;
  name: string;
  from: string;
  to: string;
  rows: number;
}

/** One job at a time for a partition that is drained. */
export function jobNameOf(source: DrainSource): string {
  return `partition drain ${relation(source.partition)}`;
}

/** What the row of a job says, so that the next run knows where the rows go. */
export function jobSpec(source: DrainSource, period: DrainPeriod): DrainSpec {
  const { codec } = source.set;
  const { table, from, to } = period.partition;
  return {
    sourceOid: source.partition.oid,
    ...table,
    from: codec.format(from),
    to: codec.format(to),
    rows: period.rows,
  };
}

/** The period of a job that was begun. Throws object_changed when the row does not fit what is there. */
export function resumedPeriod(source: DrainSource, row: JobRow): DrainJob {
  const spec = row.spec as DrainSpec;
  const from = source.set.codec.parse(spec.from);
  const to = source.set.codec.parse(spec.to);
  if (from === undefined || to === undefined || spec.sourceOid !== source.partition.oid) {
    throw new DbopsError('object_changed', `the job "${row.name}" was begun for another table of that name`, {
      detail: `rows may be in ${displayName(spec)}`,
      hint: 'Look at that table, then delete the row of this job from the table "job" of the state schema.',
    });
  }
  return {
    period: { partition: { table: { schema: spec.schema, name: spec.name }, from, to }, rows: spec.rows },
    cursor: (row.cursor as DrainCursor | null) ?? undefined,
  };
}

/** Moves period after period in batches; each is attached before the next is begun. */
export async function runBatches(context: JobContext, plan: DrainPlan, options: DrainOptions): Promise<void> {
  await ensureState(context.db, context.settings.stateSchema);
  const jobName = jobNameOf(plan.source);
  for (const work of plan.works) {
    const begun = plan.job?.period.partition.from === work.period.partition.from ? plan.job : undefined;
    if (begun === undefined)
      await apply(context, [beginChange(work, jobName, jobSpec(plan.source, work.period))]);
    else await refuseVanished(context, work);
    try {
      await runPeriod(context, work, jobName, begun?.cursor, options);
    } catch (error) {
      throw await explainRefusal(context.db, work, error);
    }
  }
}

async function runPeriod(
  context: JobContext,
  work: PeriodWork,
  jobName: string,
  cursor: DrainCursor | undefined,
  options: DrainOptions,
): Promise<void> {
  const { source, period } = work;
  const target = displayName(period.partition.table);
  context.log.info(
    { event: 'partition_drain_moving', table: source.set.label, partition: target, rows: period.rows },
    `moving about ${String(period.rows)} rows: until the attach they are not in ${source.set.label} but in ${target}, and updates, deletes and upserts do not see them`,
  );
  const moved = await moveInBatches(context, {
    move: moveOf(source, period),
    sourceOid: source.partition.oid,
    keyIsIndexed: source.facts.keyIsIndexed,
    withoutTriggers: source.withoutTriggers,
    jobName,
    cursor,
    expected: period.rows,
    batchSize: options.batchSize,
  });
  context.applied.changes += 1;
  context.log.debug(
    { event: 'partition_drain_moved', table: source.set.label, rows: moved },
    `${target}: ${String(moved)} rows`,
  );
  await refuseDoubles(context.db, work);
  const withCheck = needsCheck(work);
  if (!withCheck) await refuseManyLeft(context, work, options);
  if (withCheck) await apply(context, excludeChanges(work));
  await applyHeavyChange(context, finishChange(work, jobName, withCheck), options.limitMs);
}

/** Rows that others kept locked are moved by the last transaction, but only if that does not keep everybody out. */
async function refuseManyLeft(context: JobContext, work: PeriodWork, options: DrainOptions): Promise<void> {
  const { source, period } = work;
  const { from, to } = moveOf(source, period);
  const left = await countInRange(
    context.db,
    relation(source.partition),
    ident(source.set.settings.key),
    from,
    to,
  );
  if (left <= rowsWithin(Math.max(options.limitMs - work.estimate.keptOutMs, 0))) return;
  throw new DbopsError(
    'partly_done',
    `stopped: ${String(left)} rows for ${displayName(period.partition.table)} are still in ${displayName(source.partition)}, since others kept them locked`,
    { hint: 'Run the same command again at a quieter time: it goes on from here.' },
  );
}

async function apply(context: JobContext, changes: Parameters<typeof applyChanges>[1]): Promise<void> {
  await applyChanges(context.db, changes, context.applied, {
    log: context.log,
    signal: context.signal,
    deadlineMs: context.settings.lockDeadlineMs,
  });
}

/** The job's row and its table are made in one transaction; without the table somebody has taken it away. */
async function refuseVanished(context: JobContext, work: PeriodWork): Promise<void> {
  const { table } = work.period.partition;
  const [found] = await listRelationsNamed(context.db, [table]);
  if (found?.kind === 'r' && !found.isPartition) return;
  throw new DbopsError(
    'object_changed',
    `${displayName(table)}, into which rows were being moved, is ${found === undefined ? 'gone' : 'not what it was'}`,
    { hint: 'Find out who changed it, and where its rows are, before this goes on.' },
  );
}
