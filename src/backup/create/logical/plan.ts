import { statfs } from 'node:fs/promises';
import { nearest } from '../../../config/nearest.ts';
import { splitTable } from '../../../config/settings.ts';
import { DbopsError } from '../../../errors.ts';
import { humanBytes } from '../../../output/human.ts';
import type { Db } from '../../../pg/connection.ts';
import { isRetryable } from '../../../pg/sqlstate.ts';
import { pickClientTools, type Tool } from '../../../process/tools.ts';
import {
  listBorrowedSequences,
  listDumpTables,
  listTableSizes,
  listTrees,
  type DumpTableRow,
} from '../../../sql/backup-tables.ts';
import { displayName, type RelationName } from '../../../sql/quote.ts';
import type { BackupContext } from '../../context.ts';
import type { BackupPlan, BackupWish } from '../maker.ts';
import { describeSteps } from './commands.ts';
import { findMatching, parseTablePattern, type TablePattern } from './patterns.ts';

const programs = ['pg_dump', 'pg_dumpall', 'pg_restore', 'zstd'] as const;
export type DumpTools = Record<(typeof programs)[number], Tool>;

/** What is dumped, and with what. */
export interface LogicalPlan extends BackupPlan {
  tools: DumpTools;
  format: 'directory' | 'custom' | 'plain';
  /** Parallel sessions of pg_dump. */
  jobs: number;
  /** The tables that were asked for; null: the whole database. */
  selected: RelationName[] | null;
  excluded: TablePattern[];
  /** By oid. */
  sizes: Map<number, number>;
  withGlobals: boolean;
}

/** What a dump covers, as one snapshot has it. */
export interface Selection {
  tables: DumpTableRow[];
  /** Oids of tables whose rows are left out. */
  withoutData: Set<number>;
  /** What pg_dump is told to take; empty: everything. */
  names: RelationName[];
}

/**
 * Says what a logical backup takes. Throws usage, table_not_found, tool_failed, or refused where the database is empty or
 * the work directory has no space.
 */
export async function planLogical(context: BackupContext, wish: BackupWish): Promise<LogicalPlan> {
  const { db, settings } = context;
  checkWish(wish);
  const tools = pickClientTools(
    await context.findTools([...programs]),
    Math.floor(db.server.versionNum / 10_000),
    [...programs],
  );
  const isPartial = wish.kind === 'table' || wish.kind === 'partition';
  const excluded = wish.excludeData.map(parseTablePattern);
  const selected = isPartial ? await findWished(db, wish) : null;
  const { tables, withoutData, names } = await select(db, selected, excluded);
  if (!tables.some((table) => table.schema !== settings.stateSchema)) {
    throw new DbopsError('refused', `database "${db.server.database}" has no table`, {
      hint: 'A backup of it would be empty. Is it the right database? Look at --url, DATABASE_URL or PGDATABASE.',
    });
  }
  const sizes = await sizesOf(db, tables);
  const dumped = tables
    .filter((table) => !withoutData.has(table.oid))
    .map((table) => sizes.get(table.oid) ?? 0);
  const { jobs } = context;
  const plan = {
    database: db.server.database,
    sourceBytes: wish.kind === 'schema' ? 0 : dumped.reduce((sum, bytes) => sum + bytes, 0),
    tools,
    // One session writes no file that is known to be whole before the end; then it may as well need no directory.
    format: wish.kind === 'schema' ? 'plain' : wish.stream || jobs === 1 ? 'custom' : 'directory',
    jobs,
    selected,
    excluded,
    sizes,
    withGlobals: !isPartial,
  } as const;
  if (plan.format === 'directory') await checkSpace(context, dumped, jobs);
  return { ...plan, steps: describeSteps(context, plan, names) };
}

function checkWish(wish: BackupWish): void {
  const isPartial = wish.kind === 'table' || wish.kind === 'partition';
  if (isPartial && wish.tables.length === 0) {
    throw new DbopsError('usage', `--kind ${wish.kind} needs --table`, {
      hint: 'Name it as schema.table; --table can be given several times.',
    });
  }
  if (!isPartial && wish.tables.length > 0) {
    throw new DbopsError('usage', `--table does not go with --kind ${wish.kind}`, {
      hint: 'Give --kind table, or leave --table out.',
    });
  }
  if (wish.kind === 'schema' && wish.excludeData.length > 0) {
    throw new DbopsError('usage', '--exclude-data does not go with --kind schema, which holds no rows');
  }
}

/** Tables with everything below them, in the snapshot of the session. Throws table_not_found for a pattern without a table. */
export async function select(
  db: Db,
  selected: RelationName[] | null,
  excluded: TablePattern[],
): Promise<Selection> {
  const all = await listDumpTables(db);
  const withoutData = await findMatching(db, excluded);
  if (selected === null) return { tables: all, withoutData, names: [] };
  const roots = selected.map((wish) => {
    const found = all.find((table) => table.schema === wish.schema && table.name === wish.name);
    if (found === undefined) throw notFound(wish, all);
    return found.oid;
  });
  const tree = new Set(await listTrees(db, roots));
  const tables = all.filter((table) => tree.has(table.oid));
  const sequences = await listBorrowedSequences(db, [...tree]);
  return { tables, withoutData, names: [...tables, ...sequences] };
}

async function findWished(db: Db, wish: BackupWish): Promise<RelationName[]> {
  const all = await listDumpTables(db);
  return wish.tables.map((text) => {
    const name = splitTable(text);
    const found = all.find((table) => table.schema === name.schema && table.name === name.name);
    if (found === undefined) throw notFound(name, all);
    if (wish.kind === 'partition' && !found.isPartition) {
      throw new DbopsError('usage', `${displayName(name)} is not a partition`, {
        hint: 'Give --kind table: it takes a table with all its partitions, where it has any.',
      });
    }
    return name;
  });
}

function notFound(name: RelationName, all: DumpTableRow[]): DbopsError {
  const guess = nearest(displayName(name), all.map(displayName));
  return new DbopsError('table_not_found', `table ${displayName(name)} does not exist`, {
    hint:
      guess === undefined
        ? 'Names are taken as they stand in the catalog, capitals too; without a schema it is public.'
        : `Is ${guess} meant?`,
  });
}

/** Where somebody holds a table, what its last VACUUM saw has to do: nothing waits for a figure. */
async function sizesOf(db: Db, tables: DumpTableRow[]): Promise<Map<number, number>> {
  const estimated = new Map(tables.map((table) => [table.oid, table.estimatedBytes]));
  const oids = tables.filter((table) => table.kind === 'r').map((table) => table.oid);
  try {
    for (const row of await listTableSizes(db, oids)) estimated.set(row.oid, row.sizeBytes ?? 0);
  } catch (error) {
    if (!isRetryable(error)) throw error;
  }
  return estimated;
}

/** So many tables at once are being written by pg_dump or compressed behind it, each session one of both. */
async function checkSpace(context: BackupContext, sizes: number[], jobs: number): Promise<void> {
  const largest = sizes.toSorted((a, b) => b - a).slice(0, 2 * jobs);
  const neededBytes = largest.reduce((sum, bytes) => sum + bytes, 0);
  const { bavail, bsize } = await statfs(context.workDirectory);
  if (bavail * bsize >= neededBytes) return;
  throw new DbopsError(
    'refused',
    `${context.workDirectory} has ${humanBytes(bavail * bsize)} free, and the dump may need ${humanBytes(neededBytes)} there`,
    {
      hint: 'Set "backup.workDirectory" to a place with more space, or give --stream, which needs none and is slower.',
    },
  );
}
