import { DbopsError } from '../../errors.ts';
import { visible } from '../../sql/quote.ts';
import { overlaps } from './bounds.ts';
import { gridOf, isOnGrid, periodsIn, toWall, type Grid } from './grid.ts';
import type { KeyCodec, Point } from './key.ts';
import {
  finitePartitions,
  lastUpper,
  type Branch,
  type FinitePartition,
  type Partition,
  type PartitionSet,
} from './set.ts';
import { utc, zoneOf } from './zone.ts';

/**
 * The grid that continues the bounds which are there: the calendar's own, or one shifted to meet them. The last
 * partition decides; older ones of another width are history (a set that was daily and is monthly now). Throws
 * interval_contradicts or timezone_contradicts when the configured interval cannot continue what is there.
 */
export function gridOfBranch(set: PartitionSet, branch: Branch): Grid {
  const nominal = gridOf(set.settings.interval, set.codec, set.zone);
  const unknown = branch.partitions.find((item) => item.range === undefined);
  if (unknown !== undefined) throw boundNotUnderstood(set, unknown);
  const last = finitePartitions(branch).at(-1);
  const upper = lastUpper(branch);
  if (upper === undefined) return nominal;
  if (last?.range.to !== upper) {
    // Only open-ended history before it (a converted table's legacy partition): the cutover decides.
    if (isOnGrid(nominal, upper)) return nominal;
    return shifted(set, branch, upper);
  }
  const width = periodsIn(nominal, last.range);
  if (width !== undefined && width >= 1n) return checkLater(set, branch, nominal, last);
  const grid = shifted(set, branch, upper);
  const shiftedWidth = periodsIn(grid, last.range);
  if (shiftedWidth === undefined || shiftedWidth < 1n) throw contradiction(set, last, nominal);
  return checkLater(set, branch, grid, last);
}

/** A grid that meets the last upper bound, or the reason why there can be none. */
function shifted(set: PartitionSet, branch: Branch, upper: Point): Grid {
  const { interval } = set.settings;
  const grid = gridOf(interval, set.codec, set.zone, upper);
  const last = finitePartitions(branch).at(-1);
  // Counted from 20:00 in New York, days of UTC would begin an hour off after the next change of clocks.
  if (last !== undefined && isOfUtc(set, last) && hasClockChanges(set, upper)) {
    throw timezoneError(set, last, utc.name);
  }
  if (!['month', 'quarter', 'year'].includes(String(interval))) return grid;
  // A month's end moves (the 31st, the 30th): such a grid cannot be continued from its last bound alone.
  const wall = set.codec.isInstant ? toWall(set.zone, upper) : upper;
  const day = new Date(Number(wall / 1000n)).getUTCDate();
  if (day <= 28 && (last === undefined || isOnGrid(grid, last.range.from))) return grid;
  throw timezoneContradicts(set, branch, upper);
}

function isOfUtc(set: PartitionSet, last: FinitePartition): boolean {
  const width = periodsIn(gridOf(set.settings.interval, set.codec, utc), last.range);
  return width !== undefined && width >= 1n;
}

/** Whether the offset of the set's zone differs between one half of the year and the other. */
function hasClockChanges(set: PartitionSet, around: Point): boolean {
  if (!set.codec.isInstant) return false;
  const halfYear = 182n * 86_400_000_000n;
  return toWall(set.zone, around + halfYear) - toWall(set.zone, around) !== halfYear;
}

/** Partitions that reach past the last two must fit as well, or what is created next would not. */
function checkLater(set: PartitionSet, branch: Branch, grid: Grid, last: FinitePartition): Grid {
  const neighbour = finitePartitions(branch).at(-2);
  if (
    neighbour !== undefined &&
    neighbour.range.to > last.range.from &&
    overlaps(neighbour.range, last.range)
  ) {
    throw new DbopsError('bounds_overlap', `${set.label}: ${neighbour.name} and ${last.name} overlap`);
  }
  return grid;
}

function contradiction(set: PartitionSet, last: FinitePartition, nominal: Grid): DbopsError {
  const found = widthName(set.codec, last, set);
  const configured =
    typeof set.settings.interval === 'number'
      ? `${String(set.settings.interval)} ids`
      : set.settings.interval;
  const bounds = `${visible(last.name)} reaches from ${set.codec.format(last.range.from)} to ${set.codec.format(last.range.to)}`;
  if (found.fits) {
    return new DbopsError(
      'interval_contradicts',
      `${set.label}: the interval is ${configured}, the partitions that are there are by ${found.name}`,
      {
        detail: bounds,
        hint: `Write "interval: ${found.name}" in its entry.`,
      },
    );
  }
  const zone = zoneThatFits(set, last);
  if (zone !== undefined && !isOnGrid(nominal, last.range.to)) return timezoneError(set, last, zone);
  return new DbopsError(
    'interval_contradicts',
    `${set.label}: an interval of ${configured} does not divide the bounds that are there`,
    {
      detail: bounds,
      hint: 'Give the interval of the partitions that are there; "dbops init" proposes it.',
    },
  );
}

/** The interval that the last partition has, if it is one of ours and shorter than the one configured. */
function widthName(
  codec: KeyCodec,
  last: FinitePartition,
  set: PartitionSet,
): { fits: boolean; name: string } {
  if (!codec.isTime) return { fits: true, name: String(last.range.to - last.range.from) };
  for (const unit of ['hour', 'day', 'week', 'month', 'quarter', 'year'] as const) {
    if (unit === set.settings.interval) continue;
    for (const anchor of [undefined, last.range.to]) {
      if (periodsIn(gridOf(unit, codec, set.zone, anchor), last.range) === 1n)
        return { fits: true, name: unit };
    }
  }
  return { fits: false, name: '' };
}

function timezoneContradicts(set: PartitionSet, branch: Branch, upper: Point): DbopsError {
  const last = finitePartitions(branch).at(-1);
  if (last !== undefined) {
    const width = widthName(set.codec, last, set);
    if (width.fits) return contradiction(set, last, gridOf(set.settings.interval, set.codec, set.zone));
    const zone = zoneThatFits(set, last);
    if (zone !== undefined) return timezoneError(set, last, zone);
  }
  return new DbopsError(
    'interval_contradicts',
    `${set.label}: an interval of ${String(set.settings.interval)} does not divide the bounds that are there`,
    {
      detail: `the last bound is ${set.codec.format(upper)}`,
      hint: 'Give the interval and the time zone of the partitions that are there; "dbops init" proposes them.',
    },
  );
}

function timezoneError(set: PartitionSet, last: FinitePartition, zone: string): DbopsError {
  return new DbopsError(
    'timezone_contradicts',
    `${set.label}: the bounds of ${visible(last.name)} do not lie on the ${String(set.settings.interval)} grid of time zone ${set.zone.name}`,
    {
      detail: `it reaches from ${set.codec.format(last.range.from)} to ${set.codec.format(last.range.to)}; the next partition would overlap it or leave a gap`,
      hint: `They lie on the grid of ${zone}: write "timezone: ${zone}", or the zone that you mean, in its entry.`,
    },
  );
}

/** Zones that are tried for the hint: one for each offset that people live in. */
export const commonZones = [
  'UTC',
  'Asia/Seoul',
  'Asia/Shanghai',
  'Asia/Kolkata',
  'Europe/London',
  'Europe/Berlin',
  'Europe/Helsinki',
  'America/New_York',
  'America/Chicago',
  'America/Denver',
  'America/Los_Angeles',
  'America/Sao_Paulo',
  'Asia/Dubai',
  'Asia/Bangkok',
  'Australia/Sydney',
  'Pacific/Auckland',
];

function zoneThatFits(set: PartitionSet, last: FinitePartition): string | undefined {
  if (!set.codec.isInstant) return undefined;
  return commonZones.find((name) => {
    const width = periodsIn(gridOf(set.settings.interval, set.codec, zoneOf(name)), last.range);
    return width !== undefined && width >= 1n;
  });
}

function boundNotUnderstood(set: PartitionSet, partition: Partition): DbopsError {
  return new DbopsError(
    'key_contradicts',
    `${set.label}: the bound of ${visible(partition.name)} is none that a key of kind ${set.codec.kind} has`,
    {
      detail: partition.boundText,
      hint: 'Check key, interval and epoch in the entry; "dbops init" proposes them from the bounds.',
    },
  );
}
