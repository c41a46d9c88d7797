// Small backups laid into a store by hand, with manifests of any time: what retention and the catalogue look at.
import { createHash } from 'node:crypto';
import type { BackupKind } from '../../src/config/backup.ts';
import { writeBackupManifest, type BackupManifest } from '../../src/backup/manifest.ts';
import { backupPrefix } from '../../src/backup/place.ts';
import type { Store } from '../../src/storage/store.ts';

export interface LaidBackup {
  id: string;
  /** The moment that it brings back. */
  at: string;
  kind?: BackupKind;
  system?: string;
  /** Null: the whole cluster. */
  database?: string | null;
  /** Replaces fields of the manifest. */
  over?: Partial<BackupManifest>;
  /** Text by file name. */
  files?: Record<string, string | Buffer>;
  /** Leaves out the manifest: what a killed run leaves. */
  unfinished?: boolean;
}

/** The manifest of a logical backup of a database with one table. */
export function laidManifest(backup: LaidBackup): BackupManifest {
  const {
    kind = 'logical',
    system = '7000000000000000001',
    at,
    files = { 'dump.custom.zst': 'rows' },
  } = backup;
  const isCluster = ['base', 'incremental', 'snapshot', 'pgbackrest'].includes(kind);
  return {
    formatVersion: 1,
    id: backup.id,
    kind,
    startedAt: at,
    finishedAt: at,
    reason: null,
    createdBy: { dbops: '0.1.0', host: 'h', osUser: 'u', databaseUser: 'p' },
    server: { systemIdentifier: system, version: '15.1', versionNum: 150001 },
    database: backup.database === undefined ? (isCluster ? null : 'factory') : backup.database,
    tools: {},
    sourceBytes: 8192,
    files: Object.entries(files).map(([name, content]) => ({
      name,
      sizeBytes: Buffer.byteLength(content),
      sha256: createHash('sha256').update(content).digest('hex'),
    })),
    logical: null,
    physical: null,
    pgbackrest: null,
    ...backup.over,
  };
}

/** What a base backup says of itself. */
export function laidPhysical(
  at: string,
  over: Partial<NonNullable<BackupManifest['physical']>> = {},
): NonNullable<BackupManifest['physical']> {
  return {
    timeline: 1,
    startLsn: '0/2000028',
    stopLsn: '0/2000138',
    startedAt: at,
    stoppedAt: at,
    startWal: '000000010000000000000002',
    stopWal: '000000010000000000000002',
    walSegmentBytes: 16_777_216,
    wal: 'archive',
    parent: null,
    tablespaces: [],
    baseFile: 'base.tar.zst',
    manifestFile: 'backup_manifest',
    dataChecksums: false,
    settings: {},
    databases: [],
    ...over,
  };
}

/** Writes it to each store, the manifest last, and returns its place. */
export async function layBackup(stores: Store[], backup: LaidBackup): Promise<string> {
  const manifest = laidManifest(backup);
  const place = backupPrefix(manifest.server.systemIdentifier, manifest.database, backup.id);
  for (const store of stores) {
    for (const [name, content] of Object.entries(backup.files ?? { 'dump.custom.zst': 'rows' }))
      await store.put(`${place}${name}`, Buffer.from(content));
    if (backup.unfinished !== true)
      await store.put(`${place}manifest.json`, Buffer.from(writeBackupManifest(manifest)));
  }
  return place;
}
