// Which tables give VACUUM and ANALYZE something to do.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { defaultSettings } from '../../../src/config/settings.ts';
import { chooseTables, freezeShare } from '../../../src/maintenance/choose.ts';
import { connect } from '../../../src/pg/connection.ts';
import { listVacuumNeed, type VacuumNeedRow } from '../../../src/sql/vacuum-need.ts';
import {
  createDatabase,
  openSession,
  serverVersion,
  waitUntil,
  type TestDatabase,
} from '../../support/database.ts';
import { createRole } from '../../support/health.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase('vacuum_need');
  await db.query('create schema app');
});
afterAll(() => db.drop());

async function needOf(url: string, table: string): Promise<VacuumNeedRow> {
  const session = await connect({
    ...(await defaultSettings({ url })).connection,
    applicationName: 'dbops health',
  });
  try {
    const rows = await listVacuumNeed(session, null);
    return rows.find((row) => row.schema === 'app' && row.table === table)!;
  } finally {
    await session.close();
  }
}

/** The same, once the statistics are there: until 15 they came through a collector. */
async function counted(table: string, isThere: (row: VacuumNeedRow) => boolean): Promise<VacuumNeedRow> {
  const what = `statistics of ${table}`;
  return waitUntil(
    async () => {
      const row = await needOf(db.url, table);
      return isThere(row) ? row : null;
    },
    { what },
  );
}

it('counts what was done to a table against its own lines', async () => {
  await db.query(`create table app.orders (id int, note text) with (
    autovacuum_enabled = off, autovacuum_vacuum_threshold = 10, autovacuum_vacuum_scale_factor = 0.5,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 7,
    autovacuum_analyze_scale_factor = 0, autovacuum_freeze_max_age = 150000)`);
  const session = await openSession(db.url);
  await session.query('insert into app.orders select g from generate_series(1, 1000) as g');
  await session.end();
  expect(await counted('orders', (row) => row.liveRows > 0)).toMatchObject({
    kind: 'r',
    liveRows: 1000,
    deadRows: 0,
    // Never vacuumed: its number of rows is not known yet.
    vacuumTrigger: 10,
    insertsSinceVacuum: 1000,
    insertTrigger: null,
    modifiedSinceAnalyze: 1000,
    analyzeTrigger: 7,
    freezeMaxAge: 150_000,
    toastVacuumTrigger: 10,
    hasStatistics: false,
    isAutovacuumOff: true,
    lastVacuum: null,
    lastAnalyze: null,
    isOwned: true,
    mayMaintain: true,
  });
  await db.query('vacuum (analyze) app.orders');
  const maintained = await counted('orders', (row) => row.lastAnalyze !== null);
  expect(maintained).toMatchObject({ vacuumTrigger: 510, modifiedSinceAnalyze: 0, hasStatistics: true });
  expect(maintained.lastVacuum).toBeInstanceOf(Date);
  expect(maintained.lastAnalyze).toBeInstanceOf(Date);
  expect(maintained.sizeBytes).toBeGreaterThan(8192);
});

it('takes the lines of the server, and those of TOAST, where a table has none', async () => {
  await db.query(`create table app.plain (id int, note text)`);
  await db.query(`create table app.wide (note text) with (toast.autovacuum_vacuum_threshold = 3)`);
  await db.query('create materialized view app.totals as select 1 as n');
  expect(await needOf(db.url, 'plain')).toMatchObject({
    vacuumTrigger: 50,
    insertTrigger: 1000,
    analyzeTrigger: 50,
    toastDeadRows: 0,
    toastVacuumTrigger: 50,
    isAutovacuumOff: false,
  });
  expect(await needOf(db.url, 'wide')).toMatchObject({ vacuumTrigger: 50, toastVacuumTrigger: 3 });
  const view = await needOf(db.url, 'totals');
  expect(view).toMatchObject({ kind: 'm', toastDeadRows: null });
  expect(view.xidAge).toBeGreaterThanOrEqual(0);
});

it('bounds the line of a large table where the server does', async () => {
  if (serverVersion() < 180_000) return;
  await db.query('create table app.bounded (id int) with (autovacuum_vacuum_max_threshold = 20)');
  expect(await needOf(db.url, 'bounded')).toMatchObject({ vacuumTrigger: 20 });
});

it('lists a partitioned table for its statistics alone', async () => {
  await db.query('create table app.parent (id int) partition by range (id)');
  await db.query('create table app.leaf partition of app.parent for values from (0) to (100)');
  await db.query('insert into app.parent select g from generate_series(0, 99) as g');
  await db.query('analyze app.leaf');
  expect(await needOf(db.url, 'parent')).toMatchObject({
    kind: 'p',
    vacuumTrigger: null,
    insertTrigger: null,
    analyzeTrigger: 50,
    xidAge: null,
    hasStatistics: false,
  });
  expect(await needOf(db.url, 'leaf')).toMatchObject({ kind: 'r', hasStatistics: true });
  await db.query('analyze app.parent');
  expect(await needOf(db.url, 'parent')).toMatchObject({ hasStatistics: true });
});

it('says what a role may not see and may not do', async () => {
  await db.query('create table app.foreign_to_it (id int)');
  await db.query('insert into app.foreign_to_it select g from generate_series(1, 10) as g');
  await db.query('analyze app.foreign_to_it');
  const monitor = await createRole(db, 'pg_monitor');
  expect(await needOf(monitor.url, 'foreign_to_it')).toMatchObject({
    hasStatistics: null,
    isOwned: false,
    mayMaintain: false,
  });
  await db.query(`grant select on app.foreign_to_it to ${monitor.name}`);
  expect(await needOf(monitor.url, 'foreign_to_it')).toMatchObject({ hasStatistics: true });
  if (serverVersion() < 170_000) return;
  await db.query(`grant maintain on app.foreign_to_it to ${monitor.name}`);
  expect(await needOf(monitor.url, 'foreign_to_it')).toMatchObject({ isOwned: false, mayMaintain: true });
});

it('leaves out nothing that is chosen when only what may need something is asked for', async () => {
  await db.query(`create table app.busy (id int, note text) with (
      autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_insert_threshold = 0,
      autovacuum_vacuum_insert_scale_factor = 0);
    create table app.old (id int) with (autovacuum_freeze_max_age = 100000);
    create table app.calm (id int);
    create table app.tree (id int) partition by list (id);
    create table app.tree_1 partition of app.tree for values in (1)`);
  await db.query('insert into app.calm values (1); analyze app.calm');
  const writer = await openSession(db.url);
  await writer.query('insert into app.busy select g from generate_series(1, 10) as g');
  await writer.query('insert into app.tree values (1)');
  await writer.end();
  await counted('busy', (row) => row.insertsSinceVacuum > 0);
  const session = await connect({
    ...(await defaultSettings({ url: db.url })).connection,
    applicationName: 'dbops health',
  });
  try {
    const nobodySaid = { oids: undefined, schemas: undefined, all: false };
    // As young as the database is, a share of nothing is what every table has.
    for (const share of [freezeShare, 0]) {
      // Ages stand still in a transaction, whatever others do.
      await session.execute('begin');
      const [all, due] = [await listVacuumNeed(session, null), await listVacuumNeed(session, share)];
      await session.execute('rollback');
      for (const verb of ['vacuum', 'analyze', 'both'] as const)
        expect(chooseTables(due, nobodySaid, verb, () => false)).toEqual(
          chooseTables(all, nobodySaid, verb, () => false),
        );
      const names = due.filter(({ schema }) => schema === 'app').map(({ table }) => table);
      expect(names).toEqual(expect.arrayContaining(['busy', 'old', 'tree']));
      expect(names.includes('calm')).toBe(share === 0);
    }
  } finally {
    await session.close();
  }
});
