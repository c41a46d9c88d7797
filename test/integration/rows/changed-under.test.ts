// Tables that change under a job, and rows that a mask must not meet twice or pass over.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, openSession, type TestDatabase } from '../../support/database.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';
import { count, now, outbox, rows } from './setup.ts';

let db: TestDatabase;
let workspace: Workspace;

beforeAll(async () => {
  db = await createDatabase('rows_changed_under');
  workspace = createWorkspace(db, 'rows: {}\n');
});
afterAll(() => db.drop());

async function numbers(name: string, rowCount: number): Promise<void> {
  await db.query(`create table ${name} (id int primary key, n int not null)`);
  await db.query(`insert into ${name} select i, 0 from generate_series(1, ${rowCount}) as i`);
  await db.query(`vacuum analyze ${name}`);
}

describe('a mask that reads what it changes', () => {
  it('changes no row twice when others were locked, and comes back for these alone', async () => {
    await numbers('counted', 5000);
    const holder = await openSession(db.url);
    await holder.begin();
    await holder.query('select from counted where id in (7, 900) for update');
    const args = ['rows', 'mask', 'public.counted', '--set', 'n=n+1', '--where', 'true', '--yes', '--json'];
    const running = workspace.spawn([...args, '-v', '--batch-size', '300', '--gentle'], {
      DBOPS_TEST_NOW: now,
    });
    await running.waitFor(/(?:rows in \d+ ms[^]*?){6}/);
    await holder.query('commit');
    await holder.end();
    const { code, stdout, stderr } = await running.done;
    expect(code, stderr).toBe(0);
    expect(await db.query('select n, count(*)::int as rows from counted group by n')).toEqual([
      { n: 1, rows: 5000 },
    ]);
    expect(JSON.parse(stdout)).toMatchObject({ data: { jobs: [{ rows: 5000, skipped: 2, left: 0 }] } });
  });

  it('leaves what stays locked, and says how many', async () => {
    await numbers('held', 2000);
    const holder = await openSession(db.url);
    await holder.begin();
    await holder.query('select from held where id in (7, 900) for update');
    const args = ['mask', 'public.held', '--set', 'n=n+1', '--where', 'true', '--yes', '--json'];
    const result = await rows(workspace, ...args);
    await holder.end();
    expect(result.code).toBe(5);
    expect(JSON.parse(result.stdout)).toMatchObject({ data: { jobs: [{ rows: 1998, left: 2 }] } });
    expect(await db.query('select id from held where n <> 1 order by id')).toEqual([{ id: 7 }, { id: 900 }]);
  });
});

describe('a table that is rewritten while a purge runs', () => {
  it('is begun anew, so that no row stays behind', async () => {
    await outbox(db, 6000, 'rewritten');
    // What is kept stands between the others, so that a rewrite moves all of them to the front.
    const args = ['rows', 'purge', 'public.rewritten', '--older-than', 'created_at 7 days', '--yes', '-v'];
    const running = workspace.spawn([...args, '--batch-size', '100', '--gentle'], { DBOPS_TEST_NOW: now });
    await running.waitFor(/(?:rows in \d+ ms[^]*?){8}/);
    await db.query('vacuum full rewritten');
    const { code, stderr } = await running.done;
    expect(stderr).toContain('public.rewritten was rewritten meanwhile, so the job begins there anew');
    expect(code).toBe(0);
    expect(await count(db, 'public.rewritten')).toBe(168);
  });
});

describe('a partition that is detached while a purge runs', () => {
  it('is left alone from then on', async () => {
    await db.query('create table whole (id int primary key, note text) partition by range (id)');
    await db.query('create table whole_1 partition of whole default');
    await db.query("insert into whole select n, repeat('x', 100) from generate_series(1, 6000) as n");
    await db.query('analyze whole');
    const args = ['rows', 'purge', 'public.whole', '--where', 'true', '--yes', '-v'];
    const running = workspace.spawn([...args, '--batch-size', '100', '--gentle'], { DBOPS_TEST_NOW: now });
    await running.waitFor(/(?:rows in \d+ ms[^]*?){3}/);
    await db.query('alter table whole detach partition whole_1');
    const kept = await count(db, 'public.whole_1');
    const { code, stderr } = await running.done;
    expect(stderr).toContain('public.whole_1 was detached, dropped or renamed while the job ran');
    expect(code).toBe(5);
    expect(kept).toBeGreaterThan(0);
    expect(await count(db, 'public.whole_1')).toBe(kept);
    expect((await workspace.run(args, { DBOPS_TEST_NOW: now })).code).toBe(0);
    expect(await count(db, 'public.whole_1')).toBe(kept);
  });
});

describe('the key of a mask', () => {
  it('must be the same when the job goes on', async () => {
    await numbers('rekeyed', 1000);
    const args = ['mask', 'public.rekeyed', '--set', 'n=5', '--where', 'true', '--yes', '--name', 'rekey'];
    expect((await rows(workspace, ...args, '--max-time', '0s')).code).toBe(5);
    await db.query('alter table rekeyed alter id type bigint');
    const resumed = await rows(workspace, ...args);
    expect(resumed.stderr).toContain('the primary key of public.rekeyed is another than when the job');
    expect(resumed.stderr).toContain('dbops rows cancel rekey');
    expect(resumed.code).toBe(4);
    expect(await count(db, 'public.rekeyed', 'n = 5')).toBe(0);
  });

  it('must have the order of the server', async ({ skip }) => {
    const [found] = await db.query("select from pg_available_extensions where name = 'citext'");
    if (found === undefined) skip('the server has no citext');
    await db.query('create extension citext');
    await db.query('create table people (email citext primary key, phone text)');
    await db.query("insert into people values ('a', '1'), ('B', '1'), ('c', '1')");
    const result = await rows(workspace, 'mask', 'people', '--set', 'phone=null', '--where', 'true', '--yes');
    expect(result.stderr).toContain(
      "the primary key of public.people has an order that is not the server's own",
    );
    expect(result.code).toBe(4);
  });
});
