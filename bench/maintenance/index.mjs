// The figures of `dbops maintenance`: among 10,000 tables those that need it, against all of them.
import path from 'node:path';
import { withClient } from '../lib/database.mjs';
import { runDbops } from '../lib/dbops.mjs';
import { median, timeOnce } from '../lib/measure.mjs';
import { seconds } from '../lib/report.mjs';
import { createTables } from '../lib/tables.mjs';

const TABLES = 10_000;
const SMALL_TABLES = 400;
const NEEDY = 20;
/** Rows that each of those loses before a round: far beyond the line of a table of some rows. */
const DEAD_ROWS = 2000;
const TARGET = 0.1;

/** @typedef {import('../partition/index.mjs').Bench} Bench */

/** In the order of the table. @type {import('../partition/index.mjs').Measurement[]} */
export const measurements = [{ name: 'vacuum', run: vacuum }];

/** @param {Bench} bench */
async function vacuum(bench) {
  const tables = bench.size === 'small' ? SMALL_TABLES : TABLES;
  const url = await bench.emptyDatabase('maintenance');
  await createTables(url, tables);
  const everything = {
    command: path.join(bench.binDir, 'vacuumdb'),
    args: ['--analyze', '--quiet', '--dbname', url],
    env: {},
  };
  // Autovacuum would do the work of both between the rounds.
  await setAutovacuum(url, 'off');
  try {
    // The first run creates the schema that keeps the history.
    await makeNeedy(url, tables);
    await vacuumNeedy(url);
    /** @type {number[]} */
    const ours = [];
    /** @type {number[]} */
    const theirs = [];
    for (let round = 0; round < bench.rounds; round += 1) {
      await makeNeedy(url, tables);
      ours.push(await vacuumNeedy(url));
      await makeNeedy(url, tables);
      theirs.push(timeOnce(everything));
    }
    const ratio = median(ours.map((ms, round) => ms / (theirs[round] ?? Number.NaN)));
    return [
      {
        what: `maintenance vacuum among ${tables.toLocaleString('en')} tables of which ${NEEDY} need it, against vacuumdb --analyze of all`,
        target: `at most ${TARGET} times, the ${NEEDY} done`,
        measured: `${seconds(median(ours))}, theirs ${seconds(median(theirs))}, all ${NEEDY} done`,
        ratio: ratio.toFixed(2),
        met: ratio <= TARGET,
      },
    ];
  } finally {
    await setAutovacuum(url, 'on');
  }
}

/**
 * @param {string} url
 * @param {'on' | 'off'} value
 */
async function setAutovacuum(url, value) {
  await withClient(url, async (client) => {
    await client.query(`alter system set autovacuum = ${value}`);
    await client.query('select pg_reload_conf()');
  });
}

/**
 * Kills rows of some tables spread over all of them, and tidies the catalogs, which VACUUM of all leaves with dead rows.
 * @param {string} url
 * @param {number} tables
 */
async function makeNeedy(url, tables) {
  await withClient(url, async (client) => {
    for (let n = 1; n <= NEEDY; n += 1) {
      const table = `public.measured_${(n * tables) / NEEDY}`;
      await client.query(
        `insert into ${table} (at, machine) select now(), -g from generate_series(1, ${DEAD_ROWS}) as g`,
      );
      await client.query(`delete from ${table} where machine < 0`);
    }
    const { rows } = await client.query(
      "select oid::regclass::text as name from pg_class where relkind = 'r' and relnamespace = 'pg_catalog'::regnamespace",
    );
    for (const { name } of rows) await client.query(`vacuum analyze ${name}`);
  });
}

/**
 * Milliseconds of a run. Throws when it has not done all that need it.
 * @param {string} url
 */
async function vacuumNeedy(url) {
  const run = await runDbops(['maintenance', 'vacuum', '--json'], { url, config: '/dev/null' });
  /** @type {{ data: { tasks: { object: string, outcome: string }[] } }} */
  const { data } = JSON.parse(run.stdout);
  const done = data.tasks.filter(
    ({ object, outcome }) => object.startsWith('public.measured_') && outcome === 'done',
  );
  const [left] = await withClient(url, async (client) => {
    const { rows } = await client.query(
      "select count(*)::int as count from pg_stat_user_tables where relname like 'measured%' and n_dead_tup > 0",
    );
    return /** @type {{ count: number }[]} */ (rows);
  });
  if (done.length !== NEEDY || left?.count !== 0)
    throw new Error(`${done.length} of ${NEEDY} were vacuumed, and ${left?.count} still have dead rows`);
  return run.milliseconds;
}
