import { randomBytes } from 'node:crypto';
import { DbopsError } from '../../errors.ts';
import { humanBytes, humanCount } from '../../output/human.ts';
import { Progress } from '../../output/progress.ts';
import { insertArchive, recordArchiveState, recordVerified } from '../../sql/archives.ts';
import {
  beginSnapshot,
  getServerIdentity,
  getSummary,
  pinnedSettings,
  type CopiedColumn,
  type SnapshotRow,
} from '../../sql/export.ts';
import { displayName } from '../../sql/quote.ts';
import type { Store } from '../../storage/store.ts';
import type { ArchiveContext } from '../context.ts';
import { loadDefinition } from '../definition/load.ts';
import { renderSchemaSql } from '../definition/render-schema.ts';
import { writeManifest, type Manifest } from '../manifest.ts';
import { archivePrefix, manifestName, schemaName } from '../place.ts';
import { copiedColumns, summaryColumns } from './columns.ts';
import { addParquet } from './parquet.ts';
import { exportParts, planParts, type Exported } from './parts.ts';
import { proveByRestore } from './prove-by-restore.ts';
import { hashOf } from './read-back.ts';
import { digestOfTable } from './table-digest.ts';
import { manifestOf, type ArchiveTarget, type Facts, type Place } from './target.ts';

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
 * and what was written of it is removed when anything fails. Throws archive_damaged, tool_failed, store_failed, refused.
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
  await insertArchive(db, settings.stateSchema, {
    id,
    table: parent,
    partition,
    oid: partition.oid,
    bounds: partition.boundText,
    upperBound: set.codec.format(partition.range.to),
    place,
  });
  const stores = await Promise.all(set.settings.archive.copies.map(context.openStore));
  try {
    return await exportTo(context, target, { id, place, stores, identity });
  } catch (error) {
    await removeRemains(stores, place);
    const message = error instanceof Error ? error.message : String(error);
    await recordArchiveState(db, settings.stateSchema, id, 'failed', message).catch(() => undefined);
    throw error;
  }
}

async function exportTo(
  context: ArchiveContext,
  target: ArchiveTarget,
  where: Place,
): Promise<CreatedArchive> {
  const started = performance.now();
  const { log } = context;
  const label = displayName(target.partition);
  const session = await context.db.openAnother();
  const progress = new Progress(log, `archiving ${label}`, 'archive_progress');
  let facts: Facts;
  try {
    const snapshot = await beginSnapshot(session, target.partition, target.partition.oid);
    const definition = await loadDefinition(session, target.partition.oid);
    const columns = copiedColumns(definition, target.set.settings.archive.mask, label);
    const [exported, summary] = await Promise.all([
      exportRows(context, target, where, { snapshot, columns, onBytes: (bytes) => progress.add(bytes) }),
      getSummary(session, target.partition, summaryColumns(definition, columns, target.set.settings.key)),
    ]);
    if (exported.digest !== null) {
      const found = await digestOfTable(context, target.partition, columns, snapshot.id);
      if (found !== exported.digest) {
        throw new DbopsError('archive_damaged', `the rows of ${label} are not those that were read back`, {
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
      'archive_damaged',
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
    stores: where.stores,
    required: archive.required,
    programs: await context.programs(),
    connection: context.connection,
    compressionLevel: context.settings.archive.compressionLevel,
    jobs,
    isGentle: context.isGentle,
    withDigest: archive.verify !== 'bytes',
    signal: context.signal,
    onBytes: source.onBytes,
    onStoreLost: (store, error) =>
      context.log.warn(
        { event: 'archive_copy_failed', store: store.name, archive: where.id },
        `no copy in store "${store.name}": ${error.message}`,
      ),
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
  const { db, settings, log, signal } = context;
  const { id, place } = where;
  const stores = facts.exported.stores;
  const schemaSql = Buffer.from(
    renderSchemaSql(facts.definition, {
      parent: target.parent,
      bounds: target.partition.boundText,
      lcMonetary: pinnedSettings['lc_monetary'] ?? 'C',
      masked: Object.keys(target.set.settings.archive.mask),
    }),
  );
  const stored = await putEverywhere(stores, `${place}${schemaName}`, schemaSql, signal);
  const parts = {
    parts: facts.exported.parts,
    definition: facts.definition,
    copiedColumns: facts.columns.map((column) => column.name),
  };
  const parquet = target.set.settings.archive.parquet
    ? await addParquet(context, { place, stores }, parts)
    : null;
  const manifest = {
    ...manifestOf(context, target, where, facts, rows),
    ...parts,
    schemaSql: { name: schemaName, ...stored },
    parquet,
  };
  if (manifest.proof === 'restore') await proveByRestore(context, { id, place, manifest, stores });
  await putEverywhere(stores, `${place}${manifestName}`, Buffer.from(writeManifest(manifest)), signal);
  const storedBytes = manifest.parts.reduce((sum, part) => sum + part.sizeBytes, 0);
  const names = stores.map((store) => store.name);
  await recordVerified(db, settings.stateSchema, id, {
    stores: names,
    rows,
    storedBytes,
    baselineXmin: facts.snapshot.xmin,
  });
  context.applied.changes += 1;
  log.info(
    { event: 'archive_verified', archive: id, table: displayName(target.parent), rows, storedBytes },
    `archived ${displayName(target.partition)} as ${id}: ${humanCount(rows)} rows, ${humanBytes(storedBytes)} in ${names.join(', ')}, read back`,
  );
  return { id, place, manifest, stores: names };
}

/** Writes a small file to each store and reads it back. */
async function putEverywhere(
  stores: Store[],
  key: string,
  bytes: Buffer,
  signal: AbortSignal,
): Promise<{ sizeBytes: number; sha256: string }> {
  let written = { sizeBytes: 0, sha256: '' };
  for (const store of stores) {
    written = await store.put(key, bytes, { signal, ifAbsent: true });
    const found = await hashOf(store, key, signal);
    if (found.sha256 !== written.sha256) {
      throw new DbopsError('archive_damaged', `${key} in store "${store.name}" is not what was written`);
    }
  }
  return written;
}

/**
 * 20261121T031500Z-0de3a9c0: the time to the second, then three digits of milliseconds and five of chance, hexadecimal. In
 * order of time, and never the same twice, whatever the clock does.
 */
function newId(): string {
  const now = new Date();
  const stamp = now.toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const milliseconds = now.getMilliseconds().toString(16).padStart(3, '0');
  return `${stamp}-${milliseconds}${randomBytes(3).toString('hex').slice(1)}`;
}

/** Takes away what was written of an archive that does not exist. What cannot be removed is swept by a later run. */
export async function removeRemains(stores: Store[], place: string): Promise<void> {
  for (const store of stores) {
    try {
      for await (const upload of store.listUploads(place)) await store.abortUpload(upload);
      const keys: string[] = [];
      for await (const object of store.list(place)) keys.push(object.key);
      if (keys.some((key) => key === `${place}${manifestName}`))
        await store.delete(`${place}${manifestName}`);
      for (const key of keys) await store.delete(key);
    } catch {
      // The store may be what failed.
    }
  }
}
