import type { RowsLimits } from '../config/rows.ts';
import { nearest } from '../config/nearest.ts';
import { DbopsError } from '../errors.ts';
import { listLockedTables, withAdvisoryLock } from '../pg/advisory-lock.ts';
import { deleteJobSql, findJob, listJobs } from '../sql/jobs.ts';
import { displayName, visible } from '../sql/quote.ts';
import type { RowsContext } from './context.ts';
import type { RowsRequest } from './job.ts';
import { jobPrefix, readJob, type RowsJob } from './spec.ts';

/** A job for people: begun, or only configured. */
export interface JobLine {
  job: string;
  verb: string;
  table: string;
  /** running, stopped, interrupted (its process is gone), or not begun. */
  state: 'running' | 'stopped' | 'interrupted' | 'not begun';
  /** Rows done so far. */
  rows: number | null;
  expectedRows: number | null;
  cutoff: string | null;
  changedAt: Date | null;
  reason: string | null;
}

/** Jobs that were begun and have not ended, and those of the configuration that are not among them. */
export async function listRowsJobs(context: Pick<RowsContext, 'db' | 'settings'>): Promise<JobLine[]> {
  const { db, settings } = context;
  const rows = await listJobs(db, settings.stateSchema, jobPrefix);
  const jobs = rows.map((row) => ({ ...readJob(row), changedAt: row.changedAt }));
  const locked = await listLockedTables(
    db,
    jobs.map((job) => job.spec.tableOid),
  );
  const begun = jobs.map(({ name, spec, cursor, state, changedAt }): JobLine => ({
    job: name,
    verb: spec.definition.verb,
    table: spec.definition.table,
    state: state === 'stopped' ? 'stopped' : locked.includes(spec.tableOid) ? 'running' : 'interrupted',
    rows: cursor.changed,
    expectedRows: spec.expectedRows,
    cutoff: spec.cutoff,
    changedAt,
    reason: cursor.reason ?? null,
  }));
  const idle = settings.rows.jobs
    .filter((job) => !begun.some((line) => line.job === job.name))
    .map(({ name, definition }): JobLine => ({
      job: name,
      verb: definition.verb,
      table: definition.table,
      state: 'not begun',
      rows: null,
      expectedRows: null,
      cutoff: null,
      changedAt: null,
      reason: null,
    }));
  return [...begun, ...idle];
}

/** A job that was begun, as it can be gone on with. Throws usage when there is none of that name. */
export async function resumeRequest(
  context: Pick<RowsContext, 'db' | 'settings'>,
  name: string,
  limits: RowsLimits,
): Promise<RowsRequest> {
  const job = await getBegun(context, name);
  return { name, definition: job.spec.definition, limits, byHand: true };
}

/** Ends a job where it stands: what is done stays done. Throws usage, or lock_busy while it runs. */
export async function cancelJob(context: RowsContext, name: string): Promise<RowsJob> {
  const { db, settings, waitMs, signal } = context;
  const { spec } = await getBegun(context, name);
  const lock = { table: spec.tableOid, name: visible(spec.definition.table) };
  return await withAdvisoryLock(db, lock, { waitMs, signal }, async () => {
    const job = await getBegun(context, name);
    await context.consent([], `Cancel the job "${visible(name)}"? What is done stays done.`);
    await context.history.begin(db, { job: name });
    await db.execute(deleteJobSql(settings.stateSchema, `${jobPrefix}${name}`));
    context.applied.changes += 1;
    return job;
  });
}

/** Throws usage when no job of that name was begun. */
export async function getBegun(
  context: Pick<RowsContext, 'db' | 'settings'>,
  name: string,
): Promise<RowsJob> {
  const { db, settings } = context;
  const row = await findJob(db, settings.stateSchema, `${jobPrefix}${name}`);
  if (row !== undefined) return readJob(row);
  const others = (await listJobs(db, settings.stateSchema, jobPrefix)).map((item) =>
    item.name.slice(jobPrefix.length),
  );
  const guess = nearest(name, others);
  throw new DbopsError('usage', `no job "${visible(name)}" was begun and not ended`, {
    hint: guess === undefined ? '"dbops rows jobs" lists them.' : `Did you mean ${visible(guess)}?`,
  });
}

/** The configured jobs that were named, or all of them. Throws usage. */
export function configuredRequests(context: Pick<RowsContext, 'settings'>, names: string[]): RowsRequest[] {
  const { jobs } = context.settings.rows;
  if (jobs.length === 0) {
    throw new DbopsError('usage', 'no job over rows is configured', {
      hint: 'Add one under "rows: jobs:"; "dbops help config" shows how.',
    });
  }
  const wanted = names.length === 0 ? jobs.map((job) => job.name) : names;
  return wanted.map((name) => {
    const job = jobs.find((item) => item.name === name);
    if (job !== undefined) return { ...job, byHand: false };
    const guess = nearest(
      name,
      jobs.map((item) => item.name),
    );
    throw new DbopsError('usage', `no job "${visible(name)}" is configured`, {
      hint: guess === undefined ? '"dbops rows jobs" lists them.' : `Did you mean ${visible(guess)}?`,
    });
  });
}

/** One line for a title. */
export function describeRequest(request: RowsRequest): string {
  const { verb, table } = request.definition;
  return `${verb} ${displayNameOf(table)} as job ${visible(request.name)}`;
}

function displayNameOf(table: string): string {
  return visible(table.includes('.') ? table : displayName({ schema: 'public', name: table }));
}
