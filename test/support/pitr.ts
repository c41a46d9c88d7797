// A private cluster whose WAL is archived in a store, base backups of it, and restores of them without the command line.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { startServer, type Server } from '../../scripts/lib/postgres-server.mjs';
import { writeBackupManifest, type BackupManifest } from '../../src/backup/manifest.ts';
import { backupPrefix } from '../../src/backup/place.ts';
import type { PitrContext } from '../../src/backup/restore/pitr/context.ts';
import { planPitr, type PitrPlan, type PitrWish } from '../../src/backup/restore/pitr/plan.ts';
import { applyPitr, type PitrEnd, type PitrResult } from '../../src/backup/restore/pitr/restore.ts';
import { parseTarget } from '../../src/backup/restore/pitr/target.ts';
import { openTarget } from '../../src/backup/wal/push.ts';
import { pushFile } from '../../src/backup/wal/push-file.ts';
import { parseLsn, segmentOfLsn } from '../../src/backup/wal/segment.ts';
import { findTools } from '../../src/process/tools.ts';
import { FileStore } from '../../src/storage/file.ts';
import { newId } from '../../src/storage/id.ts';
import { afterFile } from './cleanup.ts';
import { ownDatabase, serverBinaries, waitUntil, type TestDatabase } from './database.ts';
import type { PhysicalSite } from './physical.ts';
import { privateSettings } from './settings.ts';
import { register, sharedDirectory, walContext, type WalTest } from './wal.ts';

export interface PitrSite {
  server: Server;
  db: Pick<TestDatabase, 'url' | 'query'>;
  system: string;
  /** Where archive_command leaves files until they are pushed. */
  spool: string;
  /** Directories of the stores "near" and "far"; both have everything. */
  near: string;
  far: string;
  wal: WalTest;
  /** Closes the segment that is written to, and pushes all that was archived. */
  push: () => Promise<void>;
  /** Makes a base backup in both stores, its WAL included. Returns its id. */
  base: () => Promise<string>;
  /** The clock of the server, as --to time: takes it. */
  now: () => Promise<string>;
  lsn: () => Promise<string>;
  insert: (id: number) => Promise<void>;
  /** A context with one store, or both. */
  context: (stores?: string[]) => PitrContext;
  plan: (to: string, over?: Partial<PitrWish>, context?: PitrContext) => Promise<PitrPlan>;
  /** A directory that is not there, in one that goes after the tests. */
  directory: () => string;
  /** Asks a server that a restore has left running. */
  ask: (result: Pick<PitrResult, 'server'>, query: string) => Promise<unknown[]>;
  /** Restores and starts; the rows of "marks" are read, and the server is stopped. */
  restore: (
    to: string,
    over?: Partial<PitrWish>,
    context?: PitrContext,
  ) => Promise<PitrResult & { rows: number[] }>;
}

/** Why base backups cannot be made with the programs of this run; undefined where they can. */
export function whyNoPitr(): string | undefined {
  const missing = ['pg_basebackup', 'pg_waldump'].filter(
    (name) => !fs.existsSync(path.join(serverBinaries(), name)),
  );
  return missing.length === 0 ? undefined : `${missing.join(', ')} is not in ${serverBinaries()}`;
}

export const endStarted: PitrEnd = { start: true, action: 'promote', keepsArchiving: false, port: undefined };

/** Starts the cluster, with small segments and an empty table "marks"; it is stopped after the tests of the file. */
export async function startPitrSite(): Promise<PitrSite> {
  const spool = sharedDirectory('pitr-archived');
  const [near, far, restored] = [
    sharedDirectory('near'),
    sharedDirectory('far'),
    sharedDirectory('restored'),
  ];
  const server = await startServer({
    binDir: serverBinaries(),
    initdbArgs: ['--wal-segsize=1'],
    settings: {
      ...privateSettings,
      full_page_writes: 'on',
      archive_mode: 'on',
      archive_command: `cp -p %p ${spool}/.%f && mv ${spool}/.%f ${spool}/%f`,
    },
  });
  afterFile(() => server.stop({ immediate: true }));
  const db = ownDatabase(server);
  await db.query('create table marks (id int primary key)');
  const stores = [new FileStore('near', near), new FileStore('far', far)];
  const wal = walContext(stores);
  const system = await register(server, stores);
  const pushed = new Set<string>();
  const lsn = async () =>
    (await db.query<{ lsn: string }>('select pg_current_wal_insert_lsn() as lsn'))[0]!.lsn;
  const push = async () => {
    const [row] = await db.query<{ name: string }>(
      "select pg_walfile_name(pg_logical_emit_message(false, 'test', 'x')) as name",
    );
    await db.query('select pg_switch_wal()');
    await waitUntil(() => fs.existsSync(path.join(spool, row!.name)), {
      what: `the archive of ${row!.name}`,
    });
    const target = await openTarget(wal, system);
    for (const name of fs.readdirSync(spool).sort()) {
      if (pushed.has(name) || name.startsWith('.')) continue;
      await pushFile(target, { name, path: path.join(spool, name), isOfServer: true });
      pushed.add(name);
    }
    // The server restores as a user of its own.
    for (const store of [near, far]) execFileSync('chmod', ['-R', 'a+rX', store]);
  };
  const context = (names: string[] = ['near', 'far']): PitrContext => ({
    ...wal,
    settings: {
      stores: [],
      backup: { copies: names },
      wal: { copies: names },
    } as unknown as PitrContext['settings'],
    applied: { changes: 0 },
    openStore: (name) => Promise.resolve(stores.find((store) => store.name === name)!),
    findTools: (tools) => findTools(tools, `${serverBinaries()}:${process.env['PATH'] ?? ''}`),
    workDirectory: os.tmpdir(),
    jobs: 2,
    environment: {},
    restoreCommand: (id) => fetchLine(path.join(names[0] === 'far' ? far : near, id, 'wal')),
  });
  let directories = 0;
  const directory = () => path.join(restored, String((directories += 1)));
  const plan: PitrSite['plan'] = async (to, over = {}, own = context()) =>
    await planPitr(own, {
      id: undefined,
      system: undefined,
      target: parseTarget(to),
      clamp: false,
      pause: false,
      timeline: undefined,
      dataDirectory: directory(),
      mappings: [],
      owner: undefined,
      ...over,
    });
  return {
    server,
    db,
    system,
    spool,
    near,
    far,
    wal,
    push,
    lsn,
    context,
    directory,
    plan,
    base: async () => {
      const manifest = await makeBase(server, db, stores, system);
      await push();
      return manifest.id;
    },
    ask: askRestored,
    now: async () => {
      const [row] = await db.query<{ at: string }>(
        `select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || 'Z' as at`,
      );
      return row!.at;
    },
    insert: async (id) => {
      await db.query('insert into marks values ($1)', [id]);
    },
    restore: async (to, over, own = context()) => {
      const result = await applyPitr(own, await plan(to, over, own), endStarted);
      try {
        return { ...result, rows: await marksOf(result) };
      } finally {
        await stopServer(result);
      }
    },
  };
}

/** Fetches from a directory, as a restore_command; only the tests of "wal fetch" need more. */
function fetchLine(folder: string): string {
  return `case %f in *.history) f="${folder}/%f.zst";; *) f="${folder}/$(echo %f | cut -c1-16)/%f.zst";; esac; test -f "$f" || exit 1; zstd -q -dc "$f" > %p`;
}

/** The rows of "marks" of a server that a restore has left running. */
export async function marksOf(result: Pick<PitrResult, 'server'>): Promise<number[]> {
  const rows = await askRestored(result, 'select id from marks order by id');
  return rows.map((row) => (row as { id: number }).id);
}

async function askRestored(result: Pick<PitrResult, 'server'>, query: string): Promise<unknown[]> {
  const { socketDirectory, port } = result.server!;
  const client = new pg.Client({ host: socketDirectory, port, user: 'postgres', database: 'postgres' });
  await client.connect();
  try {
    return (await client.query<object>(query)).rows;
  } finally {
    await client.end();
  }
}

/** Ends a server that a restore has left running. */
export async function stopServer(result: Pick<PitrResult, 'server'>): Promise<void> {
  const { pid } = result.server!;
  process.kill(pid, 'SIGQUIT');
  await waitUntil(
    () => {
      try {
        process.kill(pid, 0);
        return false;
      } catch {
        return true;
      }
    },
    { what: `the end of server ${pid}` },
  );
}

/** Restores as the command line does; nothing is archived, so that the end of the backup is what can be reached. */
export async function restoreSite(site: PhysicalSite, ...more: string[]): Promise<PitrResult> {
  const directory = path.join(sharedDirectory('restored'), 'data');
  execFileSync('chmod', ['-R', 'a+rX', site.store]);
  const line = [
    'restore',
    'pitr',
    '--to',
    'immediate',
    '--data-dir',
    directory,
    '--start',
    '--yes',
    '--json',
  ];
  const { code, stdout, stderr } = await site.run([...line, ...more]);
  if (code !== 0) throw new Error(`restore pitr ended with ${String(code)}: ${stderr}`);
  return (JSON.parse(stdout) as { data: PitrResult }).data;
}

/** Asks the restored server as its owner, whom it lets in by the socket. */
export function askAsOwner(site: PhysicalSite, result: PitrResult, query: string): string {
  const { uid, gid } = fs.statSync(result.dataDirectory);
  const { socketDirectory, port } = result.server!;
  const psql = path.join(site.server.binDir, 'psql');
  return execFileSync(
    psql,
    ['-XAt', '-h', socketDirectory, '-p', String(port), '-U', 'postgres', '-d', 'postgres', '-c', query],
    {
      ...(process.getuid?.() === 0 ? { uid, gid } : {}),
      cwd: '/',
      encoding: 'utf8',
    },
  ).trim();
}

async function makeBase(
  server: Server,
  db: PitrSite['db'],
  stores: FileStore[],
  system: string,
): Promise<BackupManifest> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-base-'));
  const tar = path.join(dir, 'base.tar');
  const startedAt = new Date().toISOString();
  const program = path.join(server.binDir, 'pg_basebackup');
  const where = ['-h', server.host, '-p', String(server.port), '-U', server.user];
  execFileSync(
    program,
    [...where, '-D', dir, '-Ft', '-X', 'none', '-c', 'fast', '--manifest-checksums=SHA256'],
    {
      stdio: 'pipe',
    },
  );
  const [clock] = await db.query<{ at: Date }>('select clock_timestamp() as at');
  const serverManifest = fs.readFileSync(path.join(dir, 'backup_manifest'));
  const [range] = (
    JSON.parse(serverManifest.toString()) as {
      'WAL-Ranges': { Timeline: number; 'Start-LSN': string; 'End-LSN': string }[];
    }
  )['WAL-Ranges'];
  execFileSync('zstd', ['-q', '--rm', tar]);
  const files = { 'base.tar.zst': fs.readFileSync(`${tar}.zst`), backup_manifest: serverManifest };
  fs.rmSync(dir, { recursive: true });
  const startLsn = range!['Start-LSN'];
  const stopLsn = range!['End-LSN'];
  const segmentBytes = 1024 ** 2;
  const manifest: BackupManifest = {
    formatVersion: 1,
    id: newId(),
    kind: 'base',
    startedAt,
    finishedAt: new Date().toISOString(),
    reason: null,
    createdBy: { dbops: '0.0.0', host: 'test', osUser: 'test', databaseUser: 'postgres' },
    server: { systemIdentifier: system, version: server.version, versionNum: server.major * 10_000 },
    database: null,
    tools: {},
    sourceBytes: 30_000_000,
    files: Object.entries(files).map(([name, content]) => ({
      name,
      sizeBytes: content.byteLength,
      sha256: createHash('sha256').update(content).digest('hex'),
    })),
    logical: null,
    physical: {
      timeline: range!.Timeline,
      startLsn,
      stopLsn,
      startedAt,
      stoppedAt: clock!.at.toISOString(),
      startWal: segmentOfLsn(range!.Timeline, parseLsn(startLsn), segmentBytes),
      stopWal: segmentOfLsn(range!.Timeline, parseLsn(stopLsn) - 1n, segmentBytes),
      walSegmentBytes: segmentBytes,
      wal: 'archive',
      parent: null,
      tablespaces: [],
      baseFile: 'base.tar.zst',
      manifestFile: 'backup_manifest',
      dataChecksums: false,
      settings: { max_connections: '100', max_worker_processes: '8' },
      databases: [{ name: 'postgres', sizeBytes: 8_000_000 }],
    },
    pgbackrest: null,
  };
  const place = backupPrefix(system, null, manifest.id);
  for (const store of stores) {
    for (const [name, content] of Object.entries(files)) await store.put(`${place}${name}`, content);
    await store.put(`${place}manifest.json`, Buffer.from(writeBackupManifest(manifest)));
  }
  return manifest;
}
