import type { ScheduledJob } from '../config/schedule.ts';
import type { ScheduledRunsRow } from '../sql/schedule.ts';
import { nextTime } from './times.ts';

/** How a job keeps to its schedule. */
export interface Lateness {
  /** Since when a run is missing; null when none is. */
  missingSince: Date | null;
  /** Seconds since then. */
  lateSeconds: number;
  isRunning: boolean;
}

/** Clocks of hosts and servers differ by so much. */
const slackMs = 60_000;

/**
 * Compares the last run that ended well with the schedule; one that is under way counts until it is due again. Nothing
 * for a job that never ran: nobody knows since when it should have. Pure.
 */
export function latenessOf(
  job: Pick<ScheduledJob, 'times' | 'timezone'>,
  runs: ScheduledRunsRow,
  now: Date,
): Lateness {
  const isRunning = runs.lastOutcome === 'running';
  const since = isRunning ? runs.lastAt : (runs.succeededAt ?? runs.firstAt);
  // The first run was due itself, where none ended well.
  const isMissing = !isRunning && runs.succeededAt === null;
  const due = isMissing ? runs.firstAt : nextTime(job, new Date(since.getTime() + slackMs));
  const lateMs = now.getTime() - due.getTime();
  return lateMs <= 0
    ? { missingSince: null, lateSeconds: 0, isRunning }
    : { missingSince: due, lateSeconds: lateMs / 1000, isRunning };
}
