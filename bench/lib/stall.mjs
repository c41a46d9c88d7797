// How long a writer stands still while something is done to the table that it writes to, and somebody reads for long.
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { startWriter } from '../../scripts/lib/writer.mjs';
import { open, waitForRow, withClient } from './database.mjs';

/**
 * @typedef {object} Stall
 * @property {number} quietMs the longest write before anything was done
 * @property {number} stallMs the longest write while it was done, and as long as the reader went on
 * @property {number} workMs
 * @property {number} writes
 */

/**
 * Begins the work one second after the reader. Throws when a write fails.
 * @param {string} url
 * @param {object} options
 * @param {{ text: string, values?: () => unknown[] }} options.write
 * @param {string} options.table what the reader reads for so long
 * @param {number} options.readerSeconds
 * @param {number} [options.quietMs] how long the writer goes on alone before that
 * @param {() => Promise<unknown>} options.work
 * @returns {Promise<Stall>}
 */
export async function longestStall(url, { write, table, readerSeconds, quietMs = 2000, work }) {
  const writer = await startWriter(url, { ...write, perSecond: 100 });
  await sleep(quietMs);
  const before = performance.now();
  const reader = await open(url);
  const reading = reader.query(
    `select pg_sleep(${readerSeconds}) from (select from ${table} limit 1) as one`,
  );
  await withClient(url, (client) =>
    waitForRow(
      client,
      `select from pg_locks where relation = '${table}'::regclass and mode = 'AccessShareLock' and pid <> pg_backend_pid()
          and pid in (select pid from pg_stat_activity where query like 'select pg_sleep%')`,
      [],
      { what: 'the reader to hold its lock' },
    ),
  );
  await sleep(1000);
  const started = performance.now();
  await work();
  const ended = performance.now();
  await reading;
  await reader.end();
  await sleep(500);
  const writes = await writer.stop();
  if (writes.failures.length > 0) throw new Error(`a write failed: ${writes.failures[0]}`);
  return {
    quietMs: writes.longestMs(0, before),
    stallMs: writes.longestMs(started),
    workMs: ended - started,
    writes: writes.count,
  };
}
