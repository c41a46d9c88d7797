import type { IntervalUnit } from '../../config/schema.ts';
import type { PartmanRow } from '../../sql/adoption.ts';

const intervals: [RegExp, IntervalUnit][] = [
  [/^(1 hour|01:00:00|hourly)$/, 'hour'],
  [/^(1 day|24:00:00|daily)$/, 'day'],
  [/^(7 days|1 week|weekly)$/, 'week'],
  [/^(1 mon|1 month|monthly)$/, 'month'],
  [/^(3 mons|3 months|quarterly)$/, 'quarter'],
  [/^(1 year|12 mons|yearly)$/, 'year'],
];

/** Our interval for pg_partman's; undefined for one that we have not (15 minutes, 10 years). */
export function partmanInterval(row: PartmanRow): IntervalUnit | number | undefined {
  if (/^[1-9]\d{0,15}$/.test(row.interval)) return row.epoch === 'none' ? Number(row.interval) : undefined;
  return intervals.find(([pattern]) => pattern.test(row.interval))?.[1];
}

/** Our duration, or number of ids, for pg_partman's retention; undefined for one that has several parts. */
export function partmanRetention(row: PartmanRow): string | undefined {
  if (row.retention === null) return undefined;
  if (/^[1-9]\d*$/.test(row.retention)) return row.retention;
  const match = /^([1-9]\d*) (hour|day|week|mon|month|year)s?$/.exec(row.retention);
  if (match === null) return undefined;
  const unit = match[2] === 'mon' ? 'month' : (match[2] ?? '');
  return `${match[1] ?? ''} ${unit}${match[1] === '1' ? '' : 's'}`;
}
