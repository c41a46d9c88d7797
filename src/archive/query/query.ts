import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { humanBytes, humanCount } from '../../output/human.ts';
import type { Log } from '../../output/log.ts';
import { displayName } from '../../sql/quote.ts';
import type { Store } from '../../storage/store.ts';
import { duckLiteral, EngineError, openEngine, type Engine, type ResultColumn } from '../parquet/duckdb.ts';
import type { Cell } from '../parquet/values.ts';
import { openCache } from './cache.ts';
import { settleCoverage, type CoveredArchive } from './coverage.ts';
import { chooseDatabase, findTables, type DatabaseChoice, type StoredArchive } from './find.ts';
import { openSource, type Source, type SourceKind } from './sources.ts';
import { parseQuery, queryError } from './statement.ts';
import { columnsOf, createFileView, neededArchives, type TableView } from './views.ts';

export interface QueryContext {
  /** Where archives are looked for; an archive that is in several is read from the first. */
  stores: Store[];
  choice: DatabaseChoice;
  /** Where the cache lies. */
  workDirectory: string;
  cacheLimitBytes: number;
  /** Path of the zstd program. */
  zstd: () => Promise<string>;
  log: Log;
  signal: AbortSignal;
}

/** What became of an archive that was found. */
export interface ArchiveUse {
  id: string;
  partition: string;
  use: SourceKind | 'skipped by its bounds' | 'superseded';
  sizeBytes: number;
}

export interface QueryRun {
  columns: ResultColumn[];
  /** Rows as they are found; to be read once, before the query ends. */
  bundles: AsyncIterable<Cell[][]>;
  archives: ArchiveUse[];
}

/** Megabytes for a query; more is spilled to the work directory. */
const memoryMb = 1024;

/**
 * Runs a query over archives and hands its rows to `use`. Which archives are read is settled from their bounds and said
 * in the log. Throws usage or refused (what is no query of archives), archive_not_found, copy_damaged, or what stores
 * and programs throw.
 */
export async function queryArchives<T>(
  context: QueryContext,
  typed: string,
  use: (run: QueryRun) => Promise<T>,
): Promise<T> {
  const { signal } = context;
  const cache = await openCache(context.workDirectory, context.cacheLimitBytes);
  const spill = join(cache.directory, `.spill-${String(Date.now())}-${String(performance.now())}`);
  const planner = await openEngine({ isSealed: true, signal });
  const reader = await openEngine({ memoryMb, temporaryDirectory: spill, signal });
  try {
    const plan = await planQuery(context, planner, typed);
    const sources = new Map<CoveredArchive, Source>();
    for (const archive of plan.needed) {
      const source = await openSource({ cache, zstd: context.zstd, signal }, archive);
      sources.set(archive, source);
    }
    const archives = describeUses(plan, sources);
    logUses(context.log, archives);
    await prepareReader(reader, planner, plan.views, sources);
    return await use({ ...(await streamed(reader, plan.sql)), archives });
  } finally {
    planner.close();
    reader.close();
    await rm(spill, { recursive: true, force: true });
    await cache.evict();
  }
}

interface QueryPlan {
  sql: string;
  views: TableView[];
  needed: Set<CoveredArchive>;
  superseded: StoredArchive[];
}

async function planQuery(context: QueryContext, planner: Engine, typed: string): Promise<QueryPlan> {
  const { stores, signal } = context;
  const parsed = await parseQuery(planner, typed);
  const plan: QueryPlan = { sql: parsed.sql, views: [], needed: new Set(), superseded: [] };
  if (parsed.tables.length > 0) {
    const place = await chooseDatabase(stores, context.choice);
    const tables = await findTables(stores, place, parsed.tables, parsed.ownNames, signal);
    for (const [reference, archives] of tables) {
      const { current, superseded } = await settleCoverage(planner, archives);
      plan.views.push({ reference, archives: current });
      plan.superseded.push(...superseded.map((item) => item.archive));
      for (const { archive, by } of superseded) warnOfLoss(context.log, archive, by, current);
    }
  }
  plan.needed = await asked(() => neededArchives(planner, plan.views, parsed.sql));
  return plan;
}

/** A newer archive of the same period with fewer rows did not take in what the older one holds: that must not be silent. */
function warnOfLoss(log: Log, archive: StoredArchive, by: string, current: StoredArchive[]): void {
  const newer = current.find((item) => item.manifest.id === by)?.manifest;
  const { id, partition, rows } = archive.manifest;
  if (newer === undefined || newer.rows >= rows) return;
  log.warn(
    { event: 'archive_left_out', archive: id, by },
    `${displayName(partition)}: archive ${id} (${humanCount(rows)} rows) is left out, since ${by} (${humanCount(newer.rows)} rows) is newer and of the same period; where both hold rows of their own, restore both`,
  );
}

/** From here on the engine reads the files of the views and nothing else, and no setting can be changed. */
async function prepareReader(
  reader: Engine,
  planner: Engine,
  views: TableView[],
  sources: Map<CoveredArchive, Source>,
): Promise<void> {
  const paths = [...sources.values()].flatMap((source) => source.paths);
  await reader.run(`set allowed_paths = [${paths.map(duckLiteral).join(', ')}]`);
  for (const { reference, archives } of views) {
    const columns = await columnsOf(planner, reference);
    const files = archives.flatMap((archive) => {
      const source = sources.get(archive);
      return source === undefined ? [] : [{ archive, paths: source.paths }];
    });
    await createFileView(reader, reference, columns, files);
  }
  await reader.run('set enable_external_access = false');
  await reader.run('set lock_configuration = true');
}

async function streamed(reader: Engine, sql: string): Promise<Omit<QueryRun, 'archives'>> {
  const { columns, bundles } = await asked(() => reader.stream(sql));
  return { columns, bundles: askedEach(bundles) };
}

async function* askedEach(bundles: AsyncIterable<Cell[][]>): AsyncIterable<Cell[][]> {
  try {
    yield* bundles;
  } catch (error) {
    throw error instanceof EngineError ? queryError(error) : error;
  }
}

/** What the engine says here is about what was typed. */
async function asked<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof EngineError ? queryError(error) : error;
  }
}

function describeUses(plan: QueryPlan, sources: Map<CoveredArchive, Source>): ArchiveUse[] {
  // A table that is named twice, alone and with its schema, has one set of archives for each.
  const uses = new Map<string, ArchiveUse>();
  const add = (archive: StoredArchive, use: ArchiveUse['use'], sizeBytes: number) => {
    const { id, partition } = archive.manifest;
    if (uses.get(id)?.sizeBytes) return;
    uses.set(id, { id, partition: displayName(partition), use, sizeBytes });
  };
  for (const archive of plan.superseded) add(archive, 'superseded', 0);
  for (const archive of plan.views.flatMap((view) => view.archives)) {
    const source = sources.get(archive);
    if (source === undefined) add(archive, 'skipped by its bounds', 0);
    else add(archive, source.kind, source.sizeBytes);
  }
  return [...uses.values()].sort((a, b) => (a.partition < b.partition ? -1 : 1));
}

/** So many are named one by one. */
const mostNamed = 20;

function logUses(log: Log, archives: ArchiveUse[]): void {
  const isRead = (item: ArchiveUse) => item.use !== 'superseded' && item.use !== 'skipped by its bounds';
  const read = archives.filter(isRead);
  for (const item of read.slice(0, mostNamed)) {
    log.info(
      { event: 'archive_read', archive: item.id, source: item.use, sizeBytes: item.sizeBytes },
      `reading ${item.partition} (${item.id}), ${item.use}${item.sizeBytes === 0 ? '' : `, ${humanBytes(item.sizeBytes)}`}`,
    );
  }
  const count = (use: ArchiveUse['use']) => archives.filter((item) => item.use === use).length;
  const bytes = read.reduce((sum, item) => sum + item.sizeBytes, 0);
  const fields = {
    read: read.length,
    skipped: count('skipped by its bounds'),
    superseded: count('superseded'),
    bytes,
  };
  const left = `${String(fields.skipped)} skipped by their bounds, ${String(fields.superseded)} replaced by a newer one`;
  log.info(
    { event: 'archives_chosen', ...fields },
    `${String(read.length)} of ${String(archives.length)} archives are read, ${humanBytes(bytes)}; ${left}`,
  );
}
