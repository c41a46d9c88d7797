import type { RowsDefinition, RowsLimits } from '../config/rows.ts';
import { DbopsError } from '../errors.ts';
import { humanCount } from '../output/human.ts';
import { withAdvisoryLock } from '../pg/advisory-lock.ts';
import { applyChanges } from '../plan/apply.ts';
import { deleteJobSql, findJob, insertJobSql, saveJob } from '../sql/jobs.ts';
import { displayName, visible } from '../sql/quote.ts';
import type { KeyColumn } from '../sql/rows-batch.ts';
import { listRowsLeaves, type RowsTableRow } from '../sql/rows-table.ts';
import { ensureState } from '../state/history.ts';
import type { RowsContext } from './context.ts';
import { planRows, type RowsPlan } from './plan.ts';
import { findRunEnd, isOver, Watch, type RunEnd, type StopReason } from './pressure.ts';
import {
  firstCursor,
  hashOf,
  jobPrefix,
  readJob,
  refresh,
  tellRefreshed,
  type RowsCursor,
  type RowsJob,
  type RowsSpec,
} from './spec.ts';
import { loadRowsTable, primaryKeyOf } from './table.ts';
import { walk, type WalkResult } from './walk.ts';

/** A job that is to be run: by hand, or as the configuration says. */
export interface RowsRequest {
  name: string;
  definition: RowsDefinition;
  limits: RowsLimits;
  /** A person named it: the plan is shown and asked about. */
  byHand: boolean;
  /** When the command ends that runs it. */
  end?: RunEnd | undefined;
  /** All jobs of that command, for the history: one command is one run. */
  jobs?: object[] | undefined;
}

/** A job with its plan, before anything is changed. */
export interface PlannedJob {
  request: RowsRequest;
  plan: RowsPlan;
  /** Of a job that was begun earlier. */
  begun: RowsJob | undefined;
  cursor: RowsCursor;
}

export interface RowsResult {
  job: string;
  verb: RowsDefinition['verb'];
  table: string;
  /** Rows that were deleted, moved or changed, those of earlier runs of the job included. */
  rows: number;
  /** Rows that were passed over because others had them locked, and of these those that had to stay. */
  skipped: number;
  left: number;
  /** ISO time before which rows were old. */
  cutoff: string | null;
  batches: number;
  resumed: boolean;
  warnings: string[];
}

/** Plans a job, or what is left of one that was begun. Throws usage or refused. Changes nothing. */
export async function planJob(context: RowsContext, request: RowsRequest): Promise<PlannedJob> {
  const table = await loadRowsTable(context.db, request.definition.table, context.settings.stateSchema);
  return await planOn(context, request, table);
}

async function planOn(context: RowsContext, request: RowsRequest, table: RowsTableRow): Promise<PlannedJob> {
  const { db, settings } = context;
  // Keys are kept as text: floating point must come back as it was.
  await db.execute('set extra_float_digits = 3');
  const row = await findJob(db, settings.stateSchema, `${jobPrefix}${request.name}`);
  const begun = row === undefined ? undefined : readJob(row);
  if (begun === undefined) {
    const plan = await planRows(context, table, request.definition, request.limits, undefined);
    return { request, plan, begun, cursor: firstCursor };
  }
  refuseOther(request, begun, table);
  const fitted = refresh(begun.spec, begun.cursor, await listRowsLeaves(db, table.oid));
  tellRefreshed(context.log, fitted);
  const spec: RowsSpec = { ...begun.spec, leaves: fitted.leaves, stretches: fitted.stretches };
  const plan = await planRows(context, table, request.definition, request.limits, spec);
  return { request, plan, begun: { ...begun, spec }, cursor: fitted.cursor };
}

function refuseOther(request: RowsRequest, begun: RowsJob, table: RowsTableRow): void {
  const name = visible(request.name);
  if (begun.spec.hash !== hashOf(request.definition)) {
    throw new DbopsError(
      'object_changed',
      `the job "${name}" was begun with another definition and has not ended`,
      {
        hint: `Finish it as it was begun with "dbops rows resume ${name}", or end it with "dbops rows cancel ${name}".`,
      },
    );
  }
  const keys = primaryKeyOf(table);
  if (begun.spec.definition.verb === 'mask' && !isSameKey(begun.spec.keys, keys)) {
    throw new DbopsError(
      'object_changed',
      `the primary key of ${displayName(table)} is another than when the job "${name}" was begun`,
      {
        detail: 'the job finds its way along the key, so it cannot tell where it has been',
        hint: `End it with "dbops rows cancel ${name}".`,
      },
    );
  }
  if (begun.spec.tableOid !== table.oid) {
    throw new DbopsError(
      'object_changed',
      `the job "${name}" was begun in another table called ${displayName(table)}`,
      {
        hint: `End it with "dbops rows cancel ${name}".`,
      },
    );
  }
}

function isSameKey(one: KeyColumn[], other: KeyColumn[]): boolean {
  return (
    one.length === other.length &&
    one.every((column, index) => column.name === other[index]?.name && column.type === other[index].type)
  );
}

/**
 * Makes the jobs of one command ready: says when they end, before the first of them begins: --max-time and --until count for all of them
 * together, and for what they wait for.
 */
export async function asOneCommand(
  context: Pick<RowsContext, 'db' | 'now'>,
  requests: RowsRequest[],
): Promise<RowsRequest[]> {
  const ended: RowsRequest[] = [];
  const jobs = requests.map(({ name, definition }) => ({ job: name, ...definition }));
  for (const request of requests) {
    const end = await findRunEnd(context, request.limits, request.definition.timezone);
    ended.push({ ...request, end, jobs });
  }
  return ended;
}

/** Why a job is not begun behind others: their command has ended. Undefined: it may begin. */
export function notBegun(request: RowsRequest): DbopsError | undefined {
  if (!isOver(request.end)) return undefined;
  return new DbopsError(
    'partly_done',
    `the job "${visible(request.name)}" had no turn: ${request.end.reason}`,
    {
      hint: 'The same command goes on with it.',
    },
  );
}

/**
 * Runs a job to its end, or goes on with it. One run at a time for a table (advisory lock). Throws refused, lock_busy, or
 * partly_done when it had to stop; then the same command goes on.
 */
export async function runJob(context: RowsContext, request: RowsRequest): Promise<RowsResult> {
  const { db, waitMs, signal } = context;
  const table = await loadRowsTable(db, request.definition.table, context.settings.stateSchema);
  const lock = { table: table.oid, name: displayName(table) };
  return await withAdvisoryLock(db, lock, { waitMs, signal }, async () => {
    const planned = await planOn(context, request, table);
    for (const warning of planned.plan.warnings) {
      context.log.warn({ event: 'rows_effect', table: displayName(table) }, warning);
    }
    if (request.byHand) await context.consent(planned.plan.changes, questionOf(planned));
    return await work(context, planned, await begin(context, planned));
  });
}

const verbs = { purge: 'Delete', move: 'Move', mask: 'Mask' } as const;

function questionOf({ plan, begun }: PlannedJob): string {
  const done = begun === undefined ? '' : ` (${humanCount(begun.cursor.changed)} are done)`;
  return `${verbs[plan.shape.verb]} about ${humanCount(plan.expectedRows)} rows of ${displayName(plan.table)}${done}?`;
}

/** Returns the job as it is kept. */
async function begin(context: RowsContext, { request, plan, begun, cursor }: PlannedJob): Promise<RowsSpec> {
  const { db, settings } = context;
  if (context.history.runId === undefined) {
    const one = { job: request.name, ...request.definition, cutoff: plan.condition.cutoff };
    const isOne = request.jobs === undefined || request.jobs.length < 2;
    await context.history.begin(db, isOne ? one : { jobs: request.jobs });
  }
  await ensureState(db, settings.stateSchema);
  await applyChanges(db, plan.before, context.applied, {
    log: context.log,
    signal: context.signal,
    deadlineMs: settings.lockDeadlineMs,
  });
  const name = `${jobPrefix}${request.name}`;
  if (begun !== undefined) {
    await saveJob(db, settings.stateSchema, { name, cursor, state: 'running', spec: begun.spec });
    return begun.spec;
  }
  const spec: RowsSpec = {
    hash: hashOf(request.definition),
    definition: request.definition,
    tableOid: plan.table.oid,
    cutoff: plan.condition.cutoff,
    cutoffText: plan.condition.cutoffText,
    leaves: plan.leaves,
    stretches: plan.stretches,
    keys: plan.shape.keys,
    expectedRows: plan.expectedRows,
  };
  await db.execute(insertJobSql(settings.stateSchema, name, spec, 'running'));
  return spec;
}

async function work(context: RowsContext, planned: PlannedJob, spec: RowsSpec): Promise<RowsResult> {
  const { request, plan, begun, cursor } = planned;
  const { db, settings } = context;
  const watch = new Watch(context, request.limits, request.end);
  const done = await walk(context, { job: request.name, plan, spec, cursor, limits: request.limits, watch });
  if (done.stopped !== undefined) throw await stop(context, planned, done, done.stopped);
  await db.execute(deleteJobSql(settings.stateSchema, `${jobPrefix}${request.name}`));
  const { changed, skipped, left } = done.cursor;
  context.log.info(
    { event: 'rows_completed', job: request.name, table: displayName(plan.table), rows: changed, left },
    `${displayName(plan.table)}: ${humanCount(changed)} rows ${past[plan.shape.verb]}`,
  );
  return {
    job: request.name,
    verb: plan.shape.verb,
    table: displayName(plan.table),
    rows: changed,
    skipped,
    left,
    cutoff: plan.condition.cutoff,
    batches: done.batches,
    resumed: begun !== undefined,
    warnings:
      left === 0
        ? []
        : [
            `${humanCount(left)} rows of ${displayName(plan.table)} stayed: others had them locked both times, or a trigger kept them; run it again`,
          ],
  };
}

export const past = { purge: 'deleted', move: 'moved', mask: 'masked' } as const;

/** Keeps why, so that "rows jobs" shows it. */
async function stop(
  context: RowsContext,
  { request, plan }: PlannedJob,
  done: WalkResult,
  reason: StopReason,
): Promise<DbopsError> {
  const name = `${jobPrefix}${request.name}`;
  const cursor = { ...done.cursor, reason: reason.text };
  await saveJob(context.db, context.settings.stateSchema, { name, cursor, state: 'stopped' });
  return new DbopsError('partly_done', `the job "${visible(request.name)}" stopped: ${reason.text}`, {
    detail: `${humanCount(done.cursor.changed)} of about ${humanCount(plan.expectedRows)} rows are ${past[plan.shape.verb]}`,
    hint: `"dbops rows resume ${visible(request.name)}", or the same command, goes on from there.`,
  });
}
