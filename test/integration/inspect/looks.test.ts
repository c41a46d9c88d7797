// What people ask of a server: activity, connections, sizes, tables, indexes and statements.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { unseenSessions } from '../../../src/inspect/look.ts';
import { lookAtStatements } from '../../../src/inspect/slow.ts';
import { connect, type Db } from '../../../src/pg/connection.ts';
import { listActivity, listConnectionGroups } from '../../../src/sql/inspect-activity.ts';
import { listTableSizes } from '../../../src/sql/inspect-sizes.ts';
import { listIndexUse, listTableUse } from '../../../src/sql/inspect-tables.ts';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../../support/database.ts';
import { createRole } from '../../support/health.ts';

let database: TestDatabase;
let db: Db;

const open = (url: string) => connect({ url, connectTimeoutMs: 10_000, applicationName: 'test' });

beforeAll(async () => {
  database = await createDatabase('inspect');
  await database.query(`
    create table public.plain (id int primary key, body text);
    insert into public.plain select n, repeat('x', 100) from generate_series(1, 5000) as n;
    create table public.parted (id int, at date) partition by range (at);
    create table public.parted_1 partition of public.parted for values from ('2026-01-01') to ('2026-02-01');
    create table public.parted_2 partition of public.parted for values from ('2026-02-01') to ('2026-03-01');
    create index parted_id on public.parted (id);
    insert into public.parted select n, '2026-01-15'::date + (n % 2) * 31 from generate_series(1, 20000) as n;
    create materialized view public.summary as select count(*) from public.plain;
    analyze`);
  db = await open(database.url);
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

describe('inspect activity and connections', () => {
  it('show what is open, the longest first, and not this session', async () => {
    const [older, younger] = [await openSession(database.url), await openSession(database.url)];
    await older.begin();
    await older.query('select 1');
    await younger.begin();
    await younger.query('select 2');
    const rows = await listActivity(db, 50);
    const pids = rows.map(({ pid }) => pid);
    expect(pids.indexOf(older.pid)).toBeGreaterThanOrEqual(0);
    expect(pids.indexOf(older.pid)).toBeLessThan(pids.indexOf(younger.pid));
    expect(pids).not.toContain(db.server.pid);
    expect(rows.find(({ pid }) => pid === older.pid)).toMatchObject({
      state: 'idle in transaction',
      query: 'select 1',
      database: database.name,
    });
    const groups = await listConnectionGroups(db, 100);
    const own = groups.find(
      (group) => group.database === database.name && group.application === 'dbops test',
    );
    expect(own).toMatchObject({ idleInTransaction: 2, hidden: 0 });
    expect(await unseenSessions(db)).toEqual([]);
  });

  it('say what a role may not see, until it has the GRANT', async () => {
    const role = await createRole(database);
    const session = await openSession(database.url);
    await session.begin();
    const blind = await open(role.url);
    expect(await listActivity(blind, 50)).toEqual([]);
    const group = (await listConnectionGroups(blind, 100)).find(
      (item) => item.database === database.name && item.user !== role.name,
    );
    expect(group?.hidden).toBe(group?.sessions);
    expect((await unseenSessions(blind))[0]).toContain(`grant pg_read_all_stats to ${role.name};`);
    await blind.close();
    await database.query(`grant pg_monitor to ${role.name}`);
    const seeing = await open(role.url);
    expect(await unseenSessions(seeing)).toEqual([]);
    expect((await listActivity(seeing, 50)).map(({ pid }) => pid)).toContain(session.pid);
    await seeing.close();
  });
});

describe('inspect sizes', () => {
  it('sums a partitioned table over its leaves, with indexes and TOAST', async () => {
    const rows = await listTableSizes(db, 20);
    expect(rows.map(({ name }) => name)).toEqual(['parted', 'plain', 'summary']);
    const [sums] = await database.query<{ own: number; indexes: number; toast: number }>(`
      select sum(pg_relation_size(relid))::float8 as own, sum(pg_indexes_size(relid))::float8 as indexes
        from pg_partition_tree('public.parted') where isleaf`);
    expect(rows[0]).toMatchObject({
      partitions: 2,
      rows: 20000,
      tableBytes: sums!.own,
      isEstimated: false,
      toastBytes: 0,
    });
    expect(Math.abs(rows[0]!.indexBytes - sums!.indexes) / sums!.indexes).toBeLessThan(0.2);
    // An empty TOAST table has an index of one page.
    expect(rows[1]).toMatchObject({ partitions: 0, toastBytes: 8192 });
    expect(await listTableSizes(db, 1)).toHaveLength(1);
    // A system catalog counts once it is large.
    const pages = (count: number) =>
      database.query("update pg_class set relpages = $1 where relname = 'pg_largeobject'", [count]);
    await pages(1024);
    expect((await listTableSizes(db, 20)).map(({ name }) => name)).toContain('pg_largeobject');
    await pages(0);
  });

  it('waits for nobody who holds, or waits for, ACCESS EXCLUSIVE', async () => {
    const [reader, holder] = [await openSession(database.url), await openSession(database.url)];
    await reader.begin();
    await reader.query('select from public.plain limit 1');
    await holder.begin();
    await holder
      .query('lock table public.parted_1, public.parted_id in access exclusive mode')
      .catch(async () => {
        await holder.query('rollback');
        await holder.begin();
        await holder.query('lock table public.parted_1 in access exclusive mode');
      });
    const waiter = await openSession(database.url);
    const wait = waiter.query('alter table public.plain add column later int');
    await waitUntil(
      async () =>
        (await database.query('select from pg_locks where pid = $1 and not granted', [waiter.pid])).length >
        0,
      { what: 'a wait' },
    );
    const rows = await listTableSizes(db, 20);
    expect(rows.map(({ name, isEstimated }) => ({ name, isEstimated }))).toEqual([
      { name: 'parted', isEstimated: true },
      { name: 'plain', isEstimated: true },
      { name: 'summary', isEstimated: false },
    ]);
    expect(rows[0]!.tableBytes).toBeGreaterThan(700_000);
    expect((await listIndexUse(db, 'size', 20)).map(({ name }) => name)).toContain('plain_pkey');
    await reader.query('rollback');
    await holder.query('rollback');
    await wait;
  });
});

describe('inspect tables and indexes', () => {
  it('sort by what was asked for', async () => {
    const [most] = await waitUntil(
      async () => {
        // A session sends its counts at the end of a statement.
        await database.query('select 1');
        const rows = await listTableUse(db, 'writes', 5);
        return rows[0]?.inserted === 10000 ? rows : undefined;
      },
      { what: 'the statistics of the inserts' },
    );
    expect(most).toMatchObject({ schema: 'public', rows: 10000, updated: 0 });
    expect(most?.lastAnalyze).toBeInstanceOf(Date);
    for (const order of ['reads', 'dead', 'age'] as const)
      expect((await listTableUse(db, order, 5)).length).toBeGreaterThan(2);
    const [largest] = await listIndexUse(db, 'size', 1);
    expect(largest).toMatchObject({ method: 'btree', isValid: true, isEstimated: false });
    const unused = await listIndexUse(db, 'unused', 5);
    expect(unused.find(({ name }) => name === 'plain_pkey')).toMatchObject({
      table: 'plain',
      isPrimary: true,
    });
    expect(unused[0]?.definition).toMatch(/^CREATE (UNIQUE )?INDEX /);
    expect((await listIndexUse(db, 'scans', 5)).length).toBe(3);
  });
});

describe('inspect tables', () => {
  it('knows that TOAST is frozen apart from its table', async () => {
    await database.query('create table public.toasted (body text)');
    await database.query('vacuum (freeze, process_toast false) public.toasted');
    for (let count = 0; count < 5; count += 1) await database.query('select txid_current()');
    await database.query('vacuum (freeze, process_toast false) public.toasted');
    const [age] = await database.query<{ own: number; toast: number }>(`
      select age(c.relfrozenxid) as own, age(t.relfrozenxid) as toast
        from pg_class as c join pg_class as t on t.oid = c.reltoastrelid
       where c.oid = 'public.toasted'::regclass`);
    expect(age!.toast).toBeGreaterThan(age!.own);
    const row = (await listTableUse(db, 'age', 20)).find(({ name }) => name === 'toasted');
    expect(row?.freezeAge).toBeGreaterThanOrEqual(age!.toast);
    await database.query('drop table public.toasted');
  });
});

describe('inspect slow', () => {
  it('says what it takes where the extension is missing', async () => {
    const { rows, missing } = await lookAtStatements(db, { sort: 'total', limit: 5, now: new Date() });
    expect(rows).toEqual([]);
    expect(missing).toContain(`the extension pg_stat_statements is not in database "${database.name}"`);
    expect(missing).toContain('create extension pg_stat_statements;');
  });

  it('says what it takes where its library was not loaded', async () => {
    await database.query('create extension pg_stat_statements');
    const { missing } = await lookAtStatements(db, { sort: 'total', limit: 5, now: new Date() });
    expect(missing).toContain('the library of pg_stat_statements is not loaded');
    expect(missing).toMatch(/^alter system set shared_preload_libraries = .*'pg_stat_statements';/m);
    const role = await createRole(database);
    const blind = await open(role.url);
    const unread = await lookAtStatements(blind, { sort: 'total', limit: 5, now: new Date() });
    await blind.close();
    // What would replace the libraries that are loaded is not for copying.
    expect(unread.missing).not.toContain('alter system');
    expect(unread.missing).toContain('keep what is there');
    await database.query('drop extension pg_stat_statements');
  });
});
