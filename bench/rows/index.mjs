// The figures of `dbops rows`: batches against the single statement that does the same.
import fs from 'node:fs';
import path from 'node:path';
import { open, withClient } from '../lib/database.mjs';
import { runDbops } from '../lib/dbops.mjs';
import { median, timeOnce } from '../lib/measure.mjs';
import { milliseconds } from '../lib/report.mjs';

const ROWS = 2_000_000;
const OLD = ROWS / 2;
const TARGET_SHARE = 0.7;
const TARGET_MS = 250;
/** How much slower a row may be at the end than at the beginning for batches to be called flat. */
const FLAT = 1.5;
const condition = `created_at < timestamptz '2026-01-01 00:00:00+00'`;

const single = {
  purge: `delete from public.events where ${condition}`,
  move: `with gone as (delete from public.events where ${condition} returning *) insert into public.events_archive select * from gone`,
};

/** @typedef {import('../partition/index.mjs').Bench} Bench */
/** @typedef {'purge' | 'move'} Verb */
/** @typedef {{ changed: number, milliseconds: number }} Batch */

/** In the order of the table. @type {import('../partition/index.mjs').Measurement[]} */
export const measurements = [
  { name: 'purge', run: (bench) => against(bench, 'purge') },
  { name: 'move', run: (bench) => against(bench, 'move') },
  { name: 'snapshot', run: flatness },
];

/**
 * @param {Bench} bench
 * @param {Verb} verb
 */
async function against(bench, verb) {
  const base = await createBase(bench, `rows_${verb}`);
  /** @type {{ dbopsMs: number, singleMs: number, batches: Batch[] }[]} */
  const rounds = [];
  for (let round = 0; round < bench.rounds; round += 1) {
    const singleMs = await onClone(bench, base, `rows_${verb}_single`, async (url) =>
      timeOnce({ command: bench.psql, args: ['-X', '-v', 'ON_ERROR_STOP=1', '-c', single[verb], url] }),
    );
    const ours = await onClone(bench, base, `rows_${verb}_dbops`, (url) => runVerb(bench, url, verb));
    rounds.push({ singleMs, dbopsMs: ours.milliseconds, batches: ours.batches });
  }
  await bench.drop(base);
  const share = median(rounds.map(({ dbopsMs, singleMs }) => singleMs / dbopsMs));
  const ours = median(rounds.map(({ dbopsMs }) => dbopsMs));
  const alone = median(rounds.map(({ singleMs }) => singleMs));
  const engine = median(
    rounds.map(
      ({ batches, singleMs }) => singleMs / batches.reduce((sum, batch) => sum + batch.milliseconds, 0),
    ),
  );
  const times = rounds.flatMap(({ batches }) => batches.map((batch) => batch.milliseconds));
  const p99 = percentile(times, 0.99);
  const what = `rows ${verb} of ${OLD.toLocaleString('en')} of ${ROWS.toLocaleString('en')} rows`;
  return [
    {
      what: `${what}, against the single statement`,
      target: `at least ${TARGET_SHARE} of its rows/s`,
      measured: `${perSecond(ours)}, single statement ${perSecond(alone)}`,
      ratio: share.toFixed(2),
      met: share >= TARGET_SHARE,
    },
    {
      what: `${what}, the batches alone, without the start of the program and its plan`,
      target: '-',
      measured: `${times.length} batches in ${rounds.length} rounds`,
      ratio: engine.toFixed(2),
    },
    {
      what: `${what}, time of a batch`,
      target: `p99 under ${TARGET_MS} ms`,
      measured: `p50 ${milliseconds(median(times))}, p99 ${milliseconds(p99)}, longest ${milliseconds(Math.max(...times))}`,
      met: p99 < TARGET_MS,
    },
  ];
}

/**
 * What earlier batches left dead cannot be removed while somebody reads as of before; a loop that begins at the start
 * reads all of it again each time.
 * @param {Bench} bench
 */
async function flatness(bench) {
  const base = await createBase(bench, 'rows_snapshot');
  const reader = await open(base);
  await reader.query('begin isolation level repeatable read');
  await reader.query('select count(*) from public.events where id < 10');
  const { batches } = await runVerb(bench, base, 'purge', ['--batch-size', '5000']);
  await reader.query('rollback');
  await reader.end();
  await bench.drop(base);
  const full = batches.filter((batch) => batch.changed > 1000);
  const quarter = Math.floor(full.length / 4);
  const cost = (/** @type {Batch[]} */ list) =>
    median(list.map((batch) => (batch.milliseconds / batch.changed) * 5000));
  const [first, last] = [cost(full.slice(0, quarter)), cost(full.slice(-quarter))];
  return [
    {
      what: 'rows purge while an old snapshot is open: 5,000 rows in the first quarter and in the last',
      target: `flat: at most ${FLAT} times`,
      measured: `${milliseconds(first)}, then ${milliseconds(last)}`,
      ratio: (last / first).toFixed(2),
      met: last / first <= FLAT,
    },
  ];
}

/**
 * @param {Bench} bench
 * @param {string} url
 * @param {Verb} verb
 * @param {string[]} more
 */
async function runVerb(bench, url, verb, more = []) {
  const config = path.join(bench.dir, 'rows.yaml');
  fs.writeFileSync(config, 'rows: {}\n');
  const to = verb === 'move' ? ['--to', 'public.events_archive'] : [];
  const args = [
    'rows',
    verb,
    'public.events',
    ...to,
    '--where',
    condition,
    '--yes',
    '-v',
    '--log-format',
    'json',
  ];
  const result = await runDbops([...args, ...more], { url, config });
  /** @type {Batch[]} */
  const batches = result.stderr
    .split('\n')
    .filter((line) => line.includes('"event":"rows_batch_done"'))
    .map((line) => JSON.parse(line));
  return { milliseconds: result.milliseconds, batches };
}

/**
 * @template T
 * @param {Bench} bench
 * @param {string} base
 * @param {string} name
 * @param {(url: string) => Promise<T>} work
 */
async function onClone(bench, base, name, work) {
  const url = await bench.clone(base, name);
  try {
    await withClient(url, (client) => client.query('checkpoint'));
    return await work(url);
  } finally {
    await bench.drop(url);
  }
}

/**
 * Both sides write into an archive table with a primary key, which is there already.
 * @param {Bench} bench
 * @param {string} name
 */
async function createBase(bench, name) {
  const url = await bench.emptyDatabase(name);
  await withClient(url, async (client) => {
    await client.query('set synchronous_commit to off');
    await client.query(`
      create table public.events (
        id bigint primary key, created_at timestamptz not null, status text not null, payload jsonb not null);
      insert into public.events
        select n, timestamptz '2026-01-01 00:00:00+00' + (n - ${OLD} - 1) * interval '1 second', 'PUBLISHED',
               jsonb_build_object('n', n, 'text', repeat('x', 60))
          from generate_series(1, ${ROWS}) as n;
      create table public.events_archive (like public.events, primary key (id))`);
    await client.query('vacuum analyze public.events');
  });
  return url;
}

/**
 * @param {number[]} values
 * @param {number} share
 */
function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? Number.NaN;
}

/** @param {number} ms */
function perSecond(ms) {
  return `${Math.round(OLD / (ms / 1000)).toLocaleString('en')} rows/s (${milliseconds(ms)})`;
}
