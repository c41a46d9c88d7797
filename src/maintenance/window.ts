import { DbopsError } from '../errors.ts';
import type { JobContext } from '../partition/context.ts';
import { getTimeUntil } from '../sql/rows-pressure.ts';

/** Whatever a clock shows first is meant, unless that is nearly a day away: then it has just passed. */
const longestWindowMs = 16 * 3_600_000;

/** A moment after which nothing is begun. */
export interface Window {
  /** HH:MM, for people; undefined: no end. */
  until: string | undefined;
  /** By performance.now(). */
  endsAt: number;
}

export const noWindow: Window = { until: undefined, endsAt: Infinity };

/** Throws usage for what is no time of day. */
export function checkUntil(until: string | undefined): void {
  if (until !== undefined && !/^([01]\d|2[0-3]):[0-5]\d$/.test(until))
    throw new DbopsError('usage', `--until is a time of day such as 05:00, not "${until}"`);
}

/** When a run ends. Throws usage for what is no time of day, and refused for one that has passed. */
export async function openWindow(
  { db, now, settings }: Pick<JobContext, 'db' | 'now' | 'settings'>,
  until: string | undefined,
): Promise<Window> {
  checkUntil(until);
  if (until === undefined) return noWindow;
  const remainingMs = await getTimeUntil(db, now, until, settings.timezone);
  if (remainingMs > longestWindowMs) {
    const hours = Math.round(longestWindowMs / 3_600_000);
    throw new DbopsError('refused', `${until} has passed in ${settings.timezone}: nothing is begun`, {
      hint: `Give a time within the next ${String(hours)} hours; the time zone is that of defaults.timezone.`,
    });
  }
  return { until, endsAt: performance.now() + remainingMs };
}

export function remainingMs({ endsAt }: Window): number {
  return endsAt - performance.now();
}
