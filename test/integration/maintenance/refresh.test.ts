// Materialized views that are kept fresh.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { exitCodeOf } from '../../../src/maintenance/run.ts';
import { planRefresh } from '../../../src/maintenance/refresh.ts';
import { createDatabase, openSession, type TestDatabase } from '../../support/database.ts';
import { maintained, openMaintenance, type MaintenanceJob } from '../../support/maintenance.ts';

let db: TestDatabase;
let job: MaintenanceJob;
const due = { views: [], allowLock: false };

beforeAll(async () => {
  db = await createDatabase('refresh');
  await db.query(`
    create table public.source (id int);
    insert into public.source values (1);
    create materialized view public.good as select id from public.source;
    create unique index on public.good (id);
    create materialized view public.partial as select id from public.source;
    create unique index on public.partial (id) where id > 0;
    create materialized view public.empty as select id from public.source with no data;
    create unique index on public.empty (id)`);
  job = await openMaintenance(db.url, {
    refresh: ['good', 'partial', 'empty', 'lost'].map((view) => ({ view, everyMs: 3_600_000 })),
  });
});
afterAll(async () => {
  await job.db.close();
  await db.drop();
});

it('refreshes what is due while readers go on, and says what the others lack', async () => {
  await db.query('insert into public.source values (2)');
  const reader = await openSession(db.url);
  await reader.begin();
  await reader.query('select * from public.good');
  const { leftOut } = await planRefresh(job, due);
  const results = await maintained(job, () => planRefresh(job, due));
  await reader.end();
  expect(results).toMatchObject([{ object: 'public.good', outcome: 'done' }]);
  // What is due and could not be done is no success.
  expect([exitCodeOf(results), exitCodeOf(results, leftOut), exitCodeOf([], leftOut)]).toEqual([0, 5, 4]);
  expect(await db.query('select id from public.good order by id')).toEqual([{ id: 1 }, { id: 2 }]);
  const why = (object: string) => leftOut.find((item) => item.object === object)?.why;
  expect(why('public.partial')).toContain('unique index on plain columns');
  expect(why('public.empty')).toContain('never populated');
  expect(why('public.lost')).toContain('no materialized view');
});

it('is due again only after its time', async () => {
  expect((await planRefresh(job, due)).tasks).toEqual([]);
  // Those that come each hour come a little earlier or later.
  const later = { ...job, now: new Date(Date.now() + 3_550_000) };
  expect((await planRefresh(later, due)).tasks.map(({ target }) => target.name)).toEqual(['good']);
});

it('keeps readers out only when told to, and waits for none of them long', async () => {
  const named = { views: ['public.partial', 'public.empty'], allowLock: true };
  const reader = await openSession(db.url);
  await reader.begin();
  await reader.query('select * from public.partial');
  const results = await maintained(job, () => planRefresh(job, named));
  await reader.end();
  expect(results).toMatchObject([
    { object: 'public.partial', outcome: 'skipped' },
    { object: 'public.empty', outcome: 'done' },
  ]);
  await expect(planRefresh(job, { ...named, views: ['public.lost'] })).rejects.toMatchObject({
    code: 'table_not_found',
  });
});
