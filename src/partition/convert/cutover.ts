import { DbopsError } from '../../errors.ts';
import { isOnGrid, toInstant, toWall, type Grid } from '../model/grid.ts';
import { parseTime, type KeyCodec, type Point } from '../model/key.ts';
import { utc, type Zone } from '../model/zone.ts';

/** From the first step on, rows at or past the cutover are refused: so far ahead it is when none was given. */
const defaultAheadMicros = 2n * 86_400_000_000n;

/** The next bound at least two days away; for ids the end of the period after the current one. */
export function defaultCutover(grid: Grid, codec: KeyCodec, current: Point): Point {
  if (!codec.isTime) return grid.start(grid.index(current) + 2n);
  const least = current + defaultAheadMicros;
  return isOnGrid(grid, least) ? least : grid.start(grid.index(least) + 1n);
}

/**
 * The cutover as typed: a number for ids, a time in the set's zone (or with Z or +00) for everything else. Throws usage
 * when it cannot be read, is not a bound of the grid, or lies in the past.
 */
export function parseCutover(text: string, grid: Grid, codec: KeyCodec, zone: Zone, current: Point): Point {
  const point = readPoint(text.trim(), codec, zone);
  if (point === undefined) {
    throw new DbopsError('usage', `--cutover "${text}" cannot be read as a bound of a ${codec.kind} key`, {
      hint: codec.isTime
        ? `Write it as 2026-12-01 or 2026-12-01 00:00:00 (in ${zone.name}), or with Z behind it.`
        : 'Write it as a whole number.',
    });
  }
  if (!isOnGrid(grid, point)) {
    const index = grid.index(point);
    const nearest = [index, index + 1n].map((item) => showPoint(grid.start(item), codec, zone)).join(' or ');
    throw new DbopsError(
      'usage',
      `--cutover ${text} is not where a period of ${String(grid.interval)} begins`,
      {
        hint: `Give ${nearest}.`,
      },
    );
  }
  if (point <= current) {
    throw new DbopsError('usage', `--cutover ${text} has passed already`, {
      hint: `Leave it out for the default, or give a later bound: ${showPoint(defaultCutover(grid, codec, current), codec, zone)}.`,
    });
  }
  return point;
}

function readPoint(text: string, codec: KeyCodec, zone: Zone): Point | undefined {
  if (!codec.isTime) return codec.parse(text);
  const completed = /^\d{4}-\d\d-\d\d[ T]\d\d:\d\d$/.test(text) ? `${text}:00` : text;
  const time = parseTime(completed);
  if (time === undefined) return codec.parse(text);
  const hasZone = /(Z|\+00(:?00)?)$/.test(completed);
  if (!codec.isInstant) return hasZone ? undefined : time;
  return hasZone ? time : toInstant(zone, time);
}

/** A point for people: times on the wall clock of the zone. */
export function showPoint(point: Point, codec: KeyCodec, zone: Zone): string {
  if (!codec.isTime) return String(point);
  const wall = codec.isInstant ? toWall(zone, point) : point;
  const text = new Date(Number(wall / 1000n)).toISOString().slice(0, 19).replace('T', ' ');
  return codec.isInstant && zone.name !== 'UTC'
    ? `${text} ${zone.name}`
    : codec.isInstant
      ? `${text}Z`
      : text;
}

/** The instant of a point in ISO; null for ids. Keys without a zone are on the wall clock of the set's zone. */
export function instantOf(point: Point, codec: KeyCodec, zone: Zone): string | null {
  if (!codec.isTime) return null;
  const instant = codec.isInstant ? point : toInstant(zone ?? utc, point);
  return new Date(Number(instant / 1000n)).toISOString();
}
