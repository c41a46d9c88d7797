// Jobs that are killed, stopped, locked out or run twice: no row twice, none outside of the condition, none forgotten.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../../support/database.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';
import { count, now, outbox, rows } from './setup.ts';

let db: TestDatabase;
let workspace: Workspace;

beforeAll(async () => {
  db = await createDatabase('rows_interrupted');
  workspace = createWorkspace(db, 'rows: {}\n');
});
afterAll(() => db.drop());

const old = ['--older-than', 'created_at 7 days'];

/** Rows of a table as the job's cursor counts them. */
async function counted(): Promise<number> {
  const [job] = await db.query<{ rows: number }>("select (cursor ->> 'changed')::int as rows from dbops.job");
  return job?.rows ?? 0;
}

describe('kill -9', () => {
  for (const verb of ['purge', 'move'] as const) {
    it(`of a ${verb} again and again: each run goes on, and no row is lost or doubled`, async () => {
      const table = `killed_${verb}`;
      await outbox(db, 30_000, table);
      const to = verb === 'move' ? ['--to', `public.${table}_archive`, '--create'] : [];
      const args = [
        'rows',
        verb,
        `public.${table}`,
        ...old,
        ...to,
        '--name',
        table,
        '--yes',
        '--batch-size',
        '300',
        '-v',
      ];
      const env = { DBOPS_TEST_NOW: now };
      // The clock of a later run is another one; what was frozen stays.
      const later = { DBOPS_TEST_NOW: '2026-11-23T12:00:00Z' };
      let before = 0;
      for (const run of [1, 2, 3]) {
        const running = workspace.spawn(args, run === 1 ? env : later);
        await running.waitFor(/(?:rows in \d+ ms[^]*?){4}/);
        running.kill('SIGKILL');
        await running.done;
        await waitUntil(
          async () =>
            (
              await db.query(
                "select from pg_stat_activity where application_name like 'dbops rows%' and datname = current_database()",
              )
            ).length === 0,
          { what: 'the killed session to be gone' },
        );
        const done = await counted();
        expect(done).toBeGreaterThan(before);
        expect(await count(db, `public.${table}`)).toBe(30_000 - done);
        if (verb === 'move') expect(await count(db, `public.${table}_archive`)).toBe(done);
        before = done;
      }
      const listed = await workspace.run(['rows', 'jobs', '--json']);
      expect(JSON.parse(listed.stdout)).toMatchObject({
        data: { jobs: [{ job: table, state: 'interrupted', rows: before }] },
      });
      const last = await workspace.run(['rows', 'resume', table, '--yes', '--json'], later);
      expect(last.code, last.stderr).toBe(0);
      expect(JSON.parse(last.stdout)).toMatchObject({
        data: { jobs: [{ rows: 30_000 - 168, left: 0, resumed: true, cutoff: '2026-11-14T12:00:00.000Z' }] },
      });
      expect(await count(db, `public.${table}`)).toBe(168);
      if (verb === 'move') expect(await count(db, `public.${table}_archive`)).toBe(30_000 - 168);
      expect(await db.query('select from dbops.job')).toEqual([]);
    });
  }
});

describe('SIGKILL of a mask', () => {
  it('leaves no row masked twice, along a key of two columns of which one is text', async () => {
    await db.query(
      'create table people (tenant text, id int, visits int not null, primary key (tenant, id))',
    );
    await db.query(
      "insert into people select 'T''-' || n % 5, n, 0 from generate_series(1, 20000) as n; analyze people",
    );
    const args = ['rows', 'mask', 'public.people', '--set', 'visits=visits + 1', '--where', 'id > 100'];
    const more = ['--yes', '--name', 'people', '--batch-size', '300', '-v'];
    for (let run = 1; run <= 3; run += 1) {
      const running = workspace.spawn([...args, ...more]);
      await running.waitFor(/(?:rows in \d+ ms[^]*?){5}/);
      running.kill('SIGKILL');
      await running.done;
    }
    const last = await workspace.run([...args, ...more, '--wait', '10s']);
    expect(last.code, last.stderr).toBe(0);
    expect(await count(db, 'public.people', 'visits <> case when id > 100 then 1 else 0 end')).toBe(0);
  });
});

describe('rows that others have locked', () => {
  it('do not stall it, are told, and are gone over once more at the end', async () => {
    await outbox(db, 5000, 'locked');
    const holder = await openSession(db.url);
    await holder.begin();
    await holder.query('select from locked where id in (500, 501, 4000) for update');
    const first = await rows(workspace, 'purge', 'public.locked', ...old, '--yes', '--json');
    expect(first.code).toBe(5);
    expect(JSON.parse(first.stdout)).toMatchObject({
      data: { jobs: [{ rows: 5000 - 168 - 3, skipped: 3, left: 3 }] },
      warnings: [expect.stringContaining('3 rows of public.locked stayed')],
    });
    expect(await db.query('select id::int from locked where id > 168')).toEqual([
      { id: 500 },
      { id: 501 },
      { id: 4000 },
    ]);
    // One of them no longer fits when it is free.
    await holder.query('update locked set created_at = now() where id = 4000');
    await holder.query('commit');
    await holder.end();
    expect((await rows(workspace, 'purge', 'public.locked', ...old, '--yes')).code).toBe(0);
    expect(await db.query('select id::int from locked where id > 168')).toEqual([{ id: 4000 }]);
  });

  it('in the second pass are taken when they are free by then', async () => {
    await outbox(db, 20_000, 'freed');
    const holder = await openSession(db.url);
    await holder.begin();
    await holder.query('select from freed where id = 700 for update');
    // The first pass does not end before the row is free, however slow this test is.
    await db.query(`create function wait_for_holder() returns trigger language plpgsql as $$ begin
      while exists (select from pg_locks where pid = ${String(holder.pid)}) loop perform pg_sleep(0.01); end loop;
      return old; end $$`);
    await db.query(`create trigger wait before delete on freed
      for each row when (old.id = 10000) execute function wait_for_holder()`);
    const running = workspace.spawn(
      ['rows', 'purge', 'public.freed', ...old, '--yes', '--json', '-v', '--batch-size', '400'],
      { DBOPS_TEST_NOW: now },
    );
    await running.waitFor(/(?:rows in \d+ ms[^]*?){10}/);
    await holder.end();
    const { code, stdout, stderr } = await running.done;
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      data: { jobs: [{ rows: 20_000 - 168, skipped: 1, left: 0 }] },
    });
  });
});

describe('two runs at once', () => {
  it('exclude each other, and the first is not disturbed', async () => {
    await outbox(db, 30_000, 'twice');
    await db.query(`create function slow() returns trigger language plpgsql
      as 'begin perform pg_catalog.pg_sleep(0.05); return null; end'`);
    await db.query('create trigger slow before delete on twice execute function slow()');
    const args = [
      'rows',
      'purge',
      'public.twice',
      ...old,
      '--yes',
      '-v',
      '--batch-size',
      '300',
      '--name',
      'twice',
    ];
    const first = workspace.spawn(args, { DBOPS_TEST_NOW: now });
    await first.waitFor(/rows in \d+ ms/);
    const second = await workspace.run(args, { DBOPS_TEST_NOW: now });
    expect(second.code).toBe(4);
    expect(second.stderr).toContain('another dbops run works on table public.twice');
    const cancel = await workspace.run(['rows', 'cancel', 'twice', '--yes']);
    expect(cancel.code).toBe(4);
    expect((await first.done).code).toBe(0);
    expect(await count(db, 'public.twice')).toBe(168);
  });
});

describe('a job that has to stop', () => {
  it('says why, is listed with it, and is gone on with or cancelled', async () => {
    await outbox(db, 5000, 'stopped');
    const purge = ['purge', 'public.stopped', ...old, '--yes', '--name', 'night'];
    const first = await rows(workspace, ...purge, '--max-time', '0s');
    expect(first.code).toBe(5);
    expect(first.stderr).toContain('the job "night" stopped: its time of 0 ms is over (--max-time)');
    const listed = await rows(workspace, 'jobs');
    expect(listed.stdout).toMatch(
      /night\s+purge public.stopped\s+stopped\s+0 of about .*its time of 0 ms is over/,
    );
    const other = await rows(
      workspace,
      'purge',
      'public.stopped',
      '--where',
      'true',
      '--yes',
      '--name',
      'night',
    );
    expect(other.stderr).toContain('was begun with another definition');
    expect((await rows(workspace, 'cancel', 'night')).code).toBe(4);
    expect((await rows(workspace, 'cancel', 'night', '--yes')).code).toBe(0);
    expect((await rows(workspace, 'resume', 'night', '--yes')).code).toBe(2);
    expect(await count(db, 'public.stopped')).toBe(5000);
  });

  it('at a time of day, in its zone', async () => {
    await outbox(db, 3000, 'until');
    const args = [
      'rows',
      'purge',
      'public.until',
      ...old,
      '--yes',
      '--timezone',
      'Asia/Seoul',
      '--until',
      '05:00',
    ];
    const stopped = await workspace.run(args, { DBOPS_TEST_NOW: '2026-11-21T19:59:59.999Z' });
    expect(stopped.code).toBe(5);
    expect(stopped.stderr).toContain('stopped: it is 05:00 (--until)');
    const whole = await workspace.run(args, { DBOPS_TEST_NOW: '2026-11-21T20:00:00Z' });
    expect(whole.code, whole.stderr).toBe(0);
  });

  it('for a replication slot that holds WAL back, after a pause', async () => {
    await outbox(db, 5000, 'slotted');
    const slot = db.name.slice(-30);
    await db.query('select pg_create_physical_replication_slot($1, true)', [slot]);
    try {
      await db.query("select pg_logical_emit_message(false, 'test', repeat('x', 3000000))");
      const limits = ['--max-slot-backlog', '1MB', '--max-pause', '1s'];
      const stopped = await rows(workspace, 'purge', 'public.slotted', ...old, '--yes', ...limits);
      expect(stopped.code).toBe(5);
      expect(stopped.stderr).toMatch(
        /pausing for at most 1 s: slot \S+ holds back .* and the limit is 1.0 MB/,
      );
      expect(stopped.stderr).toContain('(--max-slot-backlog)');
    } finally {
      await db.query('select pg_drop_replication_slot($1)', [slot]);
    }
    expect((await rows(workspace, 'purge', 'public.slotted', ...old, '--yes')).code).toBe(0);
  });

  it('begins anew in a table that was rewritten meanwhile, when it walks by blocks', async () => {
    await outbox(db, 20_000, 'rewritten');
    await db.query('alter table rewritten drop constraint rewritten_pkey');
    const args = [
      'rows',
      'purge',
      'public.rewritten',
      ...old,
      '--yes',
      '--name',
      'rewritten',
      '-v',
      '--batch-size',
      '500',
    ];
    const running = workspace.spawn(args, { DBOPS_TEST_NOW: now });
    await running.waitFor(/(?:rows in \d+ ms[^]*?){3}/);
    running.kill('SIGTERM');
    expect((await running.done).code).toBe(143);
    await db.query('vacuum full rewritten');
    const resumed = await workspace.run(args, { DBOPS_TEST_NOW: now });
    expect(resumed.stderr).toContain('was rewritten meanwhile, so the job begins there anew');
    expect(resumed.code).toBe(0);
    expect(await count(db, 'public.rewritten')).toBe(168);
  });
});
