import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Server } from '../../scripts/lib/postgres-server.mjs';
import { openSession, startPrivateServer, waitUntil, type Session } from '../support/database.ts';
import { createWorkspace, type Workspace } from '../support/workspace.ts';

const config = `
partitions:
  - table: public.readings
    key: day
    interval: day
    premake: 0
`;

let server: Server;
let session: Session;
let work: Workspace;

beforeAll(async () => {
  server = await startPrivateServer({ autovacuum_naptime: '1s', autovacuum_max_workers: '2' });
  session = await openSession(server.url);
  work = createWorkspace(server, config);
});
afterAll(async () => {
  await session.end();
  await server.stop();
});

/** A partition that an autovacuum worker is busy with for minutes, and a writer that measures its longest stall. */
async function busyPartition(withDefault: boolean): Promise<void> {
  await session.query('drop table if exists readings, readings_1 cascade');
  await session.query('drop schema if exists dbops cascade');
  await session.query('create table readings (day date not null, value int) partition by range (day)');
  await session.query(`create table readings_1 partition of readings for values from ('2026-01-01') to ('2026-01-02')
    with (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 1,
          autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_insert_threshold = -1)`);
  await session.query(
    `create table readings_2 partition of readings for values from ('2026-01-02') to ('2026-01-03')`,
  );
  if (withDefault) await session.query('create table readings_default partition of readings default');
  await session.query(`insert into readings select '2026-01-01', g from generate_series(1, 60000) as g`);
  await session.query(`delete from readings where day = '2026-01-01' and value % 2 = 0`);
  await waitUntil(workerIsBusy, { timeoutMs: 60_000, what: 'an autovacuum worker on readings_1' });
}

async function workerIsBusy(): Promise<boolean> {
  const rows = await session.query(
    `select from pg_stat_activity where backend_type = 'autovacuum worker' and query like '%public.readings_1%'`,
  );
  return rows.length > 0;
}

/** Inserts through the parent until the promise settles; the longest insert in milliseconds. */
async function longestStall(until: Promise<unknown>): Promise<number> {
  const writer = await openSession(server.url);
  let ended = false;
  void until.finally(() => (ended = true));
  let longestMs = 0;
  while (!ended) {
    const started = performance.now();
    await writer.query(`insert into readings values ('2026-01-02', 0)`);
    longestMs = Math.max(longestMs, performance.now() - started);
  }
  await writer.end();
  return longestMs;
}

describe.each([
  { withDefault: false, form: 'a concurrent detach' },
  { withDefault: true, form: 'a plain detach beside a default partition' },
])('$form while autovacuum works on the partition', ({ withDefault }) => {
  it('finishes, and does not stall the writers of the parent for the time it waits', async () => {
    await busyPartition(withDefault);
    const running = work.spawn(['partition', 'detach', 'readings_1', '--yes']);
    const longestMs = await longestStall(running.done);
    const result = await running.done;
    expect(result.code, result.stderr).toBe(0);
    const rows = await session.query(`select from pg_inherits where inhrelid = 'readings_1'::regclass`);
    expect(rows).toHaveLength(0);
    // The worker gives way after deadlock_timeout (1 s); a writer queued behind that wait would show it.
    expect(longestMs).toBeLessThan(900);
  });
});
