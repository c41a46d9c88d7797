import { DbopsError } from '../../errors.ts';
import type { Db } from '../../pg/connection.ts';
import { countByPeriod, findKeyExtremes } from '../../sql/drain.ts';
import { displayName, visible } from '../../sql/quote.ts';
import { overlaps } from '../model/bounds.ts';
import type { NewPartition } from '../create/child.ts';
import { floorDivide, periodsIn } from '../model/grid.ts';
import type { KeyCodec, Point } from '../model/key.ts';
import type { ClosedRange } from '../model/set.ts';
import { nameAll } from '../create/wanted.ts';
import type { DrainSource } from './source.ts';

/** A period that moves into a partition of its own. */
export interface DrainPeriod {
  partition: NewPartition;
  /** Counted when the plan was made. */
  rows: number;
}

export interface DrainPeriods {
  /** In the order in which they are moved. */
  periods: DrainPeriod[];
  /** What stays, and why. */
  warnings: string[];
}

/** More than this between the least and the greatest key is an outlier, not a history. */
const maxPeriods = 10_000;

/** The point of a key as a row has it. Unlike bounds, a uuid has all its bits and a number may have a fraction. */
export function pointOfKey(codec: KeyCodec, text: string): Point | undefined {
  if (codec.kind === 'uuidv7') return codec.parse(`${text.slice(0, 13)}-0000-0000-000000000000`);
  if (/^-?\d+\.\d+$/.test(text)) {
    const scaled = BigInt(text.replace('.', ''));
    const whole = floorDivide(scaled, 10n ** BigInt(text.length - text.indexOf('.') - 1));
    return codec.parse(String(whole));
  }
  return codec.parse(text);
}

/**
 * Which periods of the source have rows, and how many. Reads the source once. A period counts only when it lies wholly
 * within the source's range and not past what `ensure` would make. Locks: ACCESS SHARE.
 */
export async function planPeriods(
  db: Db,
  source: DrainSource,
  current: Point | undefined,
): Promise<DrainPeriods> {
  const { set, partition, facts } = source;
  const { codec, settings } = set;
  const extremes = await findKeyExtremes(db, partition, settings.key, facts.keyType);
  if (extremes.lowest === null || extremes.highest === null) return { periods: [], warnings: [] };
  const lowest = pointOfKey(codec, extremes.lowest);
  const highest = pointOfKey(codec, extremes.highest);
  if (lowest === undefined || highest === undefined) {
    throw new DbopsError('refused', `${displayName(partition)} has keys that belong to no period`, {
      detail: `its keys reach from ${visible(extremes.lowest)} to ${visible(extremes.highest)}`,
      hint: 'Move or correct those rows by hand first.',
    });
  }
  const warnings: string[] = [];
  const candidates = candidateRanges(source, lowest, highest, current, warnings);
  if (candidates.length === 0) return { periods: [], warnings };
  const counts = await countRows(db, source, candidates);
  const kept = candidates.filter((_, index) => source.direction !== undefined || (counts[index] ?? 0) > 0);
  const free = kept.filter((range) =>
    isFree(source, range, counts[candidates.indexOf(range)] ?? 0, warnings),
  );
  const ordered = source.direction === 'from the upper end' ? free.toReversed() : free;
  const named = nameAll(set, source.branch, ordered, source.parent.leafSchema);
  return {
    periods: named.map((item) => ({
      partition: item,
      rows: counts[candidates.findIndex((range) => range.from === item.from)] ?? 0,
    })),
    warnings,
  };
}

function candidateRanges(
  source: DrainSource,
  lowest: Point,
  highest: Point,
  current: Point | undefined,
  warnings: string[],
): ClosedRange[] {
  const { grid, partition, direction, set } = source;
  const label = displayName(partition);
  // Further ahead than ensure goes, a partition would make ensure believe that all before it is there.
  const horizon = current === undefined ? undefined : grid.index(current) + BigInt(set.settings.premake);
  let first = grid.index(lowest);
  let last = grid.index(highest);
  if (horizon !== undefined && last > horizon && direction !== 'from the upper end') {
    warnings.push(
      `${label}: rows from ${set.codec.format(grid.start(horizon + 1n))} on stay where they are: they lie past the periods that "partition ensure" makes (premake ${String(set.settings.premake)})`,
    );
    last = horizon;
  }
  const range = partition.range ?? { from: undefined, to: undefined };
  if (direction === 'from the upper end' && range.to !== undefined) last = grid.index(range.to) - 1n;
  if (direction === 'from the lower end' && range.from !== undefined) first = grid.index(range.from);
  const inside: ClosedRange[] = [];
  if (last - first >= BigInt(maxPeriods)) throw tooMany(source, lowest, highest, last - first + 1n);
  for (let index = first; index <= last; index += 1n) {
    const period = { from: grid.start(index), to: grid.start(index + 1n) };
    const within =
      (range.from === undefined || period.from >= range.from) &&
      (range.to === undefined || period.to <= range.to);
    if (within) inside.push(period);
  }
  return withoutTheLastOne(source, inside);
}

/** A partition of finite bounds ends as the partition of its last period: it cannot have none. */
function withoutTheLastOne(source: DrainSource, inside: ClosedRange[]): ClosedRange[] {
  const { range } = source.partition;
  if (source.direction === undefined || range?.from === undefined || range.to === undefined) return inside;
  const whole = periodsIn(source.grid, range);
  if (whole === undefined) return inside;
  return inside.filter((period) =>
    source.direction === 'from the upper end' ? period.from !== range.from : period.to !== range.to,
  );
}

function tooMany(source: DrainSource, lowest: Point, highest: Point, count: bigint): DbopsError {
  const { codec } = source.set;
  return new DbopsError(
    'refused',
    `${displayName(source.partition)}: its keys span ${String(count)} periods, more than ${String(maxPeriods)}`,
    {
      detail: `from ${codec.format(lowest)} to ${codec.format(highest)}`,
      hint: 'A few rows with a wrong key do that: correct or move them by hand, or check the interval in its entry.',
    },
  );
}

/** Rows of each candidate, in their order. */
async function countRows(db: Db, source: DrainSource, candidates: ClosedRange[]): Promise<number[]> {
  const { set, partition, facts } = source;
  const starts = [...candidates.map((range) => range.from), candidates.at(-1)?.to ?? 0n];
  const rows = await countByPeriod(
    db,
    partition,
    set.settings.key,
    facts.keyType,
    starts.map((point) => set.codec.format(point)),
  );
  const counts = new Map(rows.map((row) => [row.place, row.rows]));
  return candidates.map((_, index) => counts.get(index) ?? 0);
}

/** Whether nothing but the source serves any part of the period. */
function isFree(source: DrainSource, range: ClosedRange, rows: number, warnings: string[]): boolean {
  const { branch, partition, set } = source;
  const other = branch.partitions.find(
    (item) => item.oid !== partition.oid && item.range !== undefined && overlaps(item.range, range),
  );
  if (other === undefined) return true;
  if (rows > 0) {
    warnings.push(
      `${String(rows)} rows from ${set.codec.format(range.from)} to ${set.codec.format(range.to)} stay in ${displayName(partition)}: ` +
        `${displayName(other)} serves a part of that period`,
    );
  }
  return false;
}
