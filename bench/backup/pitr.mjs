import fs from 'node:fs';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { projectRoot } from '../../scripts/lib/run.mjs';
import { withClient } from '../lib/database.mjs';
import { dbopsProgram } from '../lib/dbops.mjs';
import { runWatched, timeOnce } from '../lib/measure.mjs';
import { freePort } from '../lib/s3.mjs';
import { inTurns, memoryFigure, ratioFigure, shell } from './compare.mjs';
import { archiveWith, backupSite, pgbackrestSite, writeBackupConfig } from './site.mjs';

const TARGET = 1.1;
const SEGMENTS = 40;
const SMALL_SEGMENTS = 4;

/** @typedef {import('../partition/index.mjs').Bench} Bench */
/** @typedef {import('./site.mjs').Site} Site */

/**
 * From nothing to a server that takes writes, with the same WAL to replay. Both archives are on this disk; pgBackRest
 * restores with two processes and fetches WAL ahead.
 */
export const pitr = {
  name: 'pitr',
  /** @param {Bench} bench */
  async run(bench) {
    const site = await backupSite(bench);
    const pgbackrest = pgbackrestSite(site);
    timeOnce(pgbackrest.program('stanza-create'));
    const { config } = writeBackupConfig(site, 'pitr');
    const { url } = site;
    await runAsServer(site, ['wal', 'commands'], config);
    const entry = path.join(projectRoot, 'bin', 'dbops.js');
    const ours = `${process.execPath} ${entry} wal push %p --config ${config}`;
    await archiveWith(site, `${pgbackrest.push} && ${ours}`);
    timeOnce(pgbackrest.program('--type=full', '--no-expire-auto', 'backup'));
    await runAsServer(site, ['backup', 'create', '--kind', 'base'], config);
    const segments = await writeWal(url, bench.size === 'small' ? SMALL_SEGMENTS : SEGMENTS);
    await archiveWith(site, `${pgbackrest.push} && ${ours}`);

    const times = await inTurns(bench.rounds, () => restoreByDbops(site, config), {
      pgbackrest: () => restoreByPgbackrest(site, pgbackrest),
    });
    const what = `restore pitr --to latest, to a server that takes writes, ${segments} segments to replay`;
    return [
      ratioFigure(
        `${what}, against ${pgbackrest.version} restore and archive-get, two processes`,
        times.ours,
        times.others.pgbackrest,
        TARGET,
      ),
      memoryFigure('restore pitr', times.peakRssBytes),
    ];
  },
};

/**
 * @param {Site} site
 * @param {string[]} args
 * @param {string} config
 */
async function runAsServer(site, args, config) {
  const result = await runWatched(site.asServer(dbopsProgram(args, { url: site.url, config })));
  if (result.code !== 0) throw new Error(`dbops ${args.join(' ')}: ${result.stderr.trim()}`);
  return result;
}

/**
 * Updates rows until so many segments were written.
 * @param {string} url
 * @param {number} wanted
 */
async function writeWal(url, wanted) {
  return await withClient(url, async (client) => {
    const { rows } = await client.query('select pg_current_wal_lsn() as lsn');
    for (let round = 0; ; round += 1) {
      await client.query('update public.measured_3 set note = md5(note) where id % 40 = $1', [round % 40]);
      const { rows: written } = await client.query(
        'select (pg_wal_lsn_diff(pg_current_wal_lsn(), $1) / (16 * 1024 * 1024))::int as segments',
        [rows[0].lsn],
      );
      if (written[0].segments >= wanted) return /** @type {number} */ (written[0].segments);
    }
  });
}

/**
 * @param {Site} site
 * @param {string} config
 */
async function restoreByDbops(site, config) {
  const target = emptyTarget(site);
  const args = ['restore', 'pitr', '--to', 'latest', '--data-dir', target, '--start', '--yes', '--json'];
  args.push('--port', String(await freePort()));
  const { milliseconds, peakRssBytes, stdout } = await runAsServer(site, args, config);
  await endServer(site, target);
  return { ms: milliseconds, peakRssBytes, stdout };
}

/**
 * @param {Site} site
 * @param {ReturnType<typeof pgbackrestSite>} pgbackrest
 */
async function restoreByPgbackrest(site, pgbackrest) {
  const target = emptyTarget(site);
  const port = await freePort();
  const started = performance.now();
  timeOnce(pgbackrest.program(`--pg1-path=${target}`, '--archive-mode=off', 'restore'));
  const options = `-p ${port} -k ${target} -c listen_addresses=127.0.0.1 -c hot_standby=off`;
  const start = `'${site.binDir}/pg_ctl' -D '${target}' -o '${options}' -l '${target}/log' -W start`;
  timeOnce(site.asServer(shell(start)));
  // pg_ctl -w takes a server in recovery for one that is there.
  await untilReady(target);
  const ms = performance.now() - started;
  await endServer(site, target);
  return ms;
}

/**
 * What dbops waits for, too: the server says so in this file, which is there as long as it runs.
 * @param {string} target
 */
async function untilReady(target) {
  const file = path.join(target, 'postmaster.pid');
  for (let asked = 0; ; asked += 1) {
    const lines = fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n') : [];
    if (lines[7]?.trim() === 'ready') return;
    if (lines.length === 0 && asked > 500) throw new Error(`no server runs in ${target}`);
    await sleep(20);
  }
}

/** @param {Site} site */
function emptyTarget(site) {
  return path.join(site.folder('pitr-target'), 'data');
}

/**
 * @param {Site} site
 * @param {string} target
 */
async function endServer(site, target) {
  timeOnce(site.asServer(shell(`'${site.binDir}/pg_ctl' -D '${target}' -m immediate -w stop`)));
  await sleep(200);
  fs.rmSync(target, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}
