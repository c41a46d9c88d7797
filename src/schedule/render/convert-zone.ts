import type { CronField, CronTimes } from '../../config/cron.ts';
import type { ScheduledJob } from '../../config/schedule.ts';
import { hasFixedOffset, offsetMinutes } from '../times.ts';

/** A cron line for a scheduler that knows one zone only, or why there is none. */
export type Converted = { cron: string } | { problem: string };

/**
 * Writes the times of a job in the zone that a scheduler works in. That takes zones whose clocks are never changed, and
 * times that remain one cron line: what would be wrong for half a year is refused. Pure.
 */
export function convertZone(
  { times, timezone }: Pick<ScheduledJob, 'times' | 'timezone'>,
  zone: string,
  now: Date,
): Converted {
  if (timezone === zone) return { cron: times.text };
  for (const name of [timezone, zone])
    if (!hasFixedOffset(name, now))
      return {
        problem: `the clocks of ${name} are changed in the year, so its times cannot be written in ${timezone === name ? zone : timezone}`,
      };
  const shift = offsetMinutes(zone, now) - offsetMinutes(timezone, now);
  if (shift === 0) return { cron: times.text };
  return shifted(times, shift) ?? { problem: `its times in ${timezone} are no single cron line in ${zone}` };
}

function shifted(times: CronTimes, shift: number): Converted | undefined {
  const { minutes, hours, days, months, weekdays } = times;
  const pairs = hours.values.flatMap((hour) => minutes.values.map((minute) => hour * 60 + minute + shift));
  const dayShifts = new Set(pairs.map((time) => Math.floor(time / 1440)));
  const [dayShift = 0] = dayShifts;
  const isEveryDay = days.isAny && months.isAny && weekdays.isAny;
  // The day before the first of a month has no cron line of its own.
  if (!isEveryDay && (dayShifts.size > 1 || (dayShift !== 0 && !(days.isAny && months.isAny))))
    return undefined;
  const inDay = pairs.map((time) => ((time % 1440) + 1440) % 1440);
  const newHours = distinct(inDay.map((time) => Math.floor(time / 60)));
  const newMinutes = distinct(inDay.map((time) => time % 60));
  if (newHours.length * newMinutes.length !== new Set(inDay).size) return undefined;
  const newDays = weekdays.values.map((day) => (((day + dayShift) % 7) + 7) % 7);
  return {
    cron: [
      written({ values: newMinutes, isAny: minutes.isAny }),
      written({ values: newHours, isAny: hours.isAny }),
      ...times.text.split(' ').slice(2, 4),
      written({ values: distinct(newDays), isAny: weekdays.isAny }),
    ].join(' '),
  };
}

function distinct(values: number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}

function written({ values, isAny }: CronField): string {
  return isAny ? '*' : values.join(',');
}
