import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { startServer } from '../../scripts/lib/postgres-server.mjs';
import { withClient } from '../lib/database.mjs';
import { dbopsProgram } from '../lib/dbops.mjs';
import { median, runWatched, timeOnce } from '../lib/measure.mjs';
import { memoryFigure, shell } from './compare.mjs';
import { backupSite, createTable, pgbackrestFor, writeBackupConfig } from './site.mjs';

const PGBACKREST_TARGET = 0.8;
const SINGLE_TARGET = 5;
const BACKLOG = 128;
const SMALL_BACKLOG = 12;
/** One process a segment is the same for each: some of them tell the rate. */
const SINGLE_SHARE = 4;
const TABLE_ROWS = 120_000;

/** @typedef {import('../partition/index.mjs').Bench} Bench */
/** @typedef {import('./site.mjs').Site} Site */

/**
 * A backlog of full segments, archived as the archiver does it: one call a segment, in order. The server is not running,
 * so that nothing else takes the two cores.
 */
export const push = {
  name: 'push',
  /** @param {Bench} bench */
  async run(bench) {
    const site = await backupSite(bench);
    const count = bench.size === 'small' ? SMALL_BACKLOG : BACKLOG;
    const many = writeBackupConfig(site, 'push');
    const single = writeBackupConfig(site, 'push-single', { wal: '  ahead: 0\n' });
    const { dataDir, command } = await makeBacklog(site, count, [many, single]);
    const pgbackrest = pgbackrestFor(site, site.folder('push-peer'), dataDir);

    /** @type {Record<'ours' | 'single' | 'pgbackrest', number[]>} */
    const rates = { ours: [], single: [], pgbackrest: [] };
    let peakRssBytes = 0;
    for (let round = 0; round < bench.rounds; round += 1) {
      rates.ours.push(
        await rate(site, dataDir, count, command(many.config), [many.folder, site.folder('spool-push')]),
      );
      const share = Math.ceil(count / SINGLE_SHARE);
      rates.single.push(await rate(site, dataDir, share, command(single.config), [single.folder]));
      makeReady(dataDir);
      const fresh = pgbackrestFor(site, site.folder('push-peer'), dataDir);
      timeOnce(fresh.program('--no-online', 'stanza-create'));
      rates.pgbackrest.push(await rate(site, dataDir, count, fresh.push, []));
      peakRssBytes = Math.max(peakRssBytes, await memoryOf(site, dataDir, many));
    }
    const figure = (
      /** @type {string} */ peer,
      /** @type {number[]} */ others,
      /** @type {number} */ target,
    ) => {
      const ratio = median(rates.ours.map((own, round) => own / (others[round] ?? Number.NaN)));
      return {
        what: `wal push of a backlog of ${count} segments to a file store, against ${peer}`,
        target: `at least ${target} times`,
        measured: `${median(rates.ours).toFixed(1)} segments/s, theirs ${median(others).toFixed(1)}`,
        ratio: ratio.toFixed(2),
        met: ratio >= target,
      };
    };
    return [
      figure(
        `${pgbackrest.version} archive-push, asynchronous, two processes, zst`,
        rates.pgbackrest,
        PGBACKREST_TARGET,
      ),
      figure('one process of dbops a segment', rates.single, SINGLE_TARGET),
      memoryFigure('wal push with segments ahead', peakRssBytes),
    ];
  },
};

/**
 * What is in pg_wal of a server whose archive_command failed for a while, in a directory of its own, and the
 * archive_command that "dbops wal commands" prints. The stores know the cluster.
 * @param {Site} site
 * @param {number} count
 * @param {{ config: string }[]} configs
 */
async function makeBacklog(site, count, configs) {
  const server = await startServer({
    binDir: site.binDir,
    settings: {
      archive_mode: 'on',
      archive_command: 'exit 1',
      wal_level: 'replica',
      max_wal_size: '8GB',
      fsync: 'off',
      // Makes segments as full as those of a busy server.
      full_page_writes: 'on',
    },
  });
  try {
    await createTable(server.url, 'written', TABLE_ROWS);
    await withClient(server.url, async (client) => {
      for (;;) {
        await client.query("update public.written set note = md5(note), at = at + interval '1 second'");
        const { rows } = await client.query(
          "select count(*)::int as ready from pg_ls_dir('pg_wal/archive_status') as name where name like '%.ready'",
        );
        if (rows[0].ready >= count) break;
      }
    });
    const dataDir = path.join(site.folder('backlog'), 'data');
    await server.restart({
      whileStopped: () => {
        // A clean stop keeps what is not archived.
        timeOnce(
          shell(`mkdir '${dataDir}' && cp -a '${server.dataDir}'/{global,pg_wal,PG_VERSION} '${dataDir}'`),
        );
        timeOnce(shell(`chown --reference='${server.dataDir}' '${dataDir}' && chmod 700 '${dataDir}'`));
      },
    });
    /** @type {Map<string, string>} */
    const commands = new Map();
    for (const { config } of configs) {
      commands.set(config, await archiveCommandOf(site, dataDir, config));
      keep(config);
    }
    return { dataDir, command: (/** @type {string} */ config) => commands.get(config) ?? '' };
  } finally {
    await server.stop({ immediate: true });
  }
}

/** @param {string} config */
function keep(config) {
  const folder = storeOf(config);
  timeOnce(shell(`rm -rf '${folder}.registered' && cp -a '${folder}' '${folder}.registered'`));
}

/** @param {string} config */
function storeOf(config) {
  return path.join(path.dirname(config), `store-${path.basename(config, '.yaml')}`);
}

/**
 * What "dbops wal commands" prints for archive_command; it registers the cluster in the store, too.
 * @param {Site} site
 * @param {string} dataDir
 * @param {string} config
 */
async function archiveCommandOf(site, dataDir, config) {
  const program = dbopsProgram(['wal', 'commands', '--data-dir', dataDir, '--json'], { config });
  const { code, stdout, stderr } = await runWatched(site.asServer(program));
  if (code !== 0) throw new Error(`dbops wal commands: ${stderr.trim()}`);
  /** @type {{ name: string, value: string }[]} */
  const settings = JSON.parse(stdout).data.settings;
  const line = settings.find(({ name }) => name === 'archive_command')?.value;
  if (line === undefined) throw new Error('"dbops wal commands" has no archive_command');
  return line;
}

/** Every segment is to be archived again. @param {string} dataDir */
function makeReady(dataDir) {
  const status = path.join(dataDir, 'pg_wal', 'archive_status');
  for (const name of fs.readdirSync(status)) {
    if (!name.endsWith('.done')) continue;
    fs.renameSync(path.join(status, name), path.join(status, name.replace(/done$/, 'ready')));
  }
}

/**
 * Segments a second.
 * @param {Site} site
 * @param {string} dataDir
 * @param {number} count
 * @param {string} command
 * @param {string[]} folders stores, brought back to what they were when the cluster was registered, and empty spools
 */
async function rate(site, dataDir, count, command, folders) {
  makeReady(dataDir);
  for (const folder of folders) restoreFolder(folder);
  const archiver = fileURLToPath(new URL('../lib/archiver.mjs', import.meta.url));
  const program = { command: process.execPath, args: [archiver, dataDir, String(count), command] };
  const { command: run, args, env } = site.asServer(program);
  const result = spawnSync(run, args, { env: { ...process.env, ...env }, encoding: 'utf8' });
  if (result.status !== 0)
    throw new Error(
      result.stderr
        .trim()
        .split('\n')
        .find((line) => line.includes('Error:')),
    );
  const { segments, ms } = JSON.parse(result.stdout);
  if (segments < count) throw new Error(`only ${segments} of ${count} segments were ready`);
  return (segments / ms) * 1000;
}

/** @param {string} folder */
function restoreFolder(folder) {
  if (!fs.existsSync(`${folder}.registered`)) return;
  timeOnce(shell(`rm -rf '${folder}' && cp -a '${folder}.registered' '${folder}'`));
}

/**
 * One call that pushes ahead.
 * @param {Site} site
 * @param {string} dataDir
 * @param {{ config: string, folder: string }} store
 */
async function memoryOf(site, dataDir, { config, folder }) {
  makeReady(dataDir);
  restoreFolder(folder);
  site.folder('spool-push');
  const status = path.join(dataDir, 'pg_wal', 'archive_status');
  const [first = ''] = fs.readdirSync(status).sort();
  const program = dbopsProgram(['wal', 'push', `pg_wal/${first.replace(/\.ready$/, '')}`], { config });
  const result = await runWatched(site.asServer({ ...program, cwd: dataDir }));
  if (result.code !== 0) throw new Error(`dbops wal push: ${result.stderr.trim()}`);
  return result.peakRssBytes;
}
