// Whatever lock others hold: no verb of maintenance stands in a queue that readers and writers pass, and it says who was in
// its way.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { planRefresh } from '../../../src/maintenance/refresh.ts';
import { planReindex } from '../../../src/maintenance/reindex.ts';
import type { MaintenancePlan, TaskResult } from '../../../src/maintenance/task.ts';
import { planVacuum } from '../../../src/maintenance/vacuum.ts';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../../support/database.ts';
import { maintained, openMaintenance, type MaintenanceJob } from '../../support/maintenance.ts';

/** What a reader or a writer may notice at most, on a machine that does other things as well. */
const noticedMs = 1000;

let db: TestDatabase;
let job: MaintenanceJob;

beforeAll(async () => {
  db = await createDatabase('maintenance_locks');
  await db.query(`
    create table public.busy (id int primary key, text text) with (autovacuum_enabled = off);
    insert into public.busy select n, 'x' from generate_series(1, 2000) as n;
    create materialized view public.sums as select id from public.busy where id <= 100;
    create unique index on public.sums (id);
    create materialized view public.plain as select id from public.busy where id <= 100;
    create table public.tree (id int) partition by range (id);
    create table public.tree_1 partition of public.tree for values from (0) to (1000) with (autovacuum_enabled = off);
    insert into public.tree values (1)`);
  job = await openMaintenance(db.url);
});
afterAll(async () => {
  await job.db.close();
  await db.drop();
});

const named = (table: string) => ({ tables: [table], schemas: [], all: false });
const verbs: Record<string, { plan: () => Promise<MaintenancePlan>; relation: string }> = {
  vacuum: { plan: () => planVacuum(job, named('public.busy'), 'vacuum'), relation: 'public.busy' },
  analyze: { plan: () => planVacuum(job, named('public.busy'), 'analyze'), relation: 'public.busy' },
  reindex: {
    plan: () => planReindex(job, { tables: [], indexes: ['public.busy_pkey'] }),
    relation: 'public.busy',
  },
  refresh: {
    plan: () => planRefresh(job, { views: ['public.sums'], allowLock: false }),
    relation: 'public.sums',
  },
};

interface Seen {
  /** The modes of locks on relations that a session of dbops waited for. */
  waited: Set<string>;
  /** Sessions that stood behind one of dbops, whether it held the lock or only waited for it. */
  behindUs: Set<number>;
}

interface Traffic {
  longestMs: number;
  statements: number;
}

/** Looks at the queues of this database until what it watches has ended. */
async function watched<T>(run: () => Promise<T>): Promise<{ result: T; seen: Seen }> {
  const watcher = await openSession(db.url);
  const seen: Seen = { waited: new Set(), behindUs: new Set() };
  const state = { isOver: false };
  const looking = (async () => {
    while (!state.isOver) {
      const rows = await watcher.query<{ waited: string[]; behind: number[] }>(`
        with ours as materialized (
          select array_agg(a.pid) as pids from pg_stat_activity as a
           where a.datname = current_database() and a.application_name = 'dbops maintenance')
        select coalesce((select array_agg(distinct l.mode) from pg_locks as l, ours as o
                          where l.pid = any (o.pids) and l.locktype = 'relation' and not l.granted), '{}') as waited,
               coalesce((select array_agg(distinct l.pid) from pg_locks as l, ours as o
                          where not l.granted and l.pid <> all (o.pids) and l.locktype = 'relation'
                            and pg_blocking_pids(l.pid) && o.pids), '{}') as behind`);
      for (const { waited, behind } of rows) {
        for (const mode of waited) seen.waited.add(mode);
        for (const pid of behind) seen.behindUs.add(pid);
      }
    }
  })();
  try {
    return { result: await run(), seen };
  } finally {
    state.isOver = true;
    await looking;
    await watcher.end();
  }
}

/** Reads and writes the table and reads its view, again and again, until what it goes on beside has ended. */
async function beside<T>(run: () => Promise<T>): Promise<{ result: T; traffic: Traffic }> {
  const client = await openSession(db.url);
  const traffic: Traffic = { longestMs: 0, statements: 0 };
  const state = { isOver: false };
  const going = (async () => {
    for (let id = 0; !state.isOver; id += 1) {
      for (const sql of [
        `update public.busy set text = 'y' where id = ${String((id % 2000) + 1)}`,
        'select count(*) from public.busy where id < 10',
        'select count(*) from public.sums',
      ]) {
        const started = performance.now();
        await client.query(sql);
        traffic.longestMs = Math.max(traffic.longestMs, performance.now() - started);
        traffic.statements += 1;
      }
    }
  })();
  try {
    return { result: await run(), traffic };
  } finally {
    state.isOver = true;
    await going;
    await client.end();
  }
}

/** Runs a plan beside traffic while its queues are looked at. */
async function ranBeside(run: () => Promise<TaskResult[]>) {
  const { result, seen } = await watched(() => beside(run));
  return { results: result.result, traffic: result.traffic, seen };
}

function expectUnnoticed({ traffic, seen }: { traffic: Traffic; seen: Seen }): void {
  expect(traffic.statements).toBeGreaterThan(0);
  expect(traffic.longestMs).toBeLessThan(noticedMs);
  expect([...seen.waited]).not.toContain('AccessExclusiveLock');
}

describe.each(Object.keys(verbs))('%s', (verb) => {
  const { plan, relation } = verbs[verb]!;

  it('does its work beside a reader whose transaction stays open, and others go on', async () => {
    const reader = await openSession(db.url);
    await reader.begin();
    await reader.query(`select count(*) from ${relation}`);
    const ran = await ranBeside(async () => {
      const running = maintained(job, plan);
      // A rebuild waits for it with no place in any queue, and is not done before.
      if (verb === 'reindex') {
        await waitUntil(
          async () =>
            (
              await db.query(
                `select from pg_stat_progress_create_index where phase like 'waiting for%' and current_locker_pid = $1`,
                [reader.pid],
              )
            ).length > 0,
          { what: 'a rebuild that waits for the reader' },
        );
        await reader.end();
      }
      return await running;
    });
    expect(ran.results).toMatchObject([{ outcome: 'done' }]);
    expectUnnoticed(ran);
  });

  it('lets a writer whose transaction stays open, and others, go on', async () => {
    const writer = await openSession(db.url);
    await writer.begin();
    await writer.query('insert into public.busy values (0)');
    const ran = await ranBeside(() => maintained(job, plan));
    await writer.end();
    // A rebuild would wait for it while it holds a lock; it does not begin.
    expect(ran.results).toMatchObject([{ outcome: verb === 'reindex' ? 'skipped' : 'done' }]);
    if (verb === 'reindex') expect(ran.results[0]?.reason).toContain(`pid ${String(writer.pid)} `);
    expectUnnoticed(ran);
  });

  it('is skipped behind an exclusive lock, names its holder, and nobody stands behind it', async () => {
    const holder = await openSession(db.url);
    await holder.begin();
    // A view takes no LOCK TABLE.
    await holder.query(
      relation === 'public.sums'
        ? 'alter materialized view public.sums rename to sums_new'
        : 'lock table public.busy in access exclusive mode',
    );
    const reader = await openSession(db.url);
    const reading = reader.query(`select count(*) from ${relation}`);
    const { result, seen } = await watched(() => maintained(job, plan));
    await holder.end();
    await reading;
    expect(result).toMatchObject([{ outcome: 'skipped' }]);
    expect(result[0]?.reason).toContain(`pid ${String(holder.pid)} `);
    expect([...seen.behindUs]).toEqual([]);
    expect([...seen.waited]).not.toContain('AccessExclusiveLock');
  });
});

describe('what a verb reads beside its own table', () => {
  it('names who holds a table that a view is made of', async () => {
    const holder = await openSession(db.url);
    await holder.begin();
    await holder.query('lock table public.busy in access exclusive mode');
    const { result, seen } = await watched(() => maintained(job, verbs['refresh']!.plan));
    await holder.end();
    expect(result).toMatchObject([{ outcome: 'skipped' }]);
    expect(result[0]?.reason).toContain(`pid ${String(holder.pid)} `);
    expect([...seen.waited]).toEqual(['AccessShareLock']);
  });

  it('names who holds a partition of the table that is analyzed', async () => {
    const holder = await openSession(db.url);
    await holder.begin();
    await holder.query('lock table public.tree_1 in access exclusive mode');
    const results = await maintained(job, () => planVacuum(job, named('public.tree'), 'analyze'));
    await holder.end();
    expect(results.map(({ object, outcome }) => `${object} ${outcome}`)).toEqual([
      'public.tree_1 skipped',
      'public.tree skipped',
    ]);
    for (const { reason } of results) expect(reason).toContain(`pid ${String(holder.pid)} `);
  });
});

it('keeps the readers of a view waiting for moments only where it may lock them out', async () => {
  const holder = await openSession(db.url);
  await holder.begin();
  await holder.query('select count(*) from public.plain');
  const reader = await openSession(db.url);
  const times: number[] = [];
  const state = { isOver: false };
  const reading = (async () => {
    while (!state.isOver) {
      const started = performance.now();
      await reader.query('select count(*) from public.plain');
      times.push(performance.now() - started);
    }
  })();
  const results = await maintained(job, () => planRefresh(job, { views: ['public.plain'], allowLock: true }));
  state.isOver = true;
  await reading;
  await holder.end();
  expect(results).toMatchObject([{ outcome: 'skipped' }]);
  expect(results[0]?.reason).toContain(`pid ${String(holder.pid)} `);
  expect(Math.max(...times)).toBeLessThan(noticedMs);
});

it('gives the emptied end of a table back while writers go on', async () => {
  await db.query(`
    create table public.emptied (id int primary key, text text) with (autovacuum_enabled = off);
    insert into public.emptied select n, repeat('x', 1000) from generate_series(1, 60000) as n;
    delete from public.emptied where id > 100`);
  const writer = await openSession(db.url);
  const state = { isOver: false, longestMs: 0, rows: 0 };
  const writing = (async () => {
    for (; !state.isOver; state.rows += 1) {
      const started = performance.now();
      await writer.query("update public.emptied set text = 'y' where id = $1", [(state.rows % 100) + 1]);
      state.longestMs = Math.max(state.longestMs, performance.now() - started);
    }
  })();
  const { result, seen } = await watched(() =>
    maintained(job, () => planVacuum(job, named('public.emptied'), 'vacuum')),
  );
  state.isOver = true;
  await writing;
  expect(result).toMatchObject([{ outcome: 'done' }]);
  expect(state.rows).toBeGreaterThan(0);
  expect(state.longestMs).toBeLessThan(noticedMs);
  expect([...seen.waited]).toEqual([]);
});
