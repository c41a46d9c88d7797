// When a command of several jobs ends, and when one that pauses does.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, openSession, type TestDatabase } from '../../support/database.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';
import { count, now, outbox, rows } from './setup.ts';

let db: TestDatabase;
let workspace: Workspace;

beforeAll(async () => {
  db = await createDatabase('rows_end');
  workspace = createWorkspace(
    db,
    "rows:\n  jobs:\n    first: { purge: public.first, where: 'true' }\n    second: { purge: public.second, where: 'true' }\n",
  );
});
afterAll(() => db.drop());

describe('the time of a command', () => {
  it('counts for its jobs together: what is behind it is not begun', async () => {
    await outbox(db, 3000, 'first');
    await outbox(db, 300, 'second');
    await db.query(`create function slow() returns trigger language plpgsql
      as 'begin perform pg_catalog.pg_sleep(0.3); return null; end'`);
    await db.query('create trigger slow before delete on first execute function slow()');
    const result = await rows(workspace, 'run', '--max-time', '1s', '--batch-size', '100');
    expect(result.stderr).toContain('the job "first" stopped: its time of 1 s is over');
    expect(result.stderr).toContain('the job "second" had no turn: its time of 1 s is over');
    expect(result.code).toBe(5);
    expect(await count(db, 'public.second')).toBe(300);
    await db.query('drop trigger slow on first');
    expect((await rows(workspace, 'run', '--max-time', '10min')).code).toBe(0);
    expect((await count(db, 'public.first')) + (await count(db, 'public.second'))).toBe(0);
    expect(
      await db.query(
        "select outcome, jsonb_array_length(plan::jsonb -> 'jobs') as jobs from dbops.run order by id",
      ),
    ).toEqual([
      { outcome: 'partly done', jobs: 2 },
      { outcome: 'done', jobs: 2 },
    ]);
    const [job] = await db.query<{ rows: number }>('select count(*)::int as rows from dbops.job');
    expect(job!.rows).toBe(0);
  });

  it('is not moved by waiting for another run', async () => {
    await outbox(db, 300, 'waited');
    const holder = await openSession(db.url);
    await holder.query("select pg_advisory_lock(x'64626f70'::int, 'waited'::regclass::oid::int)");
    const args = ['rows', 'purge', 'public.waited', '--where', 'true', '--yes', '--wait', '30s'];
    const running = workspace.spawn([...args, '--max-time', '1s', '-v'], { DBOPS_TEST_NOW: now });
    await running.waitFor(/locks\.try/);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await holder.end();
    const { code, stderr } = await running.done;
    expect(stderr).toContain('stopped: its time of 1 s is over (--max-time)');
    expect(code).toBe(5);
    expect(await count(db, 'public.waited')).toBe(300);
  });

  it('is not overrun by a pause', async () => {
    await outbox(db, 300, 'paused');
    const slot = db.name.slice(-30);
    await db.query('select pg_create_physical_replication_slot($1, true)', [slot]);
    try {
      await db.query("select pg_logical_emit_message(false, 'test', repeat('x', 3000000))");
      const limits = ['--max-slot-backlog', '1MB', '--max-pause', '5min', '--max-time', '1s'];
      const result = await rows(workspace, 'purge', 'public.paused', '--where', 'true', '--yes', ...limits);
      expect(result.stderr).toContain('stopped: its time of 1 s is over (--max-time)');
      expect(result.code).toBe(5);
    } finally {
      await db.query('select pg_drop_replication_slot($1)', [slot]);
    }
  });
});

describe('rows that are slow one by one', () => {
  it('are done in pieces of a block', async () => {
    // About 200 rows in each block, of which 5 s are enough for 100.
    await db.query('create table heavy (id int)');
    await db.query('insert into heavy select n from generate_series(1, 220) as n');
    await db.query(`create function drag() returns trigger language plpgsql
      as 'begin perform pg_catalog.pg_sleep(0.05); return null; end'`);
    await db.query('create trigger drag after delete on heavy for each row execute function drag()');
    const result = await rows(workspace, 'purge', 'heavy', '--where', 'true', '--yes', '--batch-size', '40');
    expect(result.code, result.stderr).toBe(0);
    expect(await count(db, 'public.heavy')).toBe(0);
  });
});
