// What is not counted cannot be found: then that nothing is due is not said.
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { exitCodeOf } from '../../../src/maintenance/run.ts';
import { planVacuum } from '../../../src/maintenance/vacuum.ts';
import {
  createDatabase,
  openSession,
  startPrivateServer,
  waitUntil,
  type TestDatabase,
} from '../../support/database.ts';
import { maintained, openMaintenance, type MaintenanceJob } from '../../support/maintenance.ts';

let db: TestDatabase;
let job: MaintenanceJob;
const role = `dbops_counting_${randomBytes(4).toString('hex')}`;

beforeAll(async () => {
  db = await createDatabase('counting');
  const seed = await openSession(db.url);
  await seed.query(`
    create table public.counted (id int primary key) with (autovacuum_enabled = off);
    create table public.indexed (id int) with (autovacuum_enabled = off);
    create table public.lost (id int primary key) with (autovacuum_enabled = off);
    insert into public.counted select n from generate_series(1, 40) as n;
    insert into public.indexed select n from generate_series(1, 40) as n;
    create index on public.indexed (id);
    insert into public.lost select n from generate_series(1, 40) as n`);
  await seed.query('vacuum analyze public.counted');
  await seed.query('vacuum analyze public.lost');
  await seed.end();
  await waitUntil(
    async () =>
      (await db.query("select from pg_stat_user_tables where relname = 'indexed' and n_tup_ins = 40"))[0],
    { what: 'the statistics' },
  );
  job = await openMaintenance(db.url);
});
afterAll(async () => {
  await job.db.close();
  await db.drop();
  const other = await createDatabase('drop_role');
  await other.query(`drop role if exists ${role}`);
  await other.drop();
});

const plan = async (verb: 'vacuum' | 'analyze' | 'both') => {
  const { tasks, leftOut } = await planVacuum(job, { tables: [], schemas: [], all: false }, verb);
  return {
    tasks: tasks
      .filter(({ target }) => target.schema === 'public')
      .map(({ verb: what, target, why }) => `${what} ${target.name}: ${why}`),
    leftOut,
  };
};

it('finds nothing where all is counted, and what was made without VACUUM is no loss', async () => {
  expect(await plan('vacuum')).toEqual({ tasks: [], leftOut: [] });
  expect(await plan('both')).toEqual({ tasks: ['analyze indexed: it has no statistics'], leftOut: [] });
  await db.query('analyze public.indexed');
});

it('says of a table whose counters were lost that it is unknown, and counts it anew', async () => {
  await db.query("select pg_stat_reset_single_table_counters('public.lost'::regclass)");
  await waitUntil(async () => (await plan('vacuum')).leftOut.length > 0, {
    what: 'statistics that are lost',
  });
  const { tasks, leftOut } = await plan('vacuum');
  expect(tasks).toEqual([]);
  expect(leftOut).toEqual([
    {
      object: 'public.lost',
      why: expect.stringContaining('"dbops maintenance analyze" counts anew') as string,
    },
  ]);
  // Unknown is not done.
  expect(exitCodeOf([], leftOut)).toBe(4);
  const results = await maintained(job, () =>
    planVacuum(job, { tables: [], schemas: [], all: false }, 'analyze'),
  );
  expect(results.filter(({ object }) => object.startsWith('public.'))).toMatchObject([
    { verb: 'analyze', object: 'public.lost', outcome: 'done' },
  ]);
  await waitUntil(async () => (await plan('both')).tasks.length === 0, { what: 'what was counted anew' });
  expect(await plan('vacuum')).toEqual({ tasks: [], leftOut: [] });
});

it('says that all is unknown where track_counts is off, and what sets it', async () => {
  await db.query(`create role ${role} login`);
  await db.query(`alter role ${role} in database ${db.name} set track_counts = 'off'`);
  await db.query(`alter database ${db.name} set track_counts = off`);
  const { leftOut } = await plan('both');
  await db.query(`alter database ${db.name} reset track_counts`);
  await db.query(`alter role ${role} in database ${db.name} reset track_counts`);
  expect(leftOut.map(({ why }) => why.replace(/^.*; set it: /, ''))).toEqual([
    `alter role ${role} in database ${db.name} reset track_counts;`,
    `alter database ${db.name} reset track_counts;`,
  ]);
  expect(leftOut[0]?.why).toContain('unknown');
  expect(exitCodeOf([], leftOut)).toBe(4);
  expect((await plan('both')).leftOut).toEqual([]);
});

it('says so of a server that counts nothing at all', async () => {
  const server = await startPrivateServer({ track_counts: 'off' });
  const off = await openMaintenance(server.url);
  try {
    const { leftOut } = await planVacuum(off, { tables: [], schemas: [], all: false }, 'analyze');
    expect(leftOut).toHaveLength(1);
    expect(leftOut[0]?.why).toContain('alter system set track_counts = on;');
  } finally {
    await off.db.close();
    await server.stop();
  }
});
