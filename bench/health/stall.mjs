// How long a writer stands still beside an index that is created or rebuilt, and a view that is refreshed: by dbops, and by
// the bare statement that it sends.
import { withClient } from '../lib/database.mjs';
import { runDbops } from '../lib/dbops.mjs';
import { runWatched } from '../lib/measure.mjs';
import { milliseconds } from '../lib/report.mjs';
import { longestStall } from '../lib/stall.mjs';

const ROWS = 1_000_000;
const SMALL_ROWS = 50_000;
const READER_SECONDS = 6;
/** Beyond what the statement of PostgreSQL causes by itself. */
const TARGET_MS = 250;

/**
 * @typedef {object} Work
 * @property {string[]} command of dbops
 * @property {string} statement the same by psql
 * @property {string} [undo] afterwards, so that the next run has it to do again
 */

/** @type {Record<string, Work>} */
const works = {
  'index create': {
    command: ['index', 'create', '--table', 'public.orders', '--columns', 'customer,note'],
    statement: 'create index concurrently orders_customer_note_idx on public.orders (customer, note)',
    undo: 'drop index public.orders_customer_note_idx',
  },
  'maintenance reindex': {
    command: ['maintenance', 'reindex', '--index', 'public.orders_customer_idx'],
    statement: 'reindex index concurrently public.orders_customer_idx',
  },
  'maintenance refresh': {
    command: ['maintenance', 'refresh', 'public.totals'],
    statement: 'refresh materialized view concurrently public.totals',
  },
};

/** A writer that also reads the view, so that a refresh that keeps readers out shows as well. */
const write = {
  text: `with one as (select number from public.totals where customer = $1)
    insert into public.orders (customer, note) select $1, 'bench ' || coalesce((select number from one), 0)`,
  values: () => [Math.ceil(Math.random() * 1000)],
};

export const stall = {
  name: 'stall',
  /** @param {import('../partition/index.mjs').Bench} bench */
  async run(bench) {
    const url = await bench.emptyDatabase('health_stall');
    await createTable(url, bench.size === 'small' ? SMALL_ROWS : ROWS);
    const figures = [];
    for (const [name, work] of Object.entries(works))
      figures.push(...(await compare(bench, url, name, work)));
    return figures;
  },
};

/**
 * In turns, so that a slow moment of the machine meets both.
 * @param {import('../partition/index.mjs').Bench} bench
 * @param {string} url
 * @param {string} name
 * @param {Work} work
 */
async function compare({ rounds, psql }, url, name, { command, statement, undo }) {
  /** @type {import('../lib/stall.mjs').Stall[]} */
  const ours = [];
  /** @type {import('../lib/stall.mjs').Stall[]} */
  const bare = [];
  const runs = [
    { into: ours, work: () => runDbops(command, { url, config: '/dev/null' }) },
    { into: bare, work: () => runPsql(psql, url, statement) },
  ];
  for (let round = 0; round < rounds; round += 1) {
    // The first of a pair finds the caches of the second before it.
    for (const { into, work } of round % 2 === 0 ? runs : runs.toReversed()) {
      const table = name === 'maintenance refresh' ? 'public.totals' : 'public.orders';
      into.push(
        await longestStall(url, { write, table, readerSeconds: READER_SECONDS, quietMs: 1000, work }),
      );
      if (undo !== undefined) await withClient(url, (client) => client.query(undo));
    }
  }
  const beyondMs = longest(ours) - longest(bare);
  const what = `longest stall of a writer, another session holding a ${READER_SECONDS} s SELECT`;
  return [
    {
      what: `${what}: dbops ${name}`,
      target: `under ${TARGET_MS} ms more than the bare statement`,
      measured: described(ours),
      ratio: (longest(ours) / longest(bare)).toFixed(2),
      met: beyondMs < TARGET_MS,
    },
    {
      what: `${what}: ${statement.split(' concurrently')[0]} concurrently`,
      target: '-',
      measured: described(bare),
      ratio: '1',
    },
  ];
}

/** @param {import('../lib/stall.mjs').Stall[]} stalls */
function longest(stalls) {
  return Math.max(...stalls.map(({ stallMs }) => stallMs));
}

/** @param {import('../lib/stall.mjs').Stall[]} stalls */
function described(stalls) {
  const quietMs = Math.max(...stalls.map((stall) => stall.quietMs));
  const workMs = Math.max(...stalls.map((stall) => stall.workMs));
  const writes = stalls.reduce((sum, stall) => sum + stall.writes, 0);
  return `${milliseconds(longest(stalls))} (${milliseconds(quietMs)} before), ${writes} writes, done in ${milliseconds(workMs)}`;
}

/**
 * @param {string} psql
 * @param {string} url
 * @param {string} statement
 */
async function runPsql(psql, url, statement) {
  const { code, stderr } = await runWatched({ command: psql, args: [url, '-X', '-q', '-c', statement] });
  if (code !== 0) throw new Error(`psql ended with ${code}: ${stderr.trim()}`);
}

/**
 * @param {string} url
 * @param {number} rows
 */
async function createTable(url, rows) {
  await withClient(url, async (client) => {
    await client.query(`
      create table public.orders (
        id bigint generated always as identity primary key,
        customer bigint not null,
        note text
      );
      insert into public.orders (customer, note)
        select n % 1000 + 1, md5(n::text) from generate_series(1, ${rows}) as n;
      create index orders_customer_idx on public.orders (customer);
      create materialized view public.totals as
        select customer, count(*) as number from public.orders group by customer;
      create unique index totals_customer_idx on public.totals (customer)`);
    await client.query('vacuum analyze public.orders, public.totals');
  });
}
