// Where nothing is to be done, what was looked at is told, and what comes nearest.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeLooked } from '../../../src/maintenance/looked.ts';
import { planNight } from '../../../src/maintenance/night.ts';
import { planReindex } from '../../../src/maintenance/reindex.ts';
import type { MaintenancePlan } from '../../../src/maintenance/task.ts';
import { planVacuum } from '../../../src/maintenance/vacuum.ts';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../../support/database.ts';
import { openMaintenance, type MaintenanceJob } from '../../support/maintenance.ts';

let db: TestDatabase;
let job: MaintenanceJob;

async function counted(condition: string): Promise<void> {
  const ask = () => db.query(`select from pg_class where relname in ('near', 'far') having ${condition}`);
  await waitUntil(async () => (await ask())[0], { what: `statistics: ${condition}` });
}

beforeAll(async () => {
  db = await createDatabase('looked');
  const seed = await openSession(db.url);
  await seed.query(`
    create table public.near (id int primary key) with (autovacuum_enabled = off);
    create table public.far (id int primary key) with (autovacuum_enabled = off);
    insert into public.near select n from generate_series(1, 2000) as n;
    insert into public.far select n from generate_series(1, 2000) as n`);
  await seed.end();
  await counted('sum(pg_stat_get_ins_since_vacuum(oid)) = 4000');
  // The catalogs are to be far from needing it as well; the first VACUUM fills the statistics, which is counted at its end.
  for (const sql of ['vacuum analyze', 'vacuum analyze pg_catalog.pg_statistic']) {
    const keeper = await openSession(db.url);
    await keeper.query(sql);
    await keeper.end();
    await counted('sum(pg_stat_get_ins_since_vacuum(oid)) = 0');
    await waitUntil(
      async () => (await db.query('select from pg_stat_activity where pid = $1', [keeper.pid])).length === 0,
      { what: 'the end of a session' },
    );
  }
  const writer = await openSession(db.url);
  await writer.query('delete from public.near where id <= 240');
  await writer.query('delete from public.far where id <= 20');
  await writer.end();
  await counted('sum(pg_stat_get_dead_tuples(oid)) = 260');
  job = await openMaintenance(db.url);
});
afterAll(async () => {
  await job.db.close();
  await db.drop();
});

const told = ({ tasks, leftOut, looked = [] }: MaintenancePlan) => {
  expect([...tasks, ...leftOut]).toEqual([]);
  return looked.map(describeLooked);
};
const due = { tables: [], schemas: [], all: false };

it('names the table that is nearest to its line, of VACUUM and of ANALYZE', async () => {
  // 50 + 0.2 * 2000 dead rows, 50 + 0.1 * 2000 changed ones.
  expect(told(await planVacuum(job, due, 'vacuum'))).toEqual([
    expect.stringMatching(
      /^\d+ tables .* were looked at; the nearest is public\.near: 240 dead rows, due from 450 \(53 % of the way\)$/,
    ),
  ]);
  expect(told(await planVacuum(job, due, 'analyze'))).toEqual([
    expect.stringMatching(
      /the nearest is public\.near: 240 rows changed since it was analyzed, due from 250 \(96 % of the way\)$/,
    ),
  ]);
});

it('names the index with the most air, and how many were looked at for leftovers', async () => {
  const nothing = { tables: [], indexes: [] };
  expect(told(await planReindex(job, { ...nothing, bloated: true }))).toEqual([
    expect.stringMatching(
      /^\d+ btree indexes .* the nearest is public\.\w+_pkey: .* are air .* due from 100 MB and 50 %/,
    ),
  ]);
  expect(told(await planReindex(job, nothing))).toEqual([
    expect.stringMatching(/^\d+ indexes, none of them the leftover of a rebuild, were looked at$/),
  ]);
});

it('tells of tables and indexes for a night that has nothing to do, and of a name that stands for no table', async () => {
  const lines = told(await planNight(job));
  expect(lines).toEqual([expect.stringContaining('public.near'), expect.stringContaining('btree indexes')]);
  await db.query('create schema hollow');
  expect(told(await planVacuum(job, { ...due, schemas: ['hollow'] }, 'vacuum'))[0]).toMatch(/^0 tables/);
});
