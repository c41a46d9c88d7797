// A private server whose WAL is archived, base backups of it, and what restores them by hand: tar, zstd and PostgreSQL.
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startServer, type Server } from '../../scripts/lib/postgres-server.mjs';
import type { BackupManifest } from '../../src/backup/manifest.ts';
import { afterFile } from './cleanup.ts';
import { filesIn } from './archive-run.ts';
import type { CliResult } from './cli.ts';
import { ownDatabase, serverBinaries, waitUntil, type TestDatabase } from './database.ts';
import { privateSettings } from './settings.ts';
import { createWorkspace, type Workspace } from './workspace.ts';

export interface PhysicalSite extends Workspace {
  server: Server;
  db: Pick<TestDatabase, 'url' | 'query'>;
  /** Directory of the store "cold". */
  store: string;
  /** Where archive_command leaves segments as they are, for restores by hand. */
  walDir: string;
  systemIdentifier: string;
  /** Runs "backup create --kind ... --json". */
  create: (kind: string, ...args: string[]) => Promise<CliResult>;
  /** As create, and expects it to end well. */
  made: (kind: string, ...args: string[]) => Promise<MadeBackup>;
  /**
   * Turns archiving to the store on: a script as "wal push" would do it, only simpler. `skip` is a shell pattern of
   * segments that are told to be archived and are not; `fail` one of those that fail.
   */
  archive: (options?: { skip?: string; fail?: string }) => Promise<void>;
}

export interface MadeBackup {
  id: string;
  place: string;
  /** The folder in the store. */
  folder: string;
  manifest: BackupManifest;
  stderr: string;
}

/** Why the server of this run cannot be copied by its own programs; undefined where it can. */
export function whyNoBasebackup(binDir = serverBinaries()): string | undefined {
  const isThere = ['pg_basebackup', 'pg_verifybackup'].every((name) =>
    fs.existsSync(path.join(binDir, name)),
  );
  return isThere ? undefined : `${binDir} has no pg_basebackup`;
}

/** Configuration of a site: the store "cold" alone, and what else is given. */
export function siteYaml(store: string, backup = ''): string {
  return `stores:\n  cold: { url: "file://${store}" }\nbackup:\n  archiveTimeout: 5s\n${backup}`;
}

/** Starts a server with a table of 10,000 rows; it is stopped after the tests of the file. */
export async function startSite(
  options: { binDir?: string; settings?: Record<string, string>; initdbArgs?: string[] } = {},
): Promise<PhysicalSite> {
  const binDir = options.binDir ?? serverBinaries();
  const server = await startServer({
    binDir,
    settings: {
      ...privateSettings,
      full_page_writes: 'on',
      archive_mode: 'on',
      archive_command: '/bin/false',
      ...options.settings,
    },
    initdbArgs: options.initdbArgs ?? [],
  });
  afterFile(() => server.stop({ immediate: true }));
  const db = ownDatabase(server);
  await db.query(
    "create table parts as select i, md5(i::text) as serial, 'first' as said from generate_series(1, 10000) as i",
  );
  const [row] = await db.query<{ id: string }>(
    'select system_identifier::text as id from pg_control_system()',
  );
  const systemIdentifier = row?.id ?? '';
  const work = createWorkspace(db, '');
  const store = path.join(work.dir, 'store');
  const walDir = path.join(work.dir, 'wal');
  work.configure(siteYaml(store));
  fs.mkdirSync(walDir);
  giveTo(
    server,
    store,
    path.join(store, systemIdentifier),
    path.join(store, systemIdentifier, 'wal'),
    walDir,
  );
  // mkdtemp made a directory that only its owner enters, and the server is somebody else.
  fs.chmodSync(work.dir, 0o755);
  const env = { PATH: `${binDir}${path.delimiter}${process.env['PATH'] ?? ''}` };
  const run = (args: string[], more: Record<string, string> = {}) => work.run(args, { ...env, ...more });
  const create = (kind: string, ...args: string[]) =>
    run(['backup', 'create', '--kind', kind, '--json', ...args]);
  return {
    ...work,
    run,
    spawn: (args, more = {}) => work.spawn(args, { ...env, ...more }),
    server,
    db,
    store,
    walDir,
    systemIdentifier,
    create,
    made: async (kind, ...args) => {
      const { code, stdout, stderr } = await create(kind, ...args);
      if (code !== 0) throw new Error(`backup create ended with ${String(code)}: ${stderr}`);
      const { data } = JSON.parse(stdout) as { data: Omit<MadeBackup, 'folder' | 'stderr'> };
      return { ...data, folder: path.join(store, data.place), stderr };
    },
    archive: async ({ skip = '', fail = '' } = {}) => {
      const script = path.join(work.dir, 'archive.sh');
      // Renamed into place: the server may be running it.
      fs.writeFileSync(`${script}.new`, archiveScript({ store, walDir, systemIdentifier, skip, fail }), {
        mode: 0o755,
      });
      fs.renameSync(`${script}.new`, script);
      await db.query(`alter system set archive_command = '${script} %p %f'`);
      await db.query('select pg_reload_conf()');
      if (fail === '' && skip === '') await untilArchived(db);
    },
  };
}

/** The newest segment that was archived is that of before the last switch. */
async function untilArchived(db: PhysicalSite['db']): Promise<void> {
  await db.query('create table if not exists public.ping (at timestamptz)');
  const [{ name } = { name: '' }] = await db.query<{ name: string }>(
    'insert into public.ping values (now()) returning pg_walfile_name(pg_current_wal_lsn()) as name',
  );
  await db.query('select pg_switch_wal()');
  await waitUntil(
    async () => {
      const [row] = await db.query<{ last: string | null }>(
        'select last_archived_wal as last from pg_stat_archiver',
      );
      return (row?.last ?? '') >= name;
    },
    { what: 'the archive', timeoutMs: 20_000 },
  );
}

function archiveScript(options: {
  store: string;
  walDir: string;
  systemIdentifier: string;
  skip: string;
  fail: string;
}): string {
  const { store, walDir, systemIdentifier, skip, fail } = options;
  const when = (pattern: string, code: number) =>
    pattern === '' ? '' : `case "$2" in ${pattern}) exit ${String(code)};; esac\n`;
  return `#!/bin/sh
set -e
${when(skip, 0)}${when(fail, 1)}cp "$1" "${walDir}/$2.tmp"
mv "${walDir}/$2.tmp" "${walDir}/$2"
folder="${store}/${systemIdentifier}/wal/$(echo "$2" | cut -c1-16)"
mkdir -p "$folder"
zstd -q -f -1 "$1" -o "$folder/.$2.tmp"
mv "$folder/.$2.tmp" "$folder/$2.zst"
`;
}

/** Lets the server's user write there. */
export function giveTo(server: Pick<Server, 'dataDir'>, ...folders: string[]): void {
  const { uid, gid } = fs.statSync(server.dataDir);
  for (const folder of folders) {
    fs.mkdirSync(folder, { recursive: true });
    fs.chownSync(folder, uid, gid);
  }
}

/** Unpacks a backup by hand: zstd, tar, and a folder for each tablespace. Returns the data directory. */
export function unpack(backup: Pick<MadeBackup, 'folder' | 'manifest'>): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-unpacked-'));
  afterFile(() => fs.rmSync(dir, { recursive: true, force: true }));
  fs.chmodSync(dir, 0o755);
  const data = path.join(dir, 'data');
  const { physical } = backup.manifest;
  if (physical === null) throw new Error('no physical backup');
  untar(path.join(backup.folder, physical.baseFile), data);
  for (const { oid, file } of physical.tablespaces) {
    const place = path.join(dir, oid);
    untar(path.join(backup.folder, file), place);
    giveTo({ dataDir: path.join(data, 'PG_VERSION') }, place);
    const link = path.join(data, 'pg_tblspc', oid);
    fs.rmSync(link, { force: true });
    fs.symlinkSync(place, link);
  }
  if (physical.tablespaces.length > 0) {
    const lines = physical.tablespaces.map(({ oid }) => `${oid} ${path.join(dir, oid)}\n`);
    fs.writeFileSync(path.join(data, 'tablespace_map'), lines.join(''));
  }
  if (!fs.existsSync(path.join(data, physical.manifestFile)))
    fs.copyFileSync(path.join(backup.folder, physical.manifestFile), path.join(data, physical.manifestFile));
  return data;
}

function untar(file: string, folder: string): void {
  fs.mkdirSync(folder, { mode: 0o700 });
  execFileSync('sh', ['-c', 'zstd -q -dc -- "$1" | tar -xf - -C "$2"', 'sh', file, folder]);
}

/** What pg_verifybackup says of an unpacked backup; WAL is looked for where it was archived. */
export function verifyUnpacked(
  data: string,
  options: { binDir: string; walDir?: string },
): { code: number | null; output: string } {
  const wal = options.walDir === undefined ? [] : ['-w', options.walDir];
  // The map names the folders of this host.
  const mapped = fs.readdirSync(path.join(data, 'pg_tblspc')).length > 0 ? ['-i', 'tablespace_map'] : [];
  const found = spawnSync(path.join(options.binDir, 'pg_verifybackup'), [...wal, ...mapped, data], {
    encoding: 'utf8',
  });
  return { code: found.status, output: `${found.stdout}${found.stderr}` };
}

/** Starts a server on an unpacked backup, with WAL from the archive, and stops it after `work`. */
export async function withRestored<T>(
  data: string,
  options: { binDir: string; walDir?: string; settings?: Record<string, string> },
  work: (db: Pick<TestDatabase, 'url' | 'query'>, server: Server) => Promise<T>,
): Promise<T> {
  const { binDir, walDir } = options;
  const server = await startServer({
    binDir,
    copyOf: data,
    ...(walDir === undefined ? {} : { signalFile: 'recovery.signal' as const }),
    settings: {
      ...privateSettings,
      archive_mode: 'off',
      ...(walDir === undefined
        ? {}
        : { restore_command: `cp ${walDir}/%f %p`, recovery_target_action: 'promote' }),
      ...options.settings,
    },
  });
  try {
    const db = ownDatabase(server);
    await waitUntil(
      async () => {
        const [row] = await db.query<{ open: boolean }>('select not pg_is_in_recovery() as open');
        return row?.open === true;
      },
      { what: 'the end of recovery', timeoutMs: 30_000 },
    );
    return await work(db, server);
  } finally {
    await server.stop({ immediate: true });
  }
}

/** One line a row, in order. */
export async function rowsOf(db: Pick<TestDatabase, 'query'>, table = 'parts'): Promise<string[]> {
  const rows = await db.query<{ line: string }>(`select t::text as line from ${table} as t order by 1`);
  return rows.map((row) => row.line);
}

/** Names of what a store holds below the backups of the cluster, without the folder of each. */
export function backupFiles(site: PhysicalSite): string[] {
  return filesIn(path.join(site.store, site.systemIdentifier, 'backup'));
}

/** Why nothing can be tried that needs pzstd; undefined when it can. */
export function whyNoPzstd(): string | undefined {
  return spawnSync('pzstd', ['--version']).status === 0 ? undefined : 'pzstd is not installed';
}

/** Programs in front of the real ones on the PATH, for a site's `run`. */
export interface ReplacedPrograms {
  env: Record<string, string>;
  /** The same on a host where pzstd is not installed. */
  envWithoutPzstd: Record<string, string>;
  /** A shell script for a program, which may call "$real"; undefined: the real one alone. */
  replace: (name: 'pg_basebackup' | 'zstd' | 'pzstd', script: string | undefined) => void;
  /** Only what is installed is there again. */
  remove: (name: 'pzstd') => void;
}

/** pg_basebackup as slow as a test needs it to act meanwhile: three seconds for an empty cluster. */
export const slowly = 'exec "$real" "$@" --max-rate=10M';

/** Makes a folder of programs that pass everything on until they are replaced. */
export function replacePrograms(site: PhysicalSite): ReplacedPrograms {
  const bin = fs.mkdtempSync(path.join(site.dir, 'bin-'));
  const searchPath = `${site.server.binDir}${path.delimiter}${process.env['PATH'] ?? ''}`;
  const replace: ReplacedPrograms['replace'] = (name, script = 'exec "$real" "$@"') => {
    const real = execFileSync('sh', ['-c', `command -v ${name}`], {
      env: { PATH: searchPath },
      encoding: 'utf8',
    }).trim();
    const version = 'case "$*" in *--version*) exec "$real" "$@";; esac';
    fs.writeFileSync(path.join(bin, name), `#!/bin/sh\nreal='${real}'\n${version}\n${script}\n`, {
      mode: 0o755,
    });
  };
  const few = fs.mkdtempSync(path.join(site.dir, 'few-'));
  for (const name of ['cat', 'head', 'sh', 'sleep', 'tar', 'tee', 'zstd'])
    fs.symlinkSync(
      execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim(),
      path.join(few, name),
    );
  return {
    env: { PATH: `${bin}${path.delimiter}${searchPath}` },
    envWithoutPzstd: { PATH: [bin, site.server.binDir, few].join(path.delimiter) },
    replace,
    remove: (name) => fs.rmSync(path.join(bin, name), { force: true }),
  };
}

/** The process of the server that sends a base backup, once it has sent something. */
export async function walsender(site: PhysicalSite): Promise<number> {
  return await waitUntil(
    async () => {
      const [row] = await site.db.query<{ pid: number }>(
        'select pid from pg_stat_progress_basebackup where backup_streamed > 1000000',
      );
      return row?.pid;
    },
    { what: 'a base backup that is under way', timeoutMs: 20_000 },
  );
}
