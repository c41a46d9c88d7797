import type { IntervalUnit } from '../../config/schema.ts';
import type { Range } from './bounds.ts';
import type { KeyCodec, Point } from './key.ts';
import { utc, type Zone } from './zone.ts';

/**
 * The periods of a set, numbered. Period n is [start(n), start(n + 1)): without a gap or an overlap, whatever the zone
 * does on its way. The grid may be shifted from the calendar (weeks from Thursday, days from 09:00).
 */
export interface Grid {
  interval: IntervalUnit | number;
  zone: Zone;
  /** False when the bounds that are there lie beside the calendar and the grid follows them. */
  isNominal: boolean;
  /** The number of the period that holds the point. */
  index(point: Point): bigint;
  start(index: bigint): Point;
}

const micros = 1000n;
const hourMicros = 3_600_000_000n;
const dayMicros = 24n * hourMicros;
/** 1970-01-05, a Monday: ISO weeks begin there. */
const mondayAnchor = 4n * dayMicros;

/** The grid of a calendar interval or of id ranges; `anchor` is a bound that it must meet, else the calendar's own. */
export function gridOf(interval: IntervalUnit | number, codec: KeyCodec, zone: Zone, anchor?: Point): Grid {
  if (typeof interval === 'number') return evenGrid(interval, BigInt(interval), anchor, utc);
  const effective = codec.isInstant ? zone : utc;
  if (interval === 'hour')
    return evenGrid(interval, hourMicros, anchor ?? hourAnchor(effective), effective, anchor === undefined);
  return wallGrid(interval, effective, anchor);
}

/** Zones that are off by half an hour begin their hours there. */
function hourAnchor(zone: Zone): Point {
  return -BigInt(zone.toWallMs(0) % 3_600_000) * micros;
}

function evenGrid(
  interval: IntervalUnit | number,
  size: bigint,
  anchor: Point | undefined,
  zone: Zone,
  isNominal = anchor === undefined,
): Grid {
  const origin = anchor ?? 0n;
  return {
    interval,
    zone,
    isNominal,
    index: (point) => floorDivide(point - origin, size),
    start: (index) => origin + index * size,
  };
}

/** Days and longer: counted on the wall clock, since a day may have 23 or 25 hours. */
function wallGrid(interval: Exclude<IntervalUnit, 'hour'>, zone: Zone, anchor: Point | undefined): Grid {
  const wallAnchor = anchor === undefined ? (interval === 'week' ? mondayAnchor : 0n) : toWall(zone, anchor);
  const months = { day: 0n, week: 0n, month: 1n, quarter: 3n, year: 12n }[interval];
  const days = interval === 'week' ? 7n : 1n;
  const wallStart = (index: bigint) =>
    months === 0n ? wallAnchor + index * days * dayMicros : addMonths(wallAnchor, index * months);
  const start = (index: bigint) => toInstant(zone, wallStart(index));
  const index = (point: Point) => {
    const wall = toWall(zone, point);
    let guess =
      months === 0n
        ? floorDivide(wall - wallAnchor, days * dayMicros)
        : floorDivide(monthsBetween(wallAnchor, wall), months);
    // A repeated or skipped wall-clock time, or a day within the month, can put the guess one period off.
    while (start(guess) > point) guess -= 1n;
    while (start(guess + 1n) <= point) guess += 1n;
    return guess;
  };
  return { interval, zone, isNominal: anchor === undefined, index, start };
}

/** Whether the point is the beginning of a period. */
export function isOnGrid(grid: Grid, point: Point): boolean {
  return grid.start(grid.index(point)) === point;
}

/** The period that holds the point. */
export function periodAt(grid: Grid, point: Point): { from: Point; to: Point } {
  const index = grid.index(point);
  return { from: grid.start(index), to: grid.start(index + 1n) };
}

/** How many whole periods a range spans; undefined when its ends are not on the grid. */
export function periodsIn(grid: Grid, range: Range): bigint | undefined {
  if (range.from === undefined || range.to === undefined) return undefined;
  if (!isOnGrid(grid, range.from) || !isOnGrid(grid, range.to)) return undefined;
  return grid.index(range.to) - grid.index(range.from);
}

/** Wall-clock microseconds of an instant in a zone. */
export function toWall(zone: Zone, instant: Point): Point {
  if (zone === utc) return instant;
  const milliseconds = floorDivide(instant, micros);
  return BigInt(zone.toWallMs(Number(milliseconds))) * micros + (instant - milliseconds * micros);
}

/** The instant of wall-clock microseconds in a zone. */
export function toInstant(zone: Zone, wall: Point): Point {
  if (zone === utc) return wall;
  const milliseconds = floorDivide(wall, micros);
  return BigInt(zone.toInstantMs(Number(milliseconds))) * micros + (wall - milliseconds * micros);
}

/** Adds calendar months to a wall-clock time; a day that the month lacks becomes its last. */
export function addMonths(wall: Point, months: bigint): Point {
  const day = floorDivide(wall, dayMicros);
  const date = new Date(Number(day * (dayMicros / micros)));
  const year = date.getUTCFullYear();
  const month = date.getUTCMonth() + Number(months);
  // Not Date.UTC: it takes a year below 100 for one of the twentieth century.
  const last = new Date(new Date(0).setUTCFullYear(year, month + 1, 0)).getUTCDate();
  const moved = new Date(0).setUTCFullYear(year, month, Math.min(date.getUTCDate(), last));
  return BigInt(moved) * micros + (wall - day * dayMicros);
}

/** Calendar months from one wall-clock time to another, days left aside. */
function monthsBetween(from: Point, to: Point): bigint {
  const a = new Date(Number(floorDivide(from, micros)));
  const b = new Date(Number(floorDivide(to, micros)));
  return BigInt((b.getUTCFullYear() - a.getUTCFullYear()) * 12 + b.getUTCMonth() - a.getUTCMonth());
}

/** Division that rounds towards minus infinity. */
export function floorDivide(a: bigint, b: bigint): bigint {
  const quotient = a / b;
  return a % b !== 0n && a < 0n !== b < 0n ? quotient - 1n : quotient;
}
