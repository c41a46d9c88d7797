import type { Duration } from '../../config/duration.ts';
import { intervalUnits, type IntervalUnit } from '../../config/schema.ts';
import type { PartitionSettings } from '../../config/settings.ts';
import { DbopsError } from '../../errors.ts';
import type { PartitionedTableRow, PartitionRow } from '../../sql/partitions.ts';
import { commonZones, gridOfBranch } from '../model/diagnose.ts';
import { periodsIn } from '../model/grid.ts';
import { buildSet } from '../model/load-sets.ts';
import { inferNaming } from '../model/naming.ts';
import { finitePartitions, type PartitionSet } from '../model/set.ts';
import { zoneOf } from '../model/zone.ts';

/** The rows of the whole database, read once. */
export interface CatalogRows {
  tables: PartitionedTableRow[];
  byParent: Map<number, PartitionRow[]>;
  /** The server's TimeZone: tried right after UTC. */
  serverZone: string;
}

/** What can be read from the bounds of a set. */
export interface Inferred {
  settings: PartitionSettings;
  set: PartitionSet;
  /** False when the bounds lie beside the calendar of any zone, and the grid follows them. */
  isNominal: boolean;
}

interface Candidate {
  interval: IntervalUnit | number;
  epoch?: 'seconds' | 'milliseconds' | undefined;
  timezone: string;
}

/**
 * Key, interval, epoch and time zone of a set, read from its bounds: the candidate that explains most partitions, and
 * that `partition ensure` can continue. `hint` is tried where the bounds say nothing (pg_partman's interval). Pure.
 * Throws the reason when the set cannot be managed; undefined when it can be, but has no partition to read from.
 */
export function inferSettings(
  root: PartitionedTableRow,
  rows: CatalogRows,
  hint: IntervalUnit | number | undefined,
): Inferred | undefined {
  const key = keyOf(root, rows);
  const build = (candidate: Candidate) => tryCandidate(root, key, candidate, rows);
  let best: { found: Inferred; score: number } | undefined;
  let isPossible = false;
  let reason: DbopsError | undefined;
  for (const candidate of candidates(root, key, rows)) {
    const outcome = build(candidate);
    if ('reason' in outcome) {
      reason ??= outcome.reason;
      continue;
    }
    isPossible ||= outcome.seen === 0;
    // A grid that the calendar knows beats a shifted one that explains as much.
    const score = outcome.explained * 2 + (outcome.isNominal ? 1 : 0);
    if (outcome.explained > 0 && (best === undefined || score > best.score)) best = { found: outcome, score };
    if (outcome.explained > 0 && outcome.isNominal && outcome.explained === outcome.seen) break;
  }
  if (best !== undefined) return best.found;
  if (hint !== undefined) {
    const outcome = build({ interval: hint, timezone: 'UTC' });
    if (!('reason' in outcome)) return outcome;
  }
  if (reason === undefined || isPossible) return undefined;
  throw ['interval_contradicts', 'timezone_contradicts'].includes(reason.code)
    ? noIntervalFits(reason.detail)
    : reason;
}

function noIntervalFits(detail: string | undefined): DbopsError {
  return new DbopsError('interval_contradicts', 'its bounds fit none of the intervals that dbops knows', {
    detail,
  });
}

/** The column of the first range in the tree; the reason when there is none. */
function keyOf(root: PartitionedTableRow, rows: CatalogRows): string {
  const members = rows.tables.filter((table) => table.rootOid === root.oid);
  const range = [root, ...members].find((table) => table.strategy === 'r');
  if (range === undefined) {
    throw new DbopsError(
      'unsupported_partitioning',
      `partitioned by ${root.strategy === 'l' ? 'list' : 'hash'}, with no range below it`,
    );
  }
  if (range.keyColumns > 1) {
    throw new DbopsError('unsupported_partitioning', 'partitioned by range over several columns');
  }
  if (range.key === null) {
    throw new DbopsError('unsupported_partitioning', 'partitioned by range over an expression');
  }
  return range.key;
}

function candidates(root: PartitionedTableRow, key: string, rows: CatalogRows): Candidate[] {
  const members = rows.tables.filter((table) => table.rootOid === root.oid && table.key === key);
  const type = members[0]?.keyType ?? '';
  const zones = [...new Set(['UTC', ...usableZone(rows.serverZone), ...commonZones])];
  const calendar = (epoch?: 'seconds' | 'milliseconds', names = zones) =>
    names.flatMap((timezone) =>
      [...intervalUnits].reverse().map((interval): Candidate => ({ interval, epoch, timezone })),
    );
  if (['date', 'timestamp'].includes(type)) {
    return calendar(undefined, ['UTC']).filter((item) => type !== 'date' || item.interval !== 'hour');
  }
  if (!['int8', 'int4', 'int2', 'numeric'].includes(type)) return calendar();
  const { widths, values } = numbers(members.flatMap((table) => rows.byParent.get(table.oid) ?? []));
  const ids = widths.map((interval): Candidate => ({ interval, timezone: 'UTC' }));
  return [...epochs(values).flatMap((epoch) => calendar(epoch)), ...ids];
}

/** Bounds that are all between 2000 and 2100 when read as a time since 1970. */
function epochs(values: number[]): ('seconds' | 'milliseconds')[] {
  const [from, to] = [946_684_800, 4_102_444_800];
  const within = (factor: number) =>
    values.length > 0 && values.every((value) => value >= from * factor && value <= to * factor);
  if (within(1)) return ['seconds'];
  return within(1000) ? ['milliseconds'] : [];
}

function numbers(partitions: PartitionRow[]): { widths: number[]; values: number[] } {
  const ranges = partitions.flatMap(({ bound }) => {
    const match = /^FOR VALUES FROM \('?(-?\d+)'?\) TO \('?(-?\d+)'?\)$/.exec(bound);
    return match === null ? [] : [{ from: Number(match[1]), to: Number(match[2]) }];
  });
  const widths = ranges.map((range) => range.to - range.from).filter((width) => Number.isSafeInteger(width));
  return { widths: [...new Set(widths)], values: ranges.flatMap((range) => [range.from, range.to]) };
}

function usableZone(name: string): string[] {
  try {
    return [zoneOf(name).name];
  } catch {
    return [];
  }
}

/** Enough partitions to tell the grid by: older ones are history. */
const evidence = 50;

type Outcome = (Inferred & { explained: number; seen: number }) | { reason: DbopsError };

/** How many partitions are one period of this candidate; 0 when the newest of a branch is not. */
function tryCandidate(
  root: PartitionedTableRow,
  key: string,
  candidate: Candidate,
  rows: CatalogRows,
): Outcome {
  const settings = settingsFor(root, key, candidate);
  try {
    const set = buildSet(settings, root.oid, rows.tables, rows.byParent);
    let [explained, seen, isNominal] = [0, 0, true];
    for (const branch of set.branches) {
      const grid = gridOfBranch(set, branch);
      isNominal &&= grid.isNominal;
      const finite = finitePartitions(branch).slice(-evidence);
      const single = finite.filter((item) => periodsIn(grid, item.range) === 1n);
      const newest = finite.at(-1);
      if (newest !== undefined && single.at(-1) !== newest) {
        return { reason: noIntervalFits(`${newest.name} has ${newest.boundText}`) };
      }
      explained += single.length;
      seen += finite.length;
    }
    return { settings, set, isNominal, explained, seen };
  } catch (reason) {
    if (reason instanceof DbopsError) return { reason };
    throw reason;
  }
}

const noDuration: Duration = { months: 0, seconds: 0 };

function settingsFor(root: PartitionedTableRow, key: string, candidate: Candidate): PartitionSettings {
  const { schema, name } = root;
  return {
    table: `${schema}.${name}`,
    schema,
    name,
    key,
    ...candidate,
    premake: 6,
    archive: { mask: {}, settle: noDuration, verify: 'bytes', parquet: false, copies: [], required: 0 },
    quarantine: noDuration,
    storageParameters: {},
  };
}

/** The template behind the names that are there, the newest first; undefined when none explains them. */
export function inferTemplate(set: PartitionSet): string | undefined {
  const { interval } = set.settings;
  for (const count of [24, 3, 1]) {
    const templates = set.branches.map((branch) => {
      const samples = finitePartitions(branch)
        .slice(-count)
        .map((item) => ({ name: item.name, from: item.range.from }));
      return samples.length === 0 ? null : inferNaming(branch, set.codec, set.zone, interval, samples);
    });
    const known = [...new Set(templates.filter((item) => item !== null))];
    if (known.length === 1 && known[0] !== undefined) return known[0];
  }
  return undefined;
}
