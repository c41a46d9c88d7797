import type { ScheduledJob } from '../config/schedule.ts';
import type { DbopsError } from '../errors.ts';
import type { Log } from '../output/log.ts';
import { withAdvisoryLock } from '../pg/advisory-lock.ts';
import type { Db } from '../pg/connection.ts';
import { runOwn, type OwnEnd } from '../process/own.ts';
import type { History, Outcome } from '../state/history.ts';
import { describeWork } from './host.ts';
import { notifyEnd, notifyStart, type JobEnd } from './notify.ts';

/** How long a job may take to end after it was asked to. */
const defaultGraceMs = 10_000;

/** Findings are what a check is for: the job itself has done its work. */
const findingsCode = 6;

export interface RunContext {
  /** The session that holds the lock and writes the history. */
  open: () => Promise<{ db: Db; history: History; waitMs: number }>;
  log: Log;
  signal: AbortSignal;
  host: string;
  /** Flags and variables that reach the command of the job as they reached this one. */
  args: string[];
  env: Record<string, string>;
  stdout: 'inherit' | 'stderr';
  onStderr: (text: string) => void;
  graceMs?: number;
}

/** How a job ended, for the history and for people. */
export interface JobResult {
  job: string;
  exitCode: number;
  durationMs: number;
  hasHitLimit: boolean;
  outcome: Outcome;
  message: string | null;
}

/**
 * Runs a job once: alone, recorded, within its time limit, and tells who is to be told. The exit code is that of the
 * job. Throws lock_busy while the job runs elsewhere, without telling anybody: that run will. Locks: what the job takes.
 */
export async function runScheduled(context: RunContext, job: ScheduledJob): Promise<JobResult> {
  const startedAt = new Date();
  const began = performance.now();
  const tell = async (exitCode: number, message: string | null) => {
    const durationMs = Math.round(performance.now() - began);
    const outcome = exitCode === 0 ? 'success' : 'failure';
    const end: JobEnd = { outcome, exitCode, startedAt, durationMs, message };
    await notifyEnd(job, end, context);
  };
  try {
    const { db, history, waitMs } = await context.open();
    const lock = { scheduled: job.name };
    const { signal } = context;
    const end = await withAdvisoryLock(db, lock, { waitMs, signal }, async () => {
      await history.begin(db, { job: job.name, work: describeWork(job) });
      const starting = notifyStart(job, context);
      const ended = await work(context, db, job);
      // An end that overtakes its start would leave the healthcheck waiting.
      await starting;
      return ended;
    });
    const result = resultOf(context, job, end, Math.round(performance.now() - began));
    await tell(result.exitCode, result.message);
    return result;
  } catch (error) {
    const { exitCode = 1, code } = error as Partial<DbopsError>;
    if (code !== 'lock_busy') await tell(exitCode, error instanceof Error ? error.message : String(error));
    throw error;
  }
}

async function work(context: RunContext, db: Db, { work, timeLimitMs }: ScheduledJob): Promise<OwnEnd> {
  if (work.kind === 'sql') {
    await db.query({
      text: `/* dbops:schedule.job */ ${work.sql}`,
      ...(timeLimitMs === undefined ? {} : { timeoutMs: timeLimitMs }),
    });
    return { exitCode: 0, hasHitLimit: false, said: '' };
  }
  const { graceMs = defaultGraceMs } = context;
  return await runOwn([...work.words, ...context.args], { ...context, timeLimitMs, graceMs });
}

function resultOf(
  { log, signal }: RunContext,
  job: ScheduledJob,
  end: OwnEnd,
  durationMs: number,
): JobResult {
  const { exitCode, hasHitLimit, said } = end;
  const outcome = outcomeOf(exitCode, signal);
  const limit = hasHitLimit
    ? `was ended at its time limit of ${String((job.timeLimitMs ?? 0) / 1000)} s, with `
    : '';
  const message = exitCode === 0 ? null : `${limit}exit code ${String(exitCode)}${reasonIn(said)}`;
  const fields = { job: job.name, exitCode, durationMs };
  const seconds = (durationMs / 1000).toFixed(1);
  if (outcome === 'done')
    log.info({ event: 'job_completed', ...fields }, `job "${job.name}" ended after ${seconds} s`);
  else
    log.error(
      { event: 'job_failed', ...fields },
      `job "${job.name}" failed after ${seconds} s: ${message ?? ''}`,
    );
  return { job: job.name, exitCode, durationMs, hasHitLimit, outcome, message };
}

function outcomeOf(exitCode: number, signal: AbortSignal): Outcome {
  if (exitCode === 0 || exitCode === findingsCode) return 'done';
  if (signal.aborted) return 'interrupted';
  return exitCode === 5 ? 'partly done' : 'failed';
}

/** The line of dbops that says what went wrong, else the last one. */
function reasonIn(said: string): string {
  const lines = said.split('\n').filter((line) => line.trim() !== '');
  const line = lines.find((text) => text.startsWith('dbops: ')) ?? lines.at(-1);
  return line === undefined ? '' : `: ${line.replace(/^dbops: /, '').slice(0, 500)}`;
}
