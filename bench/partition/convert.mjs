import path from 'node:path';
import fs from 'node:fs';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { startWriter } from '../../scripts/lib/writer.mjs';
import { withClient } from '../lib/database.mjs';
import { runDbops } from '../lib/dbops.mjs';
import { milliseconds } from '../lib/report.mjs';

const ROWS = 4_000_000;
const WRITES_PER_SECOND = 200;
const TARGET_MS = 500;

/** A large table becomes a partitioned one while the application goes on writing to it. */
export const convert = {
  name: 'convert',
  /** @param {import('./index.mjs').Bench} bench */
  async run({ emptyDatabase, dir }) {
    const url = await emptyDatabase('convert');
    await createTable(url);
    const config = path.join(dir, 'convert.yaml');
    fs.writeFileSync(config, 'partitions: []\n');
    const before = await fileOf(url);
    const writer = await startWriter(url, {
      text: "insert into public.orders (customer, note) values ($1, 'bench')",
      values: () => [Math.ceil(Math.random() * 100_000)],
      perSecond: WRITES_PER_SECOND,
    });
    await sleep(2000);
    const started = performance.now();
    const command = ['partition', 'convert', 'public.orders', '--key', 'created_at', '--interval', 'month'];
    const { stderr, milliseconds: took } = await runDbops(
      [...command, '--yes', '-v', '--log-format', 'json'],
      {
        url,
        config,
      },
    );
    const ended = performance.now();
    await sleep(1000);
    const writes = await writer.stop();
    const lastStepMs = lastStep(stderr);
    const inLastStep = writes.longestMs(ended - lastStepMs - 200, ended);
    const copied = (await fileOf(url)) !== before;
    return [
      {
        what: `convert of a table with ${ROWS.toLocaleString('en')} rows under ${WRITES_PER_SECOND} inserts/s`,
        target: `no failed write, none over ${TARGET_MS} ms in the final step, no copy`,
        measured:
          `${milliseconds(took)}, ${writes.count} writes, ${writes.failures.length} failed, ` +
          `longest ${milliseconds(inLastStep)} in the final step, ${milliseconds(writes.longestMs(started, ended))} in all ` +
          `(${milliseconds(writes.longestMs(0, started))} before), ${copied ? 'copied' : 'not copied'}` +
          (writes.failures.length > 0 ? `: ${writes.failures[0]}` : ''),
        met: writes.failures.length === 0 && inLastStep < TARGET_MS && !copied,
      },
    ];
  },
};

/**
 * How long before the end of the run its final step began, which renames the table: all of its tries are in it.
 * @param {string} log
 */
function lastStep(log) {
  const statements = log
    .split('\n')
    .filter((line) => line.includes('"event":"statement"'))
    .map((line) => /** @type {{ time: string, milliseconds: number, message: string }} */ (JSON.parse(line)));
  const swap = statements.find(({ message }) => message.includes(' rename to '));
  const last = statements.at(-1);
  if (!swap || !last) throw new Error('the log of the convert shows no final step');
  return Date.parse(last.time) - Date.parse(swap.time) + swap.milliseconds;
}

/** @param {string} url */
async function createTable(url) {
  await withClient(url, async (client) => {
    await client.query('set synchronous_commit to off');
    await client.query(`
      create table public.orders (
        id bigint generated always as identity primary key,
        created_at timestamptz not null default now(),
        customer bigint not null,
        note text
      );
      insert into public.orders (created_at, customer, note)
        select now() - (n % 700) * interval '1 day', n % 100000, repeat('x', 60) from generate_series(1, ${ROWS}) as n;
      create index on public.orders (customer)`);
    await client.query('vacuum analyze public.orders');
    await client.query('checkpoint');
  });
}

/**
 * The file that holds the rows: that of the table, and of the partition that it has become.
 * @param {string} url
 */
async function fileOf(url) {
  return withClient(url, async (client) => {
    const { rows } = await client.query(
      `select pg_relation_filepath(oid) as file from pg_class
        where relkind = 'r' and relnamespace = 'public'::regnamespace order by relpages desc limit 1`,
    );
    return /** @type {string} */ (rows[0].file);
  });
}
