import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { countPartitions, withClient } from '../lib/database.mjs';
import { dbopsProgram, runDbops, writeConfig } from '../lib/dbops.mjs';
import { median, runWatched, timeOnce } from '../lib/measure.mjs';
import { createPartmanSets, maintenanceProgram } from '../lib/partman.mjs';
import { megabytes, milliseconds, seconds } from '../lib/report.mjs';

const FEW = { partitionsEach: 6, ratioTarget: 1.5 };
const MANY = { tables: 200, partitionsEach: 40, rssTarget: 120e6 };

/** The partitions of the example for half a year, against pg_partman on the same database. */
export const create = {
  name: 'create',
  /** @param {import('./index.mjs').Bench} bench */
  async run({ rounds, example, clone, drop, dir, psql, partmanVersion }) {
    if (partmanVersion === null) return [notMeasured('creating 15 x 6 partitions, against pg_partman')];
    const template = await example('create_template', { rows: 0 });
    const sets = await monthlySets(template);
    await createPartmanSets(template, sets, { interval: 'monthly', premake: FEW.partitionsEach });
    const before = await countPartitions(template);
    const config = writeConfig(path.join(dir, 'create.yaml'), {
      tables: sets.map(({ table }) => table),
      key: (table) => sets.find((set) => set.table === table)?.key ?? '',
      interval: 'month',
      premake: FEW.partitionsEach + 1,
      naming: '{table}_p{yyyy}_{mm}',
    });
    /** @type {{ dbops: number[], partman: number[] }} */
    const times = { dbops: [], partman: [] };
    for (let round = 0; round < Math.min(rounds, 7); round += 1) {
      // Who goes first takes turns as well: the second finds a warmer cache.
      const order =
        round % 2 === 0
          ? /** @type {const} */ (['dbops', 'partman'])
          : /** @type {const} */ (['partman', 'dbops']);
      for (const who of order) {
        const url = await clone(template, 'create_one');
        const program =
          who === 'dbops'
            ? dbopsProgram(['partition', 'ensure'], { url, config })
            : maintenanceProgram(psql, url);
        times[who].push(timeOnce(program));
        const made = (await countPartitions(url)) - before;
        const wanted = sets.length * FEW.partitionsEach;
        if (made !== wanted) throw new Error(`${who} made ${made} partitions instead of ${wanted}`);
        await drop(url);
      }
    }
    const ratio = median(times.dbops.map((ms, round) => ms / (times.partman[round] ?? Number.NaN)));
    return [
      {
        what: "creating 15 x 6 partitions, against pg_partman's run_maintenance_proc (psql included)",
        target: `at most ${FEW.ratioTarget} times`,
        measured: `${milliseconds(median(times.dbops))}, pg_partman ${milliseconds(median(times.partman))}`,
        ratio: ratio.toFixed(2),
        met: ratio <= FEW.ratioTarget,
      },
    ];
  },
};

/** More partitions than the lock table has room for in one transaction. */
export const createMany = {
  name: 'create-many',
  /** @param {import('./index.mjs').Bench} bench */
  async run({ emptyDatabase, clone, drop, dir, psql, partmanVersion }) {
    const template = await emptyDatabase('create_many');
    const sets = Array.from({ length: MANY.tables }, (_, number) => ({
      table: `events_${number + 1}`,
      key: 'at',
    }));
    await createParents(template, sets);
    const premake = MANY.partitionsEach + 1;
    if (partmanVersion === null) await createCurrentPartitions(template, sets);
    else await createPartmanSets(template, sets, { interval: 'daily', premake: MANY.partitionsEach - 1 });
    const config = writeConfig(path.join(dir, 'create-many.yaml'), {
      tables: sets.map(({ table }) => table),
      key: () => 'at',
      interval: 'day',
      premake,
      naming: '{table}_p{yyyy}_{mm}_{dd}',
    });
    const url = await clone(template, 'create_many_dbops');
    const before = await countPartitions(url);
    const result = await runDbops(['partition', 'ensure'], { url, config, codes: [0, 1, 2, 3, 4, 5, 7] });
    const made = (await countPartitions(url)) - before;
    await drop(url);
    const wanted = MANY.tables * MANY.partitionsEach;
    const figure = {
      what: `creating ${MANY.tables} x ${MANY.partitionsEach} daily partitions, max_locks_per_transaction at its default`,
      target: `succeeds, peak RSS under ${megabytes(MANY.rssTarget)}`,
      measured: `${made} made in ${seconds(result.milliseconds)}, exit ${result.code}, peak RSS ${megabytes(result.peakRssBytes)}`,
      met: result.code === 0 && made >= wanted && result.peakRssBytes < MANY.rssTarget,
    };
    if (result.code !== 0) figure.measured += `: ${result.stderr.trim().split('\n').at(-1)}`;
    if (partmanVersion === null) return [figure, notMeasured('the same by pg_partman')];
    return [figure, ...(await partmanFigures({ template, before, clone, drop, psql }))];
  },
};

/**
 * pg_partman has two ways: a procedure that commits after each table, and a function that does not.
 * @param {Pick<import('./index.mjs').Bench, 'clone' | 'drop' | 'psql'> & { template: string, before: number }} bench
 */
async function partmanFigures({ template, before, clone, drop, psql }) {
  const figures = [];
  for (const form of /** @type {const} */ (['run_maintenance_proc', 'run_maintenance'])) {
    const url = await clone(template, 'create_many_partman');
    const started = performance.now();
    const { code, stderr } = await runWatched(maintenanceProgram(psql, url, form));
    const took = performance.now() - started;
    const made = (await countPartitions(url)) - before;
    const words = stderr.split('\n').find((line) => line.includes('ERROR')) ?? '';
    figures.push({
      what: `the same by pg_partman's ${form}`,
      target: '-',
      measured: `${made} made in ${seconds(took)}, exit ${code}${words === '' ? '' : `: ${words.trim()}`}`,
    });
    await drop(url);
  }
  return figures;
}

/** @param {string} what */
function notMeasured(what) {
  return { what, target: '-', measured: 'not measured: pg_partman is not installed' };
}

/**
 * The tables of the example without their partitions, all by month: pg_partman sets them up anew.
 * @param {string} url
 * @returns {Promise<{ table: string, key: string }[]>}
 */
async function monthlySets(url) {
  return withClient(url, async (client) => {
    const { rows: children } = await client.query(
      `select c.oid::regclass::text as name from pg_inherits i
         join pg_class c on c.oid = i.inhrelid and c.relispartition and c.relkind = 'r'`,
    );
    for (const { name } of children) await client.query(`drop table ${name}`);
    const { rows } = await client.query(
      `select c.relname as table, a.attname as key from pg_partitioned_table p
         join pg_class c on c.oid = p.partrelid
         join pg_attribute a on a.attrelid = c.oid and a.attnum = p.partattrs[0]
        order by 1`,
    );
    return rows;
  });
}

/**
 * @param {string} url
 * @param {{ table: string }[]} sets
 */
async function createParents(url, sets) {
  await withClient(url, async (client) => {
    for (const { table } of sets) {
      await client.query(
        `create table public.${table} (
           id bigint not null, at timestamptz not null, payload text, primary key (id, at)
         ) partition by range (at)`,
      );
    }
  });
}

/**
 * Today and tomorrow, where there is no pg_partman to make them.
 * @param {string} url
 * @param {{ table: string }[]} sets
 */
async function createCurrentPartitions(url, sets) {
  await withClient(url, async (client) => {
    await client.query("set timezone to 'UTC'");
    const { rows } = await client.query(
      `select to_char(day, 'YYYY_MM_DD') as suffix, day::text as from, (day + 1)::text as to
         from (values (current_date), (current_date + 1)) as days (day)`,
    );
    for (const { table } of sets) {
      for (const { suffix, from, to } of rows) {
        await client.query(
          `create table public.${table}_p${suffix} partition of public.${table} for values from ('${from}') to ('${to}')`,
        );
      }
    }
  });
}
