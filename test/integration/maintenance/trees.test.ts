// Partitioned tables, which autovacuum never analyzes, and tables of which nothing is counted.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { planVacuum } from '../../../src/maintenance/vacuum.ts';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../../support/database.ts';
import { maintained, openMaintenance, type MaintenanceJob } from '../../support/maintenance.ts';

let db: TestDatabase;
let job: MaintenanceJob;

beforeAll(async () => {
  db = await createDatabase('trees');
  const seed = await openSession(db.url);
  await seed.query(`
    create table public.hollow (id int) partition by range (id);
    create table public.tree (id int) partition by range (id);
    create table public.tree_1 partition of public.tree for values from (0) to (1000)
      with (autovacuum_enabled = off);
    create table public.tree_2 partition of public.tree for values from (1000) to (100000)
      partition by range (id);
    create table public.tree_2_1 partition of public.tree_2 for values from (1000) to (100000)
      with (autovacuum_enabled = off);
    insert into public.tree select n from generate_series(1, 2000) as n;
    create table public.upgraded (id int) with (autovacuum_enabled = off);
    insert into public.upgraded select n from generate_series(1, 100) as n`);
  await seed.end();
  await rowsCounted('tree_2_1', 1001);
  await rowsCounted('upgraded', 100);
  await db.query("select pg_stat_reset_single_table_counters('public.upgraded'::regclass)");
  // Before PostgreSQL 15 a process of its own forgets them.
  await waitUntil(async () => (await countOf('upgraded')) === 0, { what: 'statistics that are lost' });
  job = await openMaintenance(db.url);
});
afterAll(async () => {
  await job.db.close();
  await db.drop();
});

async function countOf(table: string): Promise<number> {
  const [row] = await db.query<{ n: number }>(
    `select pg_stat_get_mod_since_analyze('public.${table}'::regclass)::int as n`,
  );
  return row!.n;
}

async function rowsCounted(table: string, changes: number): Promise<void> {
  await waitUntil(async () => (await countOf(table)) >= changes, { what: `the rows of ${table}` });
}

const plan = (tables: string[] = []) => planVacuum(job, { tables, schemas: [], all: false }, 'analyze');
const due = async () =>
  (await plan()).tasks
    .filter(({ target }) => target.schema === 'public')
    .map(({ target, why }) => `${target.name}: ${why}`)
    .sort();

it('analyzes what was never looked at, but no partitioned table without partitions', async () => {
  expect(await due()).toEqual([
    expect.stringMatching(/^tree: it has no statistics/) as string,
    expect.stringMatching(/^tree_1: .* rows changed/) as string,
    expect.stringMatching(/^tree_2: it has no statistics/) as string,
    expect.stringMatching(/^tree_2_1: .* rows changed/) as string,
    'upgraded: it has no statistics',
  ]);
});

it('analyzes partitions first, and no two of one tree at once', async () => {
  const results = await maintained(job, () => plan(), { jobs: 4 });
  expect(results.filter(({ outcome }) => outcome !== 'done')).toEqual([]);
  const order = results.map(({ object }) => object);
  expect(order.indexOf('public.tree')).toBeGreaterThan(order.indexOf('public.tree_2_1'));
  // What a session did is counted up to a second after it.
  await waitUntil(async () => (await due()).length === 0, { what: 'nothing that is due' });
});

it('analyzes a partitioned table again when many rows of its partitions have changed', async () => {
  const session = await openSession(db.url);
  await session.query('update public.tree_2_1 set id = id where id < 1500');
  await session.end();
  await rowsCounted('tree_2_1', 499);
  const [tree] = (await due()).filter((line) => line.startsWith('tree:'));
  expect(tree).toMatch(/^tree: 500 rows of partitions that changed since it was analyzed, due from 250/);
});
