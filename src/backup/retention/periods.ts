import type { Duration } from '../../config/duration.ts';
import type { Zone } from '../../partition/model/zone.ts';

export const periodUnits = ['hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;
export type PeriodUnit = (typeof periodUnits)[number];

const dayMs = 86_400_000;

/**
 * The hour, day, ISO week, month or year in which a moment lies by the clock of the zone, for people: 2026-11-21T03+01:00,
 * 2026-11-21, 2026-W47, 2026-11, 2026. The hour that a fall-back repeats counts as two. Pure.
 */
export function periodOf(unit: PeriodUnit, moment: Date, zone: Zone): string {
  const instantMs = moment.getTime();
  const wallMs = zone.toWallMs(instantMs);
  const wall = new Date(wallMs).toISOString();
  switch (unit) {
    case 'hourly':
      return `${wall.slice(0, 13)}${offsetText(wallMs - instantMs)}`;
    case 'daily':
      return wall.slice(0, 10);
    case 'weekly':
      return isoWeek(wallMs);
    case 'monthly':
      return wall.slice(0, 7);
    case 'yearly':
      return wall.slice(0, 4);
  }
}

function offsetText(offsetMs: number): string {
  const minutes = Math.round(Math.abs(offsetMs) / 60_000);
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0');
  return offsetMs === 0 ? 'Z' : `${offsetMs < 0 ? '-' : '+'}${two(minutes / 60)}:${two(minutes % 60)}`;
}

/** ISO 8601: weeks begin on Monday and belong to the year of their Thursday. */
function isoWeek(wallMs: number): string {
  const day = Math.floor(wallMs / dayMs);
  // Day 0 of the epoch was a Thursday: Monday is 0 here.
  const weekday = (((day + 3) % 7) + 7) % 7;
  const thursday = new Date((day - weekday + 3) * dayMs);
  const year = thursday.getUTCFullYear();
  const week = Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / dayMs / 7) + 1;
  return `${String(year)}-W${String(week).padStart(2, '0')}`;
}

/** A moment moved back by a duration; months are counted on the calendar of the zone, and end with it. Pure. */
export function momentBefore(moment: Date, duration: Duration, zone: Zone): Date {
  let ms = moment.getTime();
  if (duration.months > 0) {
    const wall = new Date(zone.toWallMs(ms));
    const day = wall.getUTCDate();
    wall.setUTCDate(1);
    wall.setUTCMonth(wall.getUTCMonth() - duration.months);
    const last = new Date(Date.UTC(wall.getUTCFullYear(), wall.getUTCMonth() + 1, 0)).getUTCDate();
    wall.setUTCDate(Math.min(day, last));
    ms = zone.toInstantMs(wall.getTime());
  }
  return new Date(ms - Math.round(duration.seconds * 1000));
}
