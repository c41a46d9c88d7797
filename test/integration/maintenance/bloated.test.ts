// Indexes that are mostly air: which are rebuilt in the night, by what evidence, and which are not.
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { planBloated } from '../../../src/maintenance/bloated.ts';
import { planReindex } from '../../../src/maintenance/reindex.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { maintained, openMaintenance, type MaintenanceJob } from '../../support/maintenance.ts';

const reindex = { bloatBytes: 100_000, bloatShare: 0.5, skip: ['public.sparse_left'] };
let db: TestDatabase;
let job: MaintenanceJob;
let canMeasure = false;
const role = `dbops_bloated_${randomBytes(4).toString('hex')}`;

beforeAll(async () => {
  db = await createDatabase('bloated');
  canMeasure = (await db.query("select from pg_available_extensions where name = 'pgstattuple'")).length > 0;
  await db.query(`
    create role ${role} login;
    create table public.sparse (id int, other int) with (autovacuum_enabled = off);
    insert into public.sparse select n, n from generate_series(1, 40000) as n;
    create index sparse_id on public.sparse (id);
    create index sparse_other on public.sparse (other);
    create index sparse_left on public.sparse (other);
    delete from public.sparse where id % 10 <> 0`);
  await db.query('vacuum analyze public.sparse');
  await db.query('reindex index public.sparse_other');
  job = await openMaintenance(db.url, { reindex });
});
afterAll(async () => {
  await job.db.close();
  await db.drop();
  const other = await createDatabase('drop_role');
  await other.query(`drop role ${role}`);
  await other.drop();
});

const chosen = async () => {
  const { tasks, leftOut } = await planBloated(job);
  return { tasks: tasks.map(({ target, why }) => `${target.name}: ${why}`), leftOut };
};

it('chooses what is mostly air, and leaves out what the configuration names', async () => {
  const { tasks, leftOut } = await chosen();
  expect(tasks).toEqual([expect.stringMatching(/^sparse_id: .* are air \(8\d %\), by estimate$/) as string]);
  expect(leftOut).toMatchObject([{ object: 'public.sparse_left', isExpected: true }]);
});

it('says what it cannot know, with the grant that helps', async () => {
  const url = new URL(db.url);
  url.username = role;
  const stranger = await openMaintenance(url.href, { reindex });
  try {
    const { tasks, warnings } = await planBloated(stranger);
    expect(tasks).toEqual([]);
    expect(warnings.join()).toContain(`grant pg_read_all_data to ${role};`);
  } finally {
    await stranger.db.close();
  }
});

it('does not begin what would not end in its window', async () => {
  const plan = async () => {
    const { tasks, ...others } = await planBloated(job);
    return { ...others, tasks: tasks.map((task) => ({ ...task, expectedSeconds: 3600 })) };
  };
  const window = { until: '05:00', endsAt: performance.now() + 60_000 };
  const results = await maintained(job, plan, { window });
  expect(results).toMatchObject([{ outcome: 'left', reason: expect.stringContaining('60 min') as string }]);
});

it('believes no estimate that finds an index bloated which was just rebuilt', async () => {
  // As if the columns were far narrower than they are.
  const [row] = await db.query<{ bytes: string }>("select pg_relation_size('public.sparse_id') as bytes");
  await maintained(job, () => planReindex(job, { tables: [], indexes: ['public.sparse_other'] }));
  await db.query(
    `update dbops.job set name = 'reindex public.sparse_id', spec = json_build_object('sizeBytes', ${row!.bytes})
      where name = 'reindex public.sparse_other'`,
  );
  const { tasks, leftOut } = await chosen();
  expect(tasks).toEqual([]);
  expect(leftOut[0]).toMatchObject({
    object: 'public.sparse_id',
    isExpected: true,
    why: expect.stringContaining('its last rebuild left it') as string,
  });
  await db.query('delete from dbops.job');
});

it('measures where pgstattuple is installed, rebuilds while writers go on, and has nothing to do then', async () => {
  if (canMeasure) await db.query('create extension pgstattuple');
  const { tasks } = await chosen();
  expect(tasks[0]).toMatch(canMeasure ? /\(8\d %\), measured by pgstattuple$/ : /by estimate$/);
  const results = await maintained(job, () => planReindex(job, { tables: [], indexes: [], bloated: true }));
  expect(results).toMatchObject([{ object: 'public.sparse_id', outcome: 'done' }]);
  expect(results[0]!.after!.sizeBytes!).toBeLessThan(results[0]!.before!.sizeBytes! / 4);
  expect((await chosen()).tasks).toEqual([]);
});
