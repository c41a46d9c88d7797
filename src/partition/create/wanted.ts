import { DbopsError } from '../../errors.ts';
import { visible } from '../../sql/quote.ts';
import type { NewPartition } from './child.ts';
import { isOnGrid, type Grid } from '../model/grid.ts';
import type { Point } from '../model/key.ts';
import { defaultNaming, namingProblem, partitionName } from '../model/naming.ts';
import { retentionCutoff } from '../model/retention.ts';
import {
  finitePartitions,
  isOpenEnded,
  lastUpper,
  type Branch,
  type ClosedRange,
  type Partition,
  type PartitionSet,
} from '../model/set.ts';

/** More than this at once is a mistake in the configuration or the clock, not a wish. */
const maxNewPartitions = 10_000;

/** What a branch lacks, counted from now. */
export interface Wanted {
  set: PartitionSet;
  branch: Branch;
  grid: Grid;
  partitions: NewPartition[];
  /** Ranges between partitions that no partition serves. */
  gaps: ClosedRange[];
  warnings: string[];
}

/**
 * The partitions that a branch should have and has not: the current period and `premake` more, continued from the last
 * real bound, and the gaps before it when they are to be filled. Pure. Periods past retention are not made.
 */
export function wantedPartitions(
  set: PartitionSet,
  branch: Branch,
  grid: Grid,
  current: Point,
  options: { fillGaps: boolean; leafSchema?: string },
): Wanted {
  const label = visible(`${branch.schema}.${branch.name}`);
  const wanted: Wanted = {
    set,
    branch,
    grid,
    partitions: [],
    gaps: findGaps(set, branch, current),
    warnings: [],
  };
  const ranges: ClosedRange[] = [];
  for (const gap of wanted.gaps) {
    const text = `${label}: no partition from ${set.codec.format(gap.from)} to ${set.codec.format(gap.to)}`;
    if (!options.fillGaps) wanted.warnings.push(`${text}; --fill-gaps makes one`);
    else if (!isOnGrid(grid, gap.from) || !isOnGrid(grid, gap.to)) {
      wanted.warnings.push(
        `${text}; it does not lie on the ${String(set.settings.interval)} grid and is left alone`,
      );
    } else ranges.push(...periods(grid, grid.index(gap.from), grid.index(gap.to) - 1n, label));
  }
  const beginning = branch.partitions[0]?.range?.from;
  if (beginning !== undefined && beginning > current) {
    // All partitions lie in the future: rows of today have none.
    if (isOnGrid(grid, beginning)) {
      ranges.push(...periods(grid, grid.index(current), grid.index(beginning) - 1n, label));
    } else {
      wanted.warnings.push(
        `${label}: no partition from ${set.codec.format(current)} to ${set.codec.format(beginning)}; ` +
          `it does not lie on the ${String(set.settings.interval)} grid and is left alone`,
      );
    }
  }
  if (isOpenEnded(branch)) {
    wanted.warnings.push(`${label}: a partition reaches to MAXVALUE, so none can be added behind it`);
  } else {
    ranges.push(...ahead(set, branch, grid, current, label));
  }
  const cutoff = retentionCutoff(set, current);
  const kept = ranges
    .filter((range) => cutoff === undefined || range.to > cutoff)
    .filter((range) => {
      if (branch.defaultPartition === undefined || range.from > current || options.fillGaps) return true;
      wanted.warnings.push(servedByDefault(set, label, branch.defaultPartition, range));
      return false;
    });
  wanted.partitions = nameAll(set, branch, kept, options.leafSchema ?? leafSchema(branch));
  return wanted;
}

/** Taking a range that is written to now away from the default partition refuses its rows for a moment: only on demand. */
function servedByDefault(
  set: PartitionSet,
  label: string,
  defaultPartition: Partition,
  range: ClosedRange,
): string {
  return (
    `${label}: rows from ${set.codec.format(range.from)} go to the default partition ${visible(defaultPartition.name)} now; ` +
    '--fill-gaps makes their partition, and inserts of that range fail for the moment in between'
  );
}

/** From the last bound (or the current period) to the current period plus premake. */
function ahead(set: PartitionSet, branch: Branch, grid: Grid, current: Point, label: string): ClosedRange[] {
  const upper = lastUpper(branch);
  const currentIndex = grid.index(current);
  const first = upper === undefined ? currentIndex : grid.index(upper);
  return periods(grid, first, currentIndex + BigInt(set.settings.premake), label);
}

function periods(grid: Grid, first: bigint, last: bigint, label: string): ClosedRange[] {
  if (last - first >= BigInt(maxNewPartitions)) {
    throw new DbopsError(
      'interval_contradicts',
      `${label}: ${String(last - first + 1n)} partitions would be needed to reach the present`,
      {
        hint: 'Check the interval in its entry and the clock of the server; a shorter retention also leaves old periods out.',
      },
    );
  }
  const ranges: ClosedRange[] = [];
  for (let index = first; index <= last; index += 1n) {
    const [from, to] = [grid.start(index), grid.start(index + 1n)];
    // A day that a zone left out when it crossed the date line (Apia, 2011-12-30) has no length.
    if (from < to) ranges.push({ from, to });
  }
  return ranges;
}

function findGaps(set: PartitionSet, branch: Branch, current: Point): ClosedRange[] {
  const gaps: ClosedRange[] = [];
  const cutoff = retentionCutoff(set, current);
  let reached: Point | undefined;
  for (const { range } of branch.partitions) {
    if (range === undefined) continue;
    if (reached !== undefined && range.from !== undefined && range.from > reached) {
      if (cutoff === undefined || range.from > cutoff) gaps.push({ from: reached, to: range.from });
    }
    if (range.to !== undefined && (reached === undefined || range.to > reached)) reached = range.to;
  }
  return gaps;
}

/** New leaves go where the newest leaf lives. */
export function leafSchema(branch: Branch): string {
  return (finitePartitions(branch).at(-1) ?? branch.partitions.at(-1))?.schema ?? branch.schema;
}

/** Names for new partitions in one schema. Throws config_invalid or name_collision. */
export function nameAll(
  set: PartitionSet,
  branch: Branch,
  ranges: ClosedRange[],
  schema: string,
): NewPartition[] {
  const template = set.settings.naming ?? defaultNaming(set.settings.interval);
  const problem = namingProblem(template, set.settings.interval);
  if (problem !== undefined) {
    throw new DbopsError('config_invalid', `${set.label}: naming "${template}": ${problem}`, {
      hint: `The default for this interval is "${defaultNaming(set.settings.interval)}".`,
    });
  }
  const seen = new Map<string, ClosedRange>();
  return ranges.map((range) => {
    const name = partitionName(template, branch, set.codec, set.zone, range.from);
    const twin = seen.get(name);
    if (twin !== undefined) {
      throw new DbopsError(
        'name_collision',
        `${set.label}: two new partitions would both be called ${visible(name)}`,
        {
          detail: `${set.codec.format(twin.from)} and ${set.codec.format(range.from)}`,
          hint: 'Change "naming" in its entry so that each period gets its own name.',
        },
      );
    }
    seen.set(name, range);
    return { table: { schema, name }, ...range };
  });
}
