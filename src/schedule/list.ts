import type { ScheduledJob } from '../config/schedule.ts';
import { nearest } from '../config/nearest.ts';
import { DbopsError } from '../errors.ts';
import type { Db } from '../pg/connection.ts';
import { listScheduledRuns, type ScheduledRunsRow } from '../sql/schedule.ts';
import { findStateVersion } from '../sql/state.ts';
import { visible } from '../sql/quote.ts';
import { describeWork } from './host.ts';
import { clockNotes, nextTimes } from './times.ts';

/** A job for people. */
export interface ScheduleLine {
  job: string;
  what: string;
  cron: string;
  timezone: string;
  next: Date[];
  lastAt: Date | null;
  /** "done", "never", or "unknown" where the history could not be read. */
  last: string;
  lastMessage: string | null;
  succeededAt: Date | null;
  notes: string[];
}

/** A question about the history may take this long. */
const historyTimeoutMs = 5000;

/** The runs of all jobs, by name; a database without a history has none. Throws what the database says. */
export async function readRuns(
  db: Db,
  schema: string,
  jobs: Pick<ScheduledJob, 'name'>[],
): Promise<Map<string, ScheduledRunsRow>> {
  if ((await findStateVersion(db, schema)) === 0) return new Map();
  const names = jobs.map((job) => job.name);
  const rows = await listScheduledRuns(db, schema, names, historyTimeoutMs);
  return new Map(rows.map((row) => [row.name, row]));
}

/** All jobs with their next and last runs; `runs` is undefined when the history could not be read. Pure. */
export function listSchedule(
  jobs: ScheduledJob[],
  runs: Map<string, ScheduledRunsRow> | undefined,
  now: Date,
): ScheduleLine[] {
  return jobs.map((job) => {
    const run = runs?.get(job.name);
    return {
      job: job.name,
      what: describeWork(job),
      cron: job.cron,
      timezone: job.timezone,
      next: nextTimes(job, now, 3),
      lastAt: run?.lastAt ?? null,
      last: runs === undefined ? 'unknown' : (run?.lastOutcome ?? 'never'),
      lastMessage: run?.lastMessage ?? null,
      succeededAt: run?.succeededAt ?? null,
      notes: clockNotes(job, now),
    };
  });
}

/** The named jobs, or all of them. Throws usage. */
export function chooseJobs(jobs: ScheduledJob[], names: string[]): ScheduledJob[] {
  if (jobs.length === 0)
    throw new DbopsError('usage', 'no job is scheduled', {
      hint: 'Add one under "schedule:"; "dbops help config" shows how.',
    });
  if (names.length === 0) return jobs;
  return names.map((name) => {
    const job = jobs.find((item) => item.name === name);
    if (job !== undefined) return job;
    const guess = nearest(
      name,
      jobs.map((item) => item.name),
    );
    throw new DbopsError('usage', `no job "${visible(name)}" is scheduled`, {
      hint: guess === undefined ? '"dbops schedule list" shows them.' : `Did you mean ${guess}?`,
    });
  });
}
