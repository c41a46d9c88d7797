// The figures of `dbops health`, on a database of 10,000 tables and 30,000 indexes.
import { spawnSync } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { dbopsProgram, runDbops } from '../lib/dbops.mjs';
import { median, runWatched } from '../lib/measure.mjs';
import { megabytes, milliseconds, seconds } from '../lib/report.mjs';
import { createTables, indexesEach } from '../lib/tables.mjs';
import { stall } from './stall.mjs';

const TABLES = 10_000;
const SMALL_TABLES = 400;
/** What may not be exceeded by the whole process. */
const TARGET_MS = 1500;
const TARGET_BYTES = 150e6;
const STATEMENT_TARGET_MS = 500;
const PEER_TARGET = 0.2;
/** Questions about things outside of the server, which no peer asks either. */
const OUTSIDE = 'backups,partitions,disk,jobs';

/** The actions of check_postgres that ask what checks of ours ask. Thresholds keep them from failing the run. */
const PEER_ACTIONS = [
  ['backends', '--warning=99%', '--critical=100%'],
  ['txn_idle', '--warning=1h', '--critical=2h'],
  ['txn_time', '--warning=1h', '--critical=2h'],
  ['query_time', '--warning=1h', '--critical=2h'],
  ['prepared_txns', '--warning=1h', '--critical=2h'],
  ['locks', '--warning=100000', '--critical=200000'],
  ['txn_wraparound'],
  ['autovac_freeze'],
  ['hitratio', '--warning=1%', '--critical=0%'],
  ['archive_ready', '--warning=10000', '--critical=20000'],
  ['replication_slots', '--warning=100GB', '--critical=200GB'],
  ['last_vacuum', '--warning=100d', '--critical=200d'],
  ['last_analyze', '--warning=100d', '--critical=200d'],
  ['bloat', '--warning=100GB', '--critical=200GB'],
  ['sequence'],
  ['database_size', '--warning=1TB', '--critical=2TB'],
  ['relation_size', '--warning=1TB', '--critical=2TB'],
  ['disabled_triggers'],
];

/** @typedef {import('../partition/index.mjs').Bench} Bench */

/** In the order of the table. @type {import('../partition/index.mjs').Measurement[]} */
export const measurements = [{ name: 'health', run: health }, stall];

/** @param {Bench} bench */
async function health(bench) {
  const tables = bench.size === 'small' ? SMALL_TABLES : TABLES;
  const url = await bench.emptyDatabase('health');
  await createTables(url, tables);
  // Findings are a result.
  const args = ['health', '--profile', 'weekly', '--skip', OUTSIDE];
  const options = { url, config: '/dev/null', codes: [0, 6] };
  await runDbops(args, options);
  const hasPeer = spawnSync('check_postgres', ['--version']).status === 0;
  /** @type {number[]} */
  const ours = [];
  /** @type {number[]} */
  const theirs = [];
  let peakRssBytes = 0;
  for (let round = 0; round < bench.rounds; round += 1) {
    const run = await runDbops(args, options);
    ours.push(run.milliseconds);
    peakRssBytes = Math.max(peakRssBytes, run.peakRssBytes);
    if (hasPeer) theirs.push(await checkPostgres(url));
  }
  const statement = await slowestStatement(url, args);
  const what = `health --profile weekly on ${tables.toLocaleString('en')} tables and ${(tables * indexesEach).toLocaleString('en')} indexes`;
  const wall = median(ours);
  const ratio = median(ours.map((ms, round) => ms / (theirs[round] ?? Number.NaN)));
  return [
    {
      what: `${what}, whole process`,
      target: `under ${seconds(TARGET_MS)}`,
      measured: seconds(wall),
      met: wall < TARGET_MS,
    },
    {
      what: `peak memory of dbops itself: ${what}`,
      target: `under ${megabytes(TARGET_BYTES)}`,
      measured: megabytes(peakRssBytes),
      met: peakRssBytes < TARGET_BYTES,
    },
    {
      what: `the slowest statement of it: ${statement.tag}`,
      target: `at most ${milliseconds(STATEMENT_TARGET_MS)}`,
      measured: milliseconds(statement.ms),
      met: statement.ms <= STATEMENT_TARGET_MS,
    },
    hasPeer
      ? {
          what: `${what}, against check_postgres once for each of ${PEER_ACTIONS.length} actions`,
          target: `at most ${PEER_TARGET} times`,
          measured: `${seconds(wall)}, theirs ${seconds(median(theirs))}`,
          ratio: ratio.toFixed(2),
          met: ratio <= PEER_TARGET,
        }
      : {
          what: `${what}, against check_postgres`,
          target: `at most ${PEER_TARGET} times`,
          measured: 'check_postgres is not installed (apt-get install check-postgres)',
        },
  ];
}

/**
 * Milliseconds for all actions, one process each, as monitoring runs them. What they find is of no interest.
 * @param {string} url
 */
async function checkPostgres(url) {
  const { hostname, port, username, pathname } = new URL(url);
  const place = [
    `--host=${hostname}`,
    `--port=${port}`,
    `--dbuser=${username}`,
    `--dbname=${pathname.slice(1)}`,
  ];
  let ms = 0;
  for (const [action, ...limits] of PEER_ACTIONS) {
    const started = performance.now();
    spawnSync('check_postgres', [`--action=${action}`, ...limits, ...place], { stdio: 'ignore' });
    ms += performance.now() - started;
  }
  return ms;
}

/**
 * As -v says it.
 * @param {string} url
 * @param {string[]} args
 */
async function slowestStatement(url, args) {
  const { stderr } = await runWatched(dbopsProgram([...args, '-v'], { url, config: '/dev/null' }));
  const statements = [...stderr.matchAll(/(\d+\.\d) ms(?: \(failed\))?: \/\* (dbops:[\w.-]+) \*\//g)].map(
    ([, ms, tag]) => ({ ms: Number(ms), tag: tag ?? '' }),
  );
  const [slowest] = statements.sort((a, b) => b.ms - a.ms);
  if (slowest === undefined) throw new Error('-v shows no statements');
  return slowest;
}
