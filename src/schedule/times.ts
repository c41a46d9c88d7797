import { CronExpressionParser } from 'cron-parser';
import type { ScheduledJob } from '../config/schedule.ts';

type Timed = Pick<ScheduledJob, 'times' | 'timezone'>;

/** The next times at which a job is due after a moment. At a time that a day does not have, it is due an hour later. Pure. */
export function nextTimes({ times, timezone }: Timed, after: Date, count: number): Date[] {
  const found = CronExpressionParser.parse(times.text, { currentDate: after, tz: timezone });
  return Array.from({ length: count }, () => found.next().toDate());
}

/** When a job is due next. Pure. */
export function nextTime(job: Timed, after: Date): Date {
  const [next] = nextTimes(job, after, 1);
  if (next === undefined) throw new Error('a job is never due');
  return next;
}

/** A change of the clocks of a zone. Local times are minutes of the day. */
interface ClockChange {
  /** YYYY-MM-DD. */
  date: string;
  /** From here on, the clocks are changed. */
  at: Date;
  /** Local times from `from` to before `to` are skipped, or come twice. */
  from: number;
  to: number;
  isSkipped: boolean;
}

/**
 * What the clocks do to a job within a year: times that a day does not have, or has twice. Jobs of every hour are not
 * concerned. Pure.
 */
export function clockNotes({ times, timezone }: Timed, now: Date): string[] {
  if (times.hours.isAny) return [];
  const minutesOfDay = times.hours.values.flatMap((hour) =>
    times.minutes.values.map((minute) => hour * 60 + minute),
  );
  return clockChanges(timezone, now).flatMap(({ date, from, to, isSkipped }) => {
    const hit = minutesOfDay.find((minute) => minute >= from && minute < to);
    if (hit === undefined || !fallsOn({ times }, date)) return [];
    const time = clockTime(hit);
    return isSkipped
      ? [
          `${date} has no ${time} in ${timezone}: cron runs it when the gap is over, systemd and Kubernetes skip it`,
        ]
      : [`${date} has ${time} twice in ${timezone}: some schedulers run it twice`];
  });
}

/** Whether a job is due on a date. A day of month and a day of week together mean either. */
function fallsOn({ times }: Pick<Timed, 'times'>, date: string): boolean {
  const [, month = 0, day = 0] = date.split('-').map(Number);
  if (!times.months.values.includes(month)) return false;
  const isDay = times.days.values.includes(day);
  const isWeekday = times.weekdays.values.includes(new Date(`${date}T00:00:00Z`).getUTCDay());
  if (times.days.isAny) return isWeekday;
  return times.weekdays.isAny ? isDay : isDay || isWeekday;
}

const dayMs = 86_400_000;

function clockChanges(timezone: string, from: Date): ClockChange[] {
  const changes: ClockChange[] = [];
  for (let day = 0; day < 366; day += 1) {
    let before = from.getTime() + day * dayMs;
    let after = before + dayMs;
    const old = offsetMinutes(timezone, new Date(before));
    const shift = offsetMinutes(timezone, new Date(after)) - old;
    if (shift === 0) continue;
    while (after - before > 1000) {
      const middle = Math.floor((before + after) / 2);
      if (offsetMinutes(timezone, new Date(middle)) === old) before = middle;
      else after = middle;
    }
    const at = new Date(Math.round(after / 60_000) * 60_000);
    const local = new Date(at.getTime() + (old + Math.min(shift, 0)) * 60_000);
    const start = local.getUTCHours() * 60 + local.getUTCMinutes();
    changes.push({
      date: local.toISOString().slice(0, 10),
      at,
      from: start,
      to: start + Math.abs(shift),
      isSkipped: shift > 0,
    });
  }
  return changes;
}

/** Whether the clocks of a zone stay as they are for two years. Pure. */
export function hasFixedOffset(timezone: string, now: Date): boolean {
  return (
    clockChanges(timezone, now).length === 0 &&
    clockChanges(timezone, new Date(now.getTime() + 366 * dayMs)).length === 0
  );
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** How far a zone is ahead of UTC. Pure. */
export function offsetMinutes(timezone: string, at: Date): number {
  const format =
    formats.get(timezone) ??
    new Intl.DateTimeFormat('en-US', { timeZone: timezone, timeZoneName: 'longOffset' });
  formats.set(timezone, format);
  const name = format.formatToParts(at).find((part) => part.type === 'timeZoneName')?.value ?? '';
  const [, sign = '+', hours = '0', minutes = '0'] = /GMT([+-])(\d{2}):(\d{2})/.exec(name) ?? [];
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
}

/** 03:05. Pure. */
export function clockTime(minuteOfDay: number): string {
  const two = (value: number) => String(value).padStart(2, '0');
  return `${two(Math.floor(minuteOfDay / 60))}:${two(minuteOfDay % 60)}`;
}
