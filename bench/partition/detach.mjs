import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { exampleConfig } from '../../scripts/lib/ai-factory.mjs';
import { startWriter } from '../../scripts/lib/writer.mjs';
import { open, waitForRow, withClient } from '../lib/database.mjs';
import { runDbops } from '../lib/dbops.mjs';
import { milliseconds } from '../lib/report.mjs';

const PARENT = 'public.llm_calls';
const READER_SECONDS = 8;
const TARGET_MS = 250;

/** A partition is taken out while autovacuum works on it, and while somebody reads it, and the application writes. */
export const detach = {
  name: 'detach',
  /** @param {import('./index.mjs').Bench} bench */
  async run({ example }) {
    return [
      await underAutovacuum(await example('detach_autovacuum')),
      await underReader(await example('detach_reader')),
    ];
  },
};

/** @param {string} url */
async function underAutovacuum(url) {
  const partition = await oldestPartition(url);
  const pid = await makeAutovacuumWork(url, partition);
  const result = await detachUnderWriter(url, partition);
  const still = await withClient(url, async (client) => {
    const { rows } = await client.query(
      "select (select count(*) from pg_stat_activity where pid = $1 and backend_type = 'autovacuum worker')::int as working",
      [pid],
    );
    return rows[0].working > 0 ? 'which went on' : 'which gave way or was done';
  });
  return figure(`autovacuum works on it (${still})`, result);
}

/** @param {string} url */
async function underReader(url) {
  const partition = await oldestPartition(url);
  const reader = await open(url);
  const reading = reader.query(
    `select pg_sleep(${READER_SECONDS}) from (select from ${partition} limit 1) as one`,
  );
  await withClient(url, (client) =>
    waitForRow(
      client,
      "select from pg_locks where relation = $1::regclass and mode = 'AccessShareLock' and pid <> pg_backend_pid()",
      [partition],
      { what: 'the reader to hold its lock' },
    ),
  );
  const result = await detachUnderWriter(url, partition);
  await reading;
  await reader.end();
  return figure(`another session holds a ${READER_SECONDS} s SELECT on it`, result);
}

/**
 * @param {string} url
 * @param {string} partition
 */
async function detachUnderWriter(url, partition) {
  const writer = await startWriter(url, {
    text: `insert into ${PARENT} (tenant_id, trace_id, model, purpose, prompt_tokens, completion_tokens, cost_usd, latency_ms, status)
      values (gen_random_uuid(), 'bench', 'small-1', 'judgment', 1, 1, 0, 1, 'ok')`,
    perSecond: 100,
  });
  await sleep(1000);
  const started = performance.now();
  const { code, stderr } = await runDbops(['partition', 'detach', partition, '--yes'], {
    url,
    config: exampleConfig,
    codes: [0, 4, 5],
  });
  const workMs = performance.now() - started;
  await sleep(500);
  const writes = await writer.stop();
  if (writes.failures.length > 0) throw new Error(`a write failed: ${writes.failures[0]}`);
  const { pending, attached } = await stateOf(url, partition);
  // Finished, or refused with the process that is in the way.
  const said = code === 0 ? !attached : /\b(pid|process) \d+/.test(stderr);
  return { code, said, pending, workMs, stallMs: writes.longestMs(started), stderr };
}

/**
 * @param {string} circumstance
 * @param {Awaited<ReturnType<typeof detachUnderWriter>>} result
 */
function figure(circumstance, { code, said, pending, workMs, stallMs, stderr }) {
  const outcome = code === 0 ? 'detached' : `exit ${code}: ${wordsOf(stderr)}`;
  return {
    what: `detach of a partition while ${circumstance}`,
    target: `finishes or says who holds it, nothing pending, no write over ${TARGET_MS} ms`,
    measured: `${outcome} in ${milliseconds(workMs)}, ${pending} pending, longest write ${milliseconds(stallMs)}`,
    met: said && pending === 0 && stallMs < TARGET_MS,
  };
}

/** @param {string} stderr */
function wordsOf(stderr) {
  const lines = stderr.split('\n');
  const from = lines.findIndex((line) => line.startsWith('dbops: '));
  return lines
    .slice(from, from + 2)
    .map((line) => line.trim())
    .join(' ')
    .replaceAll('|', '/');
}

/**
 * @param {string} url
 * @param {string} partition
 */
async function stateOf(url, partition) {
  return withClient(url, async (client) => {
    const { rows } = await client.query(
      `select count(*) filter (where inhdetachpending)::int as pending,
              coalesce(bool_or(inhrelid = $1::regclass), false) as attached
         from pg_inherits`,
      [partition],
    );
    return /** @type {{ pending: number, attached: boolean }} */ (rows[0]);
  });
}

/** @param {string} url */
async function oldestPartition(url) {
  return withClient(url, async (client) => {
    const { rows } = await client.query(
      `select 'public.' || c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = $1::regclass order by c.relname limit 1`,
      [PARENT],
    );
    return /** @type {string} */ (rows[0].name);
  });
}

/**
 * Makes dead rows and slows autovacuum down for this one table, so that it is at work for longer than a detach takes.
 * Returns the worker's process id once the server shows it at work.
 * @param {string} url
 * @param {string} partition
 */
async function makeAutovacuumWork(url, partition) {
  return withClient(url, async (client) => {
    await client.query(`
      insert into ${partition} select (jsonb_populate_record(row, jsonb_build_object('id', gen_random_uuid()))).*
        from ${partition} as row cross join generate_series(1, 100)`);
    await client.query(`
      alter table ${partition} set (
        autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1
      )`);
    // The launcher looks once a minute by default.
    await client.query("alter system set autovacuum_naptime = '1s'");
    await client.query('select pg_reload_conf()');
    await client.query(`update ${partition} set latency_ms = latency_ms + 1`);
    const row = await waitForRow(
      client,
      `select a.pid from pg_stat_activity a
        where a.backend_type = 'autovacuum worker' and a.query like 'autovacuum: VACUUM %' || $1 || '%'
          and exists (select from pg_locks l
            where l.pid = a.pid and l.relation = $1::regclass and l.mode = 'ShareUpdateExclusiveLock' and l.granted)`,
      [partition],
      { timeoutMs: 90_000, what: `autovacuum to work on ${partition}` },
    );
    return /** @type {number} */ (row.pid);
  });
}
