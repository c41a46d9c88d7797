import { DbopsError } from '../../errors.ts';
import { fingerprintSql, readFingerprint } from '../../sql/convert-dependents.ts';
import {
  listConvertIndexes,
  type ConvertColumnRow,
  type ConvertConstraintRow,
  type ConvertIndexRow,
} from '../../sql/convert.ts';
import { listIdPositions } from '../../sql/partitions.ts';
import { displayName, literal, visible, type RelationName } from '../../sql/quote.ts';
import { listRelationsNamed } from '../../sql/relations.ts';
import type { NewPartition } from '../create/child.ts';
import type { Db } from '../../pg/connection.ts';
import type { PlanContext } from '../context.ts';
import { gridOf, isOnGrid, type Grid } from '../model/grid.ts';
import { codecOf, pointLiteral, uuidv7, type KeyCodec, type Point } from '../model/key.ts';
import { nowPoint } from '../model/load-sets.ts';
import { defaultNaming, namingProblem, partitionName } from '../model/naming.ts';
import { utc, zoneOf, type Zone } from '../model/zone.ts';
import { defaultCutover, parseCutover } from './cutover.ts';
import type { TableFacts } from './inspect.ts';
import { cutoverConstraint, parseBegun, type BegunMark } from './marker.ts';
import { defaultLegacyName, legacyObjectName, stageNames } from './names.ts';
import { collisions, namesNeeded, rowsInTheWay } from './precheck.ts';
import type { ConvertWish, Obstacle } from './wish.ts';

/** The primary key that the parent will have. */
export interface PrimaryKeyPlan {
  index: ConvertIndexRow;
  constraint: ConvertConstraintRow;
  /** The key is not part of it yet: a new unique index takes over. */
  isExchanged: boolean;
  columns: string[];
  included: string[];
}

/** A table with everything decided about its conversion. */
export interface ConvertTarget {
  wish: ConvertWish;
  facts: TableFacts;
  label: string;
  codec: KeyCodec;
  zone: Zone;
  grid: Grid;
  keyColumn: ConvertColumnRow;
  cutover: Point;
  cutoverLiteral: string;
  legacy: RelationName;
  primaryKey: PrimaryKeyPlan | undefined;
  /** Name of the unique index that becomes the legacy partition's primary key. */
  newIndex: string;
  newIndexState: 'missing' | 'ready' | 'invalid';
  names: ReturnType<typeof stageNames>;
  /** Legacy's names of the indexes that keep being used. */
  renamedIndexes: { before: string; now: string }[];
  renamedStatistics: { schema: string; before: string; now: string }[];
  partitions: NewPartition[];
  begun: BegunMark | undefined;
  isChecked: boolean;
  fingerprint: { expression: string; value: string };
  lockTimeoutMs: number;
  deadlockTimeoutMs: number;
  versionNum: number;
}

export interface PlanOptions {
  /** Look for rows that no partition would take: reads the table where the key has no index. */
  readsRows: boolean;
}

export interface ResolvedTarget {
  target: ConvertTarget | undefined;
  obstacles: Obstacle[];
}

/**
 * Decides key, grid, cutover, names and partitions. What the table itself prevents comes back as obstacles; what was
 * typed wrongly (zone, naming, cutover) throws usage or config_invalid.
 */
export async function resolveTarget(
  context: PlanContext,
  wish: ConvertWish,
  facts: TableFacts,
  options: PlanOptions & { fingerprint: ConvertTarget['fingerprint'] },
): Promise<ResolvedTarget> {
  const { db, settings } = context;
  const label = displayName(facts.table);
  const keyColumn = facts.columns.find((column) => column.name === wish.key);
  if (keyColumn === undefined) {
    throw new DbopsError('key_contradicts', `${label} has no column "${visible(wish.key)}"`, {
      hint: `Its columns are ${facts.columns.map((column) => visible(column.name)).join(', ')}.`,
    });
  }
  const codec = codecFor(wish, keyColumn, label);
  const zone = codec.isTime ? zoneOf(wish.timezone) : utc;
  const grid = gridOf(wish.interval, codec, zone);
  checkNaming(wish);
  const current = await currentPoint(context, facts, wish, codec, zone);
  const begunRow = facts.constraints.find((item) => item.name === cutoverConstraint);
  const begun = parseBegun(begunRow?.comment ?? null);
  if (current === undefined) return { target: undefined, obstacles: [noPosition(keyColumn)] };
  const decided = decideCutover(wish, begun, { grid, codec, zone, current });
  const legacy = {
    schema: facts.table.schema,
    name: wish.legacyName ?? defaultLegacyName(facts.table.name),
  };
  const newIndex = newIndexName(wish, facts.table.name, facts.indexes);
  const existing = facts.indexes.find((item) => item.name === newIndex);
  const primaryKey = planPrimaryKey(facts, wish.key);
  const target: ConvertTarget = {
    wish,
    facts,
    label,
    codec,
    zone,
    grid,
    keyColumn,
    cutover: decided.point,
    cutoverLiteral: pointLiteral(codec, decided.point),
    legacy,
    primaryKey,
    newIndex,
    newIndexState: existing === undefined ? 'missing' : existing.isValid ? 'ready' : 'invalid',
    names: stageNames(facts.table.schema, facts.table.name),
    renamedIndexes: facts.indexes
      .filter((item) => item.name !== newIndex && !(primaryKey?.isExchanged === true && item.isPrimary))
      .map((item) => ({
        before: item.name,
        now: legacyObjectName(item.name, facts.table.name, legacy.name),
      })),
    renamedStatistics: facts.statistics.map((item) => ({
      schema: item.schema,
      before: item.name,
      now: legacyObjectName(item.name, facts.table.name, legacy.name),
    })),
    partitions: planPartitions(wish, facts, { grid, codec, zone, current, cutover: decided.point }),
    begun,
    isChecked: begunRow?.isValidated === true,
    fingerprint: options.fingerprint,
    lockTimeoutMs: settings.lockTimeoutMs,
    deadlockTimeoutMs: db.server.deadlockTimeoutMs,
    versionNum: db.server.versionNum,
  };
  return {
    target,
    obstacles: [
      ...decided.obstacles,
      ...otherIndex(begun, newIndex),
      ...collisions(target, await listRelationsNamed(db, namesNeeded(target))),
      ...(options.readsRows ? await rowsInTheWay(db, target) : []),
    ],
  };
}

/**
 * The fingerprint that the swap compares. To be read before the facts: what changes while they are read then fails the
 * guard instead of being lost.
 */
export async function tableFingerprint(
  db: Db,
  wish: ConvertWish,
  table: { oid: number; name: string },
): Promise<ConvertTarget['fingerprint']> {
  const newIndex = newIndexName(wish, table.name, await listConvertIndexes(db, table.oid));
  const expression = fingerprintSql(table.oid, literal(newIndex), literal(cutoverConstraint));
  return { expression, value: await readFingerprint(db, expression) };
}

function newIndexName(wish: ConvertWish, table: string, indexes: ConvertIndexRow[]): string {
  const primary = indexes.find((item) => item.isPrimary)?.name ?? `${table}_pkey`;
  return legacyObjectName(primary, table, wish.legacyName ?? defaultLegacyName(table));
}

function codecFor(wish: ConvertWish, column: ConvertColumnRow, label: string): KeyCodec {
  const codec = codecOf(column.typeName, wish.interval, wish.epoch, label);
  return codec.kind === 'uuidv7' ? uuidv7(false) : codec;
}

function checkNaming(wish: ConvertWish): void {
  const template = wish.naming ?? defaultNaming(wish.interval);
  const problem = namingProblem(template, wish.interval);
  if (problem === undefined) return;
  throw new DbopsError('usage', `--naming "${visible(template)}": ${problem}`, {
    hint: `The default for this interval is "${defaultNaming(wish.interval)}".`,
  });
}

async function currentPoint(
  context: PlanContext,
  facts: TableFacts,
  wish: ConvertWish,
  codec: KeyCodec,
  zone: Zone,
): Promise<Point | undefined> {
  if (codec.kind !== 'id') return nowPoint({ codec, zone }, context.now);
  const column = facts.columns.find((item) => item.name === wish.key);
  const [row] = await listIdPositions(context.db, [{ oid: facts.table.oid, key: wish.key }]);
  return row?.position ?? (column === undefined || column.sequence === null ? undefined : 0n);
}

function noPosition(column: ConvertColumnRow): Obstacle {
  return {
    object: `column ${visible(column.name)}`,
    problem: 'how far its ids have come cannot be told',
    remedy:
      'Its key needs a sequence (identity, serial or a default with nextval) that this role may read: GRANT SELECT ON SEQUENCE.',
  };
}

interface Axis {
  grid: Grid;
  codec: KeyCodec;
  zone: Zone;
  current: Point;
}

/** A convert that was begun keeps its cutover; another one that is asked for stands in its way. */
function decideCutover(
  wish: ConvertWish,
  begun: BegunMark | undefined,
  axis: Axis,
): { point: Point; obstacles: Obstacle[] } {
  const { grid, codec, zone, current } = axis;
  const begunPoint = begun === undefined ? undefined : codec.parse(begun.cutover);
  if (begun !== undefined && (begun.key !== wish.key || begunPoint === undefined)) {
    return {
      point: begunPoint ?? defaultCutover(grid, codec, current),
      obstacles: [
        {
          object: `constraint ${cutoverConstraint}`,
          problem: `a convert by "${visible(begun.key)}" with cutover ${visible(begun.cutover)} was begun and not finished`,
          remedy: 'Convert by that key, or take it away first with --undo.',
        },
      ],
    };
  }
  if (begunPoint !== undefined && begun !== undefined) {
    if (!isOnGrid(grid, begunPoint)) {
      return {
        point: begunPoint,
        obstacles: [
          {
            object: `constraint ${cutoverConstraint}`,
            problem: `a convert with cutover ${visible(begun.cutover)} was begun, where no period of this --interval and --timezone begins`,
            remedy:
              'Give the --interval and --timezone that it was begun with, or take it away first with --undo.',
          },
        ],
      };
    }
    const asked =
      wish.cutover === undefined
        ? undefined
        : parseCutover(wish.cutover, grid, codec, zone, begunPoint < current ? begunPoint - 1n : current);
    if (asked === undefined || asked === begunPoint) return { point: begunPoint, obstacles: [] };
    return {
      point: begunPoint,
      obstacles: [
        {
          object: `constraint ${cutoverConstraint}`,
          problem: `a convert with cutover ${visible(begun.cutover)} was begun and not finished`,
          remedy: 'Leave --cutover out to finish it, or take it away first with --undo.',
        },
      ],
    };
  }
  const point =
    wish.cutover === undefined
      ? defaultCutover(grid, codec, current)
      : parseCutover(wish.cutover, grid, codec, zone, current);
  return { point, obstacles: [] };
}

/** Another --legacy-name gives the index another name: the one that was built would be left over. */
function otherIndex(begun: BegunMark | undefined, newIndex: string): Obstacle[] {
  if (begun === undefined || begun.index === null || begun.index === newIndex) return [];
  return [
    {
      object: `index ${visible(begun.index)}`,
      problem: 'was built by a convert that was begun with another --legacy-name',
      remedy: 'Give the --legacy-name that it was begun with, or take it away first with --undo.',
    },
  ];
}

function planPrimaryKey(facts: TableFacts, key: string): PrimaryKeyPlan | undefined {
  const index = facts.indexes.find((item) => item.isPrimary);
  const constraint = facts.constraints.find((item) => item.type === 'p');
  if (index === undefined || constraint === undefined) return undefined;
  const isExchanged = !index.columns.includes(key);
  return {
    index,
    constraint,
    isExchanged,
    columns: isExchanged ? [...index.columns, key] : index.columns,
    included: index.includedColumns.filter((column) => column !== key),
  };
}

/** From the cutover to the current period plus premake, as ensure counts; never none. */
function planPartitions(
  wish: ConvertWish,
  facts: TableFacts,
  axis: Axis & { cutover: Point },
): NewPartition[] {
  const { grid, codec, zone, current, cutover } = axis;
  const first = grid.index(cutover);
  const wanted = grid.index(current) + BigInt(wish.premake);
  const last = wanted > first ? wanted : first;
  const template = wish.naming ?? defaultNaming(wish.interval);
  const partitions: NewPartition[] = [];
  for (let index = first; index <= last; index += 1n) {
    const from = grid.start(index);
    const name = partitionName(template, facts.table, codec, zone, from);
    partitions.push({ table: { schema: facts.table.schema, name }, from, to: grid.start(index + 1n) });
  }
  return partitions;
}
