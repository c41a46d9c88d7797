import { DbopsError } from '../../errors.ts';
import { humanBytes, humanCount } from '../../output/human.ts';
import { Progress } from '../../output/progress.ts';
import { insertArchive, recordArchiveState, recordBaseline, recordVerified } from '../../sql/archives.ts';
import {
  beginSnapshot,
  getServerIdentity,
  getSummary,
  pinnedSettings,
  type CopiedColumn,
  type SnapshotRow,
} from '../../sql/export.ts';
import { displayName } from '../../sql/quote.ts';
import { newId } from '../../storage/id.ts';
import type { Store } from '../../storage/store.ts';
import type { ArchiveContext } from '../context.ts';
import { loadDefinition } from '../definition/load.ts';
import { renderSchemaSql } from '../definition/render-schema.ts';
import { storedBytesOf, writeManifest, type Manifest } from '../manifest.ts';
import { together } from '../../process/parallel.ts';
import { archivePrefix, schemaName } from '../place.ts';
import { copiedColumns, summaryColumns } from './columns.ts';
import { addParquet } from './parquet.ts';
import { exportParts, planParts, type Exported } from './parts.ts';
import { proveByRestore } from './prove-by-restore.ts';
import { digestOfTable } from './table-digest.ts';
import { manifestOf, type ArchiveTarget, type Facts, type Place } from './target.ts';
import { manifestName, putEverywhere, removeRemains, type Copies } from '../../storage/copies.ts';

export interface CreatedArchive {
  id: string;
  /** Its folder in each store. */
  place: string;
  manifest: Manifest;
  /** Names of the stores in which it is proven. */
  stores: string[];
}

/**
 * Copies a partition to its stores, reads it back, and writes the manifest last. Until then the archive does not exist,
 * and what was written of it is removed when anything fails. Throws copy_damaged, tool_failed, store_failed, refused.
 * Locks: ACCESS SHARE on the partition while it is read.
 */
export async function createArchive(context: ArchiveContext, target: ArchiveTarget): Promise<CreatedArchive> {
  const { db, settings } = context;
  const { partition, set, parent } = target;
  const identity = await getServerIdentity(db);
  const id = newId();
  const place = archivePrefix({
    systemIdentifier: identity.systemIdentifier,
    database: db.server.database,
    table: parent,
    partition,
    id,
  });
  const stores = await Promise.all(set.settings.archive.copies.map(context.openStore));
  await insertArchive(db, settings.stateSchema, {
    id,
    table: parent,
    partition,
    oid: partition.oid,
    bounds: partition.boundText,
    upperBound: set.codec.format(partition.range.to),
    place,
    stores: set.settings.archive.copies,
  });
  const lost: Store[] = [];
  const copies: Copies = {
    stores,
    required: set.settings.archive.required,
    onLost: (store, error) => {
      lost.push(store);
      context.log.warn(
        { event: 'archive_copy_failed', store: store.name, archive: id },
        `no copy in store "${store.name}": ${error.message}`,
      );
    },
  };
  let made: CreatedArchive;
  try {
    made = await exportTo(context, target, { id, place, copies, identity });
  } catch (error) {
    const left = await clear(context, [...copies.stores, ...lost], place);
    const message = error instanceof Error ? error.message : String(error);
    // What could not be removed is removed by the next run, as after a kill.
    if (left.length === 0)
      await recordArchiveState(db, settings.stateSchema, id, 'failed', message).catch(() => undefined);
    throw error;
  }
  await clear(context, lost, place);
  // From here on it exists: when the ledger cannot be told, the next run takes it as it is.
  await recordMade(context, target, made);
  return made;
}

async function recordMade(
  context: ArchiveContext,
  target: ArchiveTarget,
  { id, manifest, stores }: CreatedArchive,
): Promise<void> {
  const { rows } = manifest;
  const storedBytes = storedBytesOf(manifest);
  await recordVerified(context.db, context.settings.stateSchema, id, {
    stores,
    rows,
    storedBytes,
    baselineXmin: manifest.snapshot.xmin,
  });
  context.applied.changes += 1;
  context.log.info(
    { event: 'archive_verified', archive: id, table: displayName(target.parent), rows, storedBytes },
    `archived ${displayName(target.partition)} as ${id}: ${humanCount(rows)} rows, ${humanBytes(storedBytes)} in ${stores.join(', ')}, read back`,
  );
}

async function clear(context: ArchiveContext, stores: Store[], place: string): Promise<Store[]> {
  const left = await removeRemains(stores, place);
  for (const { name } of left) {
    context.log.warn(
      { event: 'archive_remains', store: name, place },
      `store "${name}" may hold parts without a manifest in ${place}`,
    );
  }
  return left;
}

async function exportTo(
  context: ArchiveContext,
  target: ArchiveTarget,
  where: Place,
): Promise<CreatedArchive> {
  const started = performance.now();
  const { db, settings, log } = context;
  const label = displayName(target.partition);
  const session = await db.openAnother();
  const progress = new Progress(log, `archiving ${label}`, 'archive_progress');
  let facts: Facts;
  try {
    const snapshot = await beginSnapshot(session, target.partition, target.partition.oid);
    // The count of the rows would otherwise take every core for itself.
    if (context.isGentle) await session.execute('set max_parallel_workers_per_gather = 0');
    // What comes after a kill believes a manifest only if the snapshot was this ledger's own.
    await recordBaseline(db, settings.stateSchema, where.id, snapshot.xmin);
    const definition = await loadDefinition(session, target.partition.oid);
    const columns = copiedColumns(definition, target.set.settings.archive.mask, label);
    const [exported, summary] = await together(
      context.signal,
      (signal) =>
        exportRows({ ...context, signal }, target, where, {
          snapshot,
          columns,
          onBytes: (bytes) => progress.add(bytes),
        }),
      async (signal) => {
        signal.addEventListener('abort', () => void session.close(), { once: true });
        const asked = summaryColumns(definition, columns, target.set.settings.key);
        return await getSummary(session, target.partition, asked);
      },
    );
    if (exported.digest !== null) {
      const found = await digestOfTable(context, target.partition, columns, snapshot.id);
      if (found !== exported.digest) {
        throw new DbopsError('copy_damaged', `the rows of ${label} are not those that were read back`, {
          detail: `their digest is ${found}, that of the parts ${exported.digest}`,
        });
      }
    }
    facts = { snapshot, definition, columns, exported, summary, exportMs: performance.now() - started };
  } finally {
    progress.end();
    await session.close();
  }
  const rows = facts.exported.parts.reduce((sum, part) => sum + part.rows, 0);
  if (BigInt(rows) !== facts.summary.rows) {
    throw new DbopsError(
      'copy_damaged',
      `${label} has ${String(facts.summary.rows)} rows in the snapshot, and ${String(rows)} were copied`,
    );
  }
  return await finish(context, target, where, facts, rows);
}

async function exportRows(
  context: ArchiveContext,
  target: ArchiveTarget,
  where: Place,
  source: { snapshot: SnapshotRow; columns: CopiedColumn[]; onBytes: (bytes: number) => void },
): Promise<Exported> {
  const { archive } = target.set.settings;
  const jobs = context.isGentle ? 1 : context.jobs;
  return await exportParts({
    table: target.partition,
    columns: source.columns,
    snapshot: source.snapshot,
    ranges: planParts(source.snapshot.blocks, source.snapshot.sizeBytes, jobs),
    place: where.place,
    copies: where.copies,
    programs: await context.programs(),
    connection: context.connection,
    compressionLevel: context.settings.archive.compressionLevel,
    jobs,
    isGentle: context.isGentle,
    withDigest: archive.verify !== 'bytes',
    signal: context.signal,
    onBytes: source.onBytes,
  });
}

/** The files that make parts an archive: schema.sql, then the manifest, each read back. */
async function finish(
  context: ArchiveContext,
  target: ArchiveTarget,
  where: Place,
  facts: Facts,
  rows: number,
): Promise<CreatedArchive> {
  const { signal } = context;
  const { id, place, copies } = where;
  const schemaSql = Buffer.from(
    renderSchemaSql(facts.definition, {
      parent: target.parent,
      bounds: target.partition.boundText,
      lcMonetary: pinnedSettings['lc_monetary'] ?? 'C',
      masked: Object.keys(target.set.settings.archive.mask),
    }),
  );
  const stored = await putEverywhere(copies, `${place}${schemaName}`, schemaSql, signal);
  const parts = {
    parts: facts.exported.parts,
    definition: facts.definition,
    copiedColumns: facts.columns.map((column) => column.name),
  };
  const parquet = target.set.settings.archive.parquet
    ? await addParquet(context, { place, copies }, parts)
    : null;
  const manifest = {
    ...manifestOf(context, target, where, facts, rows),
    ...parts,
    schemaSql: { name: schemaName, ...stored },
    parquet,
  };
  if (manifest.proof === 'restore')
    await proveByRestore(context, { id, place, manifest, stores: copies.stores });
  await putEverywhere(copies, `${place}${manifestName}`, Buffer.from(writeManifest(manifest)), signal);
  return { id, place, manifest, stores: copies.stores.map((store) => store.name) };
}
