// A real pgBackRest with a repository in a temporary directory, and a private server that pushes its WAL into it.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Server } from '../../scripts/lib/postgres-server.mjs';
import { serverVersion, startPrivateServer, waitUntil, type Querier } from './database.ts';

export interface PgbackrestSite {
  server: Server;
  /** Holds the repository, its logs and its configuration. */
  dir: string;
  config: string;
  repository: string;
  stanza: string;
  /** Who the server runs as, and pgBackRest with it. */
  user: string;
  /** The lines of dbops.yaml below `backup:`. */
  yaml: string;
  /** Runs pgBackRest itself, as the user of the server. */
  run: (command: string, ...options: string[]) => { code: number | null; output: string };
  /** Resolves with its exit code. */
  start: (command: string, ...options: string[]) => Promise<number | null>;
  stop: () => Promise<void>;
}

/** The first pgBackRest for each major of the server. It refuses a server that came after it. */
const firstFor: Record<number, number> = { 14: 2.45, 15: 2.45, 16: 2.48, 17: 2.54, 18: 2.57 };

/** Why there is no pgBackRest here; undefined where there is one. Tests skip with it: `context.skip(reason)`. */
export function whyNoPgbackrest(): string | undefined {
  const found = spawnSync('pgbackrest', ['version'], { encoding: 'utf8' });
  const version = /^pgBackRest (\d+\.\d+)/.exec(found.stdout ?? '')?.[1];
  if (version === undefined) return 'pgbackrest is not installed';
  const major = Math.floor(serverVersion() / 10_000);
  const needed = firstFor[major] ?? Infinity;
  if (Number(version) >= needed) return undefined;
  return `pgbackrest ${version} is installed, and PostgreSQL ${major} takes ${needed}`;
}

/** Starts a server with page checksums and a stanza, of which nothing was backed up yet. */
export async function startPgbackrest({ withStanza = true } = {}): Promise<PgbackrestSite> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-pgbackrest-'));
  const config = path.join(dir, 'pgbackrest.conf');
  const stanza = 'main';
  const server = await startPrivateServer(
    {
      archive_mode: 'on',
      archive_command: `pgbackrest --config=${config} --stanza=${stanza} archive-push %p`,
      wal_level: 'replica',
    },
    ['--data-checksums'],
  );
  const { uid, gid } = fs.statSync(server.dataDir);
  const folders = ['repository', 'log', 'lock', 'spool'].map((name) => path.join(dir, name));
  for (const folder of folders) fs.mkdirSync(folder);
  fs.writeFileSync(
    config,
    `[global]
repo1-path=${folders[0]}
repo1-retention-full=9999999
log-path=${folders[1]}
lock-path=${folders[2]}
spool-path=${folders[3]}
start-fast=y
compress-type=zst

[${stanza}]
pg1-path=${server.dataDir}
pg1-port=${server.port}
pg1-socket-path=${server.socketDir}
pg1-user=${server.user}
`,
  );
  fs.chmodSync(dir, 0o755);
  for (const place of [dir, config, ...folders]) fs.chownSync(place, uid, gid);
  const own = process.getuid?.() === 0 ? { uid, gid } : {};
  const options = { ...own, env: { PATH: process.env['PATH'], HOME: dir }, cwd: dir };
  const argumentsOf = (command: string, given: string[]) => [
    command,
    `--config=${config}`,
    `--stanza=${stanza}`,
    ...given,
  ];
  const run: PgbackrestSite['run'] = (command, ...given) => {
    const { status, stdout, stderr } = spawnSync('pgbackrest', argumentsOf(command, given), {
      ...options,
      encoding: 'utf8',
    });
    return { code: status, output: `${stdout}${stderr}` };
  };
  const start: PgbackrestSite['start'] = async (command, ...given) => {
    const child = spawn('pgbackrest', argumentsOf(command, given), { ...options, stdio: 'ignore' });
    const [code] = (await once(child, 'exit')) as [number | null];
    return code;
  };
  const site: PgbackrestSite = {
    server,
    dir,
    config,
    repository: folders[0]!,
    stanza,
    user: spawnSync('id', ['-un', String(uid)], { encoding: 'utf8' }).stdout.trim(),
    yaml: '',
    run,
    start,
    stop: async () => {
      await server.stop({ immediate: true });
      // What its asynchronous children still write is of no use to anybody.
      fs.rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    },
  };
  site.yaml = `  pgbackrest: { stanza: ${stanza}, config: "${config}", user: ${site.user} }\n`;
  if (withStanza) {
    const made = run('stanza-create');
    if (made.code !== 0) throw new Error(`stanza-create failed: ${made.output}`);
  }
  return site;
}

/** Resolves when all that was committed before is in the archive of pgBackRest. */
export async function archiveWal(site: PgbackrestSite, { query }: Querier): Promise<void> {
  await query("select pg_create_restore_point('archived')");
  const [row] = await query<{ name: string }>('select pg_walfile_name(pg_switch_wal()) as name');
  const archive = path.join(site.repository, 'archive', site.stanza);
  // "000…03-<sha1>.zst"; while it is written it has ".pgbackrest.tmp" behind that.
  const isThere = (file: string) => file.includes(row!.name) && file.endsWith('.zst');
  await waitUntil(() => fs.readdirSync(archive, { recursive: true, encoding: 'utf8' }).some(isThere), {
    timeoutMs: 30_000,
    what: `${row!.name} in the archive of pgBackRest`,
  });
}
