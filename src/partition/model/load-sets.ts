import type { PartitionSettings } from '../../config/settings.ts';
import { nearest } from '../../config/nearest.ts';
import { DbopsError } from '../../errors.ts';
import type { Db } from '../../pg/connection.ts';
import {
  listConfiguredTables,
  listIdPositions,
  listPartitionedTables,
  listPartitions,
  type PartitionedTableRow,
  type PartitionRow,
} from '../../sql/partitions.ts';
import { displayName, relation } from '../../sql/quote.ts';
import { compareRanges, parseBound, rangeOf, type Range } from './bounds.ts';
import { codecOf, hasVersionBits, uuidv7, type KeyCodec, type Point } from './key.ts';
import type { Branch, Partition, PartitionSet } from './set.ts';
import { utc, zoneOf } from './zone.ts';

/** A configured table that cannot be worked on, with the reason. */
export interface SetProblem {
  settings: PartitionSettings;
  error: DbopsError;
}

export interface LoadedSets {
  sets: PartitionSet[];
  problems: SetProblem[];
}

/**
 * Reads all configured sets in three statements, whatever their number. Problems are collected, not thrown, so that all
 * are told at once. Locks: ACCESS SHARE for an instant.
 */
export async function loadSets(db: Db, settings: PartitionSettings[]): Promise<LoadedSets> {
  const sets: PartitionSet[] = [];
  const problems: SetProblem[] = [];
  if (settings.length === 0) return { sets, problems };
  const tables = await listPartitionedTables(db, settings);
  const partitions =
    tables.length === 0
      ? []
      : await listPartitions(
          db,
          tables.map((table) => table.oid),
        );
  const byParent = groupByParent(partitions);
  const roots = new Map(
    tables.filter((table) => table.parentOid === null).map((table) => [relation(table), table]),
  );
  for (const item of settings) {
    try {
      const root = roots.get(relation(item));
      if (root === undefined) throw await notASet(db, item);
      sets.push(buildSet(item, root.oid, tables, byParent));
    } catch (error) {
      if (!(error instanceof DbopsError) || error.exitCode === 3) throw error;
      problems.push({ settings: item, error });
    }
  }
  return { sets, problems };
}

/** The rows of each parent. */
export function groupByParent(rows: PartitionRow[]): Map<number, PartitionRow[]> {
  const map = new Map<number, PartitionRow[]>();
  for (const row of rows) {
    const list = map.get(row.parentOid);
    if (list === undefined) map.set(row.parentOid, [row]);
    else list.push(row);
  }
  return map;
}

/** Why a configured table is no set: it is not there, or it is something else. */
async function notASet(db: Db, item: PartitionSettings): Promise<DbopsError> {
  const [row] = await listConfiguredTables(db, [item]);
  return row === undefined || row.oid === null
    ? await tableMissing(db, item)
    : notPartitioned(item, row.kind);
}

async function tableMissing(db: Db, item: PartitionSettings): Promise<DbopsError> {
  const all = (await listPartitionedTables(db, null)).map(displayName);
  const label = displayName(item);
  const guess = nearest(label, all);
  return new DbopsError(
    'table_not_found',
    `table ${label} does not exist in database "${db.server.database}"`,
    {
      hint:
        guess === undefined
          ? 'Check the schema, the name and the case of its letters.'
          : `Did you mean ${guess}?`,
    },
  );
}

function notPartitioned(item: PartitionSettings, kind: string | null): DbopsError {
  const label = displayName(item);
  if (kind === 'r') {
    return new DbopsError('not_partitioned', `table ${label} is not partitioned`, {
      hint: `"dbops partition convert ${label} --check" says whether it can be converted without copying it.`,
    });
  }
  return new DbopsError('not_partitioned', `${label} is not a table`, {
    hint: 'Configure partitioned tables only; this relation is a view, a sequence, an index or a foreign table.',
  });
}

/** A configured set from rows that were read already. Pure. Throws what `loadSets` collects as problems. */
export function buildSet(
  settings: PartitionSettings,
  rootOid: number,
  tables: PartitionedTableRow[],
  byParent: Map<number, PartitionRow[]>,
): PartitionSet {
  const label = displayName(settings);
  const members = tables.filter((table) => table.rootOid === rootOid);
  const root = members.find((table) => table.oid === rootOid);
  if (root === undefined) throw new Error(`no row for ${label}`);
  const branchRows = members.filter((table) => table.strategy === 'r' && table.key === settings.key);
  const first = branchRows[0];
  if (first === undefined) throw keyContradicts(settings, root, members);
  const odd = branchRows.find((table) => table.keyColumns > 1);
  if (odd !== undefined) {
    throw new DbopsError(
      'unsupported_partitioning',
      `${displayName(odd)} is partitioned by range over several columns`,
      {
        hint: 'dbops manages ranges over one column; take the table out of the configuration.',
      },
    );
  }
  const nested = branchRows.find((branch) => members.some((table) => table.parentOid === branch.oid));
  if (nested !== undefined) {
    throw new DbopsError(
      'unsupported_partitioning',
      `the periods of ${displayName(nested)} are partitioned once more`,
      {
        hint: 'dbops makes plain tables as partitions: partition by tenant first and by time below it.',
      },
    );
  }
  const codec = codecFor(settings, first, branchRows, byParent, label);
  const zone = codec.isTime ? zoneOf(settings.timezone) : utc;
  const branches = branchRows.map((row) => buildBranch(row, byParent.get(row.oid) ?? [], codec));
  return { settings, label, rootOid, codec, zone, branches };
}

function codecFor(
  settings: PartitionSettings,
  first: PartitionedTableRow,
  branchRows: PartitionedTableRow[],
  byParent: Map<number, PartitionRow[]>,
  label: string,
): KeyCodec {
  const codec = codecOf(first.keyType ?? '', settings.interval, settings.epoch, label);
  if (codec.kind !== 'uuidv7') return codec;
  const values = branchRows
    .flatMap((row) => byParent.get(row.oid) ?? [])
    .flatMap((row) => {
      const bound = parseBound(row.bound);
      const end = bound.kind === 'range' ? bound.to[0] : undefined;
      return end?.kind === 'value' ? [end.text] : [];
    });
  return uuidv7(values.length > 0 && values.every(hasVersionBits));
}

function keyContradicts(
  settings: PartitionSettings,
  root: PartitionedTableRow,
  members: PartitionedTableRow[],
): DbopsError {
  const label = displayName(settings);
  const range = members.find((table) => table.strategy === 'r');
  if (range === undefined) {
    const how = root.strategy === 'l' ? 'list' : 'hash';
    return new DbopsError('unsupported_partitioning', `${label} is partitioned by ${how}, not by range`, {
      hint: `Take it out of the configuration: dbops manages ranges over "${settings.key}".`,
    });
  }
  const actual = range.key === null ? 'an expression' : `"${range.key}"`;
  return new DbopsError(
    'key_contradicts',
    `${label} is partitioned by range over ${actual}, not over "${settings.key}"`,
    {
      hint:
        range.key === null
          ? 'dbops manages ranges over a plain column.'
          : `Write "key: ${range.key}" in its entry.`,
    },
  );
}

function buildBranch(row: PartitionedTableRow, rows: PartitionRow[], codec: KeyCodec): Branch {
  const all = rows.map((item): Partition => {
    const bound = parseBound(item.bound);
    return {
      oid: item.oid,
      schema: item.schema,
      name: item.name,
      kind: item.kind,
      bound,
      boundText: item.bound,
      range: rangeOf(bound, codec),
      isDetachPending: item.isDetachPending,
    };
  });
  return {
    oid: row.oid,
    schema: row.schema,
    name: row.name,
    keyNumber: row.keyNumber,
    keyIsNotNull: row.keyIsNotNull,
    partitions: all
      .filter((item) => item.bound.kind !== 'default' && !item.isDetachPending)
      .sort((a, b) => compareRanges(a.range ?? openRange, b.range ?? openRange)),
    defaultPartition: all.find((item) => item.bound.kind === 'default'),
    pending: all.filter((item) => item.isDetachPending),
  };
}

const openRange: Range = { from: undefined, to: undefined };

/**
 * Where each set stands on its key's axis now: the clock for times, the sequence's position for ids. One statement for
 * all id sets, none when there are none. Undefined for an id set whose position cannot be told.
 */
export async function currentPoints(
  db: Db,
  sets: PartitionSet[],
  now: Date,
): Promise<Map<number, Point | undefined>> {
  const points = new Map<number, Point | undefined>();
  const ids = sets.filter((set) => set.codec.kind === 'id');
  const rows =
    ids.length === 0
      ? []
      : await listIdPositions(
          db,
          ids.map((set) => ({ oid: set.rootOid, key: set.settings.key })),
        );
  for (const set of sets) {
    if (set.codec.kind === 'id') {
      points.set(set.rootOid, rows.find((row) => row.oid === set.rootOid)?.position ?? undefined);
    } else {
      points.set(set.rootOid, nowPoint(set, now));
    }
  }
  return points;
}

/** The clock on a set's axis: an instant, or the wall-clock time of the set's zone for keys that have none. */
export function nowPoint(set: Pick<PartitionSet, 'codec' | 'zone'>, now: Date): Point {
  const ms = now.getTime();
  return BigInt(set.codec.isInstant ? ms : set.zone.toWallMs(ms)) * 1000n;
}
