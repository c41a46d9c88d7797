// What the figures of backups are measured on: a private server with eight tables, of which two are half of it, and the
// peers' way to store what they make. Made once for a run.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startServer } from '../../scripts/lib/postgres-server.mjs';
import { createDatabase, waitForRow, withClient } from '../lib/database.mjs';
import { startS3ForBench } from '../lib/s3.mjs';

/** @typedef {import('../lib/measure.mjs').Program} Program */
/** @typedef {import('../partition/index.mjs').Bench} Bench */
/** @typedef {Awaited<ReturnType<typeof makeSite>>} Site */

/** Rows of each table; with its key about 270 bytes a row. */
const LARGE_ROWS = 1_400_000;
const OTHER_ROWS = 466_000;
const OTHERS = 6;
/** About as much as half of the database. */
export const ONE_TABLE_ROWS = 2_800_000;
const SMALL_DIVISOR = 50;

/** @type {Promise<Site> | undefined} */
let site;

/**
 * The server and its database, made on first use.
 * @param {Bench} bench
 */
export function backupSite(bench) {
  site ??= makeSite(bench);
  return site;
}

/** Ends what backupSite() started. */
export async function releaseSite() {
  const made = await site?.catch(() => undefined);
  site = undefined;
  await made?.stop();
}

/** @param {Bench} bench */
async function makeSite(bench) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-bench-backup-'));
  const server = await startServer({
    binDir: bench.binDir,
    settings: {
      shared_buffers: '512MB',
      max_wal_size: '4GB',
      maintenance_work_mem: '256MB',
      wal_level: 'replica',
      archive_mode: 'on',
      // Until something of the run needs an archive, see archiveWith().
      archive_command: '/bin/true',
    },
  });
  try {
    const owner = fs.statSync(server.dataDir);
    const made = {
      dir,
      server,
      binDir: bench.binDir,
      /** @param {string} name a directory that the server's user may write to, empty */
      folder: (name) => emptyFolder(path.join(dir, name), owner),
      /**
       * The same program, run as the user of the server.
       * @param {Program} program
       * @returns {Program}
       */
      asServer: (program) => asUser(program, owner),
      stop: async () => {
        await server.stop({ immediate: true });
        fs.rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
      },
      url: '',
    };
    fs.chmodSync(dir, 0o755);
    fs.chownSync(dir, owner.uid, owner.gid);
    made.url = await createDatabase(server.url, 'eight');
    await createTables(made.url, scale(bench, LARGE_ROWS), scale(bench, OTHER_ROWS));
    return made;
  } catch (error) {
    await server.stop({ immediate: true });
    throw error;
  }
}

/**
 * @param {Bench} bench
 * @param {number} count
 */
export function scale(bench, count) {
  return bench.size === 'small' ? Math.max(1, Math.round(count / SMALL_DIVISOR)) : count;
}

/**
 * @param {string} url
 * @param {number} large
 * @param {number} other
 */
async function createTables(url, large, other) {
  for (const [index, rows] of [large, large, ...Array.from({ length: OTHERS }, () => other)].entries()) {
    await createTable(url, `measured_${index + 1}`, rows);
  }
}

/**
 * A table as logs and events have them: numbers, a time, a jsonb of 130 bytes, a hash that does not compress.
 * @param {string} url
 * @param {string} name
 * @param {number} rows
 */
export async function createTable(url, name, rows) {
  await withClient(url, async (client) => {
    await client.query(`create table public.${name} (
      id bigint primary key, at timestamptz not null, machine int not null, value numeric(12,2), payload jsonb, note text)`);
    await client.query(`insert into public.${name}
      select i, '2026-01-01'::timestamptz + i * interval '1 second', i % 97, (random() * 1e6)::numeric(12,2),
             jsonb_build_object('machine', i % 97, 'serial', md5(i::text), 'value', random(), 'tags', array['a', 'b'],
                                'note', repeat('x', 30)),
             md5((i * 7)::text)
        from generate_series(1, ${rows}) as i`);
    await client.query(`vacuum (analyze) public.${name}`);
  });
}

/**
 * @param {string} folder
 * @param {{ uid: number, gid: number }} owner
 */
function emptyFolder(folder, owner) {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  fs.chownSync(folder, owner.uid, owner.gid);
  return folder;
}

/**
 * PostgreSQL and pgBackRest do not run as root.
 * @param {Program} program
 * @param {{ uid: number, gid: number }} owner
 * @returns {Program}
 */
function asUser(program, { uid, gid }) {
  if (process.getuid?.() !== 0) return program;
  const args = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', program.command, ...program.args];
  return { ...program, command: 'setpriv', args };
}

/**
 * A configuration with one store, empty, and the work directory beside it.
 * @param {Site} made
 * @param {string} name
 * @param {{ store?: string, backup?: string, wal?: string }} [options] lines of YAML
 */
export function writeBackupConfig(made, name, { store, backup = '', wal = '' } = {}) {
  const folder = made.folder(`store-${name}`);
  const config = path.join(made.dir, `${name}.yaml`);
  fs.writeFileSync(
    config,
    `stores:
  bench:
${store ?? `    url: file://${folder}`}
backup:
  workDirectory: ${made.folder(`work-${name}`)}
${backup}wal:
  spool: ${made.folder(`spool-${name}`)}
${wal}`,
  );
  return { config, folder };
}

/** How a peer's bytes are stored, and what the table calls it. @typedef {{ label: string, into: (name: string) => string }} PeerStore */

/**
 * What a careful person types to have a file whole and on the disk, as a file store of dbops has it.
 * @param {string} folder
 * @returns {PeerStore}
 */
export function fileStore(folder) {
  return {
    label: 'cat > tmp, sync, mv',
    into: (name) => {
      const file = path.join(folder, name);
      return `{ cat > '${file}.tmp' && sync '${file}.tmp' && mv '${file}.tmp' '${file}' && sync '${folder}'; }`;
    },
  };
}

/**
 * A store that speaks S3 on this host; peers upload by the AWS SDK in parts of 16 MB, two at once.
 * @param {Site} made
 */
export async function s3Store(made) {
  const s3 = await startS3ForBench(made.folder('s3'));
  const uploader = fileURLToPath(new URL('../lib/upload.mjs', import.meta.url));
  return {
    yaml: s3.yaml,
    stop: s3.stop,
    /** @type {PeerStore} */
    peer: {
      label: 'the AWS SDK in parts of 16 MB, two at once',
      into: (name) => `'${process.execPath}' '${uploader}' '${s3.endpoint}' '${s3.bucket}' '${name}'`,
    },
  };
}

/**
 * Says what the server archives its WAL with, and waits until it has archived some.
 * @param {Site} made
 * @param {string} command
 */
export async function archiveWith(made, command) {
  await withClient(made.server.url, async (client) => {
    await client.query(`alter system set archive_command = '${command.replaceAll("'", "''")}'`);
    await client.query('select pg_reload_conf()');
    // A call of the old command may still be going on.
    await sleep(1000);
    await client.query("select pg_create_restore_point('archived')");
    const { rows } = await client.query('select pg_walfile_name(pg_switch_wal()) as name');
    await waitForRow(client, 'select from pg_stat_archiver where last_archived_wal >= $1', [rows[0].name], {
      timeoutMs: 600_000,
      what: `${rows[0].name} in the archive`,
    });
  });
}

/**
 * pgBackRest with a repository on this disk and a stanza of the site's server: two processes, zstd at its own level.
 * @param {Site} made
 */
export function pgbackrestSite(made) {
  const { server, dir } = made;
  const lines = `pg1-port=${server.port}
pg1-socket-path=${server.socketDir}
pg1-user=${server.user}
`;
  return pgbackrestFor(made, dir, server.dataDir, lines);
}

/**
 * @param {Site} made
 * @param {string} dir for the configuration
 * @param {string} dataDir
 * @param {string} [lines] of the stanza
 */
export function pgbackrestFor(made, dir, dataDir, lines = '') {
  const found = spawnSync('pgbackrest', ['version'], { encoding: 'utf8' });
  if (found.status !== 0) throw new Error('pgbackrest is not installed');
  const config = path.join(dir, 'pgbackrest.conf');
  fs.writeFileSync(
    config,
    `[global]
repo1-path=${made.folder('pgbackrest-repository')}
repo1-retention-full=9999999
log-path=${made.folder('pgbackrest-log')}
lock-path=${made.folder('pgbackrest-lock')}
spool-path=${made.folder('pgbackrest-spool')}
process-max=2
compress-type=zst
start-fast=y
archive-async=y
log-level-console=error

[bench]
pg1-path=${dataDir}
${lines}`,
  );
  /** @param {string[]} args @returns {Program} */
  const program = (...args) =>
    made.asServer({ command: 'pgbackrest', args: [`--config=${config}`, '--stanza=bench', ...args] });
  return {
    program,
    version: found.stdout.trim(),
    push: `pgbackrest --config=${config} --stanza=bench archive-push %p`,
  };
}
