// Small backups laid into a store by hand, with manifests of any time: what retention and the catalogue look at.
import { createHash } from 'node:crypto';
import path from 'node:path';
import { afterAll } from 'vitest';
import { factsOf } from '../../src/backup/catalogue/facts.ts';
import type { BackupKind } from '../../src/config/backup.ts';
import { writeBackupManifest, type BackupManifest } from '../../src/backup/manifest.ts';
import { backupPrefix } from '../../src/backup/place.ts';
import { foundBackupSql } from '../../src/sql/backups.ts';
import { openStore } from '../../src/storage/open.ts';
import type { Store } from '../../src/storage/store.ts';
import type { CliResult } from './cli.ts';
import { createDatabase, type TestDatabase } from './database.ts';
import { startS3, whyNoS3 } from './s3.ts';
import { createWorkspace, type Workspace } from './workspace.ts';

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

export interface BackupSite {
  db: TestDatabase;
  work: Workspace;
  system: string;
  database: string;
  /** local is a directory, offsite a bucket where there is an S3 server. */
  local: Store;
  offsite: Store;
  /** The directory of the local store. */
  folder: string;
  /** Lays a backup into the stores (both by default) and, unless told otherwise, into the ledger. Returns its place. */
  lay: (backup: LaidBackup, options?: { stores?: Store[]; ledger?: boolean }) => Promise<string>;
  run: (args: string[], now?: string) => Promise<CliResult>;
  /** The same with --json, which must exit as told. */
  json: <Data>(args: string[], now?: string, code?: number) => Promise<Data>;
  /** Ids of the backups that have a manifest in this store, by the last part of their ids. */
  ids: (store: Store) => Promise<string[]>;
  configure: (backup: string) => void;
}

export const backupNow = '2026-11-21T12:00:00Z';

/** A database with an empty ledger, a local and an offsite store. `backup` are lines below "backup:". */
export async function createBackupSite(name: string, backup: string): Promise<BackupSite> {
  const db = await createDatabase(name);
  const work = createWorkspace(db, '');
  const folder = path.join(work.dir, 'local');
  const s3 = whyNoS3() === undefined ? await startS3() : undefined;
  const far = path.join(work.dir, 'offsite');
  const configure = (lines: string) =>
    work.configure(
      `stores:\n  local: { url: "file://${folder}" }\n` +
        (s3?.yaml('offsite') ?? `  offsite: { url: "file://${far}" }\n`) +
        `backup:\n${lines.replaceAll(/^/gm, '  ')}\n`,
    );
  configure(backup);
  const local = await openStore({ name: 'local', url: `file://${folder}`, pathStyle: false });
  const offsite = await openStore(
    s3?.settings({ name: 'offsite' }) ?? { name: 'offsite', url: `file://${far}`, pathStyle: false },
  );
  const [facts] = await db.query<{ system: string; database: string }>(
    'select system_identifier::text as system, current_database() as database from pg_control_system()',
  );
  const { system, database } = facts!;
  afterAll(async () => {
    await local.close();
    await offsite.close();
    await s3?.stop();
    await db.drop();
  });
  const run = (args: string[], now = backupNow) => work.run(args, { DBOPS_TEST_NOW: now, DBOPS_TEST: '1' });
  // The first run makes the ledger.
  const made = await run(['backup', 'prune']);
  if (made.code !== 0) throw new Error(made.stderr);
  return {
    db,
    work,
    system,
    database,
    local,
    offsite,
    folder,
    configure,
    run,
    lay: async (laid, { stores = [local, offsite], ledger = true } = {}) => {
      const own = {
        system,
        ...laid,
        ...(laid.database === undefined && laidManifest(laid).database !== null ? { database } : {}),
      };
      const place = await layBackup(stores, own);
      const manifest = laidManifest(own);
      if (ledger && laid.unfinished !== true)
        await db.query(
          foundBackupSql('dbops', {
            ...manifest,
            ...factsOf(manifest),
            place,
            stores: stores.map((store) => store.name),
            hold: null,
            startedAt: new Date(manifest.startedAt),
            finishedAt: new Date(manifest.finishedAt),
            verifiedAt: null,
            drilledAt: null,
            drillPassed: null,
          }),
        );
      return place;
    },
    json: async <Data>(args: string[], now?: string, code = 0) => {
      const result = await run([...args, '--json'], now);
      if (result.code !== code)
        throw new Error(`dbops ${args.join(' ')} exits ${String(result.code)}: ${result.stderr}`);
      return (JSON.parse(result.stdout) as { data: Data }).data;
    },
    ids: async (store) => {
      const found: string[] = [];
      for await (const { key } of store.list(''))
        if (key.endsWith('/manifest.json')) found.push(key.split('/').at(-2)!.split('-')[1]!);
      return found.sort();
    },
  };
}
