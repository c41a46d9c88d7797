// Rebuilds of indexes, and what those that failed have left behind.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { exitCodeOf } from '../../../src/maintenance/run.ts';
import { planReindex } from '../../../src/maintenance/reindex.ts';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../../support/database.ts';
import { maintained, openMaintenance, type MaintenanceJob } from '../../support/maintenance.ts';

const nothing = { tables: [], indexes: [] };
let db: TestDatabase;
let job: MaintenanceJob;

beforeAll(async () => {
  db = await createDatabase('reindex');
  await db.query(`
    create table public.big (id int primary key, room int4range, exclude using gist (room with &&));
    create index big_low on public.big (id) where id < 10;
    insert into public.big select n, int4range(n, n + 1) from generate_series(1, 5000) as n;
    delete from public.big where id % 10 <> 0`);
  await db.query('vacuum analyze public.big');
  job = await openMaintenance(db.url);
});
afterAll(async () => {
  await job.db.close();
  await db.drop();
});

const invalid = () =>
  db.query<{ name: string }>(
    'select indexrelid::regclass::text as name from pg_index where not indisvalid order by 1',
  );

it('rebuilds the smallest first, and skips what has no concurrent form', async () => {
  const results = await maintained(job, () => planReindex(job, { ...nothing, tables: ['public.big'] }));
  expect(results.map(({ object, outcome }) => [object, outcome])).toEqual([
    ['public.big_low', 'done'],
    ['public.big_pkey', 'done'],
    ['public.big_room_excl', 'skipped'],
  ]);
  expect(results[1]!.after!.sizeBytes!).toBeLessThan(results[1]!.before!.sizeBytes!);
  // Of the index, not of its table.
  const [row] = await db.query<{ bytes: string }>("select pg_relation_size('public.big_pkey') as bytes");
  expect(results[1]!.after!.sizeBytes).toBe(Number(row!.bytes));
  expect(exitCodeOf(results)).toBe(5);
  expect(await invalid()).toEqual([]);
});

it('removes what a cancelled rebuild left behind, but not while it is built', async () => {
  const writer = await openSession(db.url);
  await writer.begin();
  await writer.query('update public.big set id = id where id = 10');
  const builder = await openSession(db.url);
  const building = builder.query('reindex index concurrently public.big_pkey').catch(() => undefined);
  const left = await waitUntil(async () => (await invalid())[0]?.name, { what: 'an index in the making' });
  expect(left).toMatch(/_ccnew$/);
  const meanwhile = await planReindex(job, nothing);
  expect(meanwhile.tasks).toEqual([]);
  expect(meanwhile.leftOut[0]?.why).toContain('in the making');
  await db.query('select pg_cancel_backend($1)', [builder.pid]);
  await building;
  await writer.end();
  expect(await invalid()).toHaveLength(1);
  const results = await maintained(job, () => planReindex(job, nothing));
  expect(results).toMatchObject([{ verb: 'drop leftover', outcome: 'done' }]);
  expect(await invalid()).toEqual([]);
});

it('does not begin while a transaction writes to the table, nor goes beyond its window, and leaves nothing behind', async () => {
  const writer = await openSession(db.url);
  await writer.begin();
  await writer.query('update public.big set id = id where id = 10');
  const request = { ...nothing, indexes: ['public.big_low'] };
  const [locked] = await maintained(job, () => planReindex(job, request));
  expect(locked).toMatchObject({ outcome: 'skipped' });
  expect(locked?.reason).toContain(`pid ${String(writer.pid)}`);
  await writer.end();
  // A snapshot that is older lets it wait until the window closes.
  const reader = await openSession(db.url);
  await reader.query('begin isolation level repeatable read');
  await reader.query('select count(*) from pg_class');
  const window = { until: '05:00', endsAt: performance.now() + 400 };
  const results = await maintained(job, () => planReindex(job, request), { window });
  await reader.end();
  expect(results[0]).toMatchObject({ verb: 'reindex', outcome: 'left' });
  await maintained(job, () => planReindex(job, nothing));
  expect(await invalid()).toEqual([]);
});

it('makes an index valid again that is named, and says so when there is none of that name', async () => {
  await db.query('create index big_broken on public.big (id)');
  await db.query("update pg_index set indisvalid = false where indexrelid = 'public.big_broken'::regclass");
  const request = { ...nothing, indexes: ['public.big_broken'] };
  const results = await maintained(job, () => planReindex(job, request));
  expect(results).toMatchObject([{ verb: 'reindex', object: 'public.big_broken', outcome: 'done' }]);
  expect(await invalid()).toEqual([]);
  await expect(planReindex(job, { ...nothing, indexes: ['public.big_brokn'] })).rejects.toMatchObject({
    message: 'there is no index public.big_brokn in this database',
    hint: 'Did you mean public.big_broken?',
  });
  await expect(planReindex(job, { ...nothing, indexes: ['public.big'] })).rejects.toMatchObject({
    hint: 'Name an index.',
  });
});

it('says what a rebuild that is interrupted may leave behind, and removes it with the next run', async () => {
  const reader = await openSession(db.url);
  await reader.query('begin isolation level repeatable read');
  await reader.query('select count(*) from pg_class');
  const abort = new AbortController();
  const told: string[] = [];
  const interrupted = await openMaintenance(db.url, {}, { signal: abort.signal });
  const run = maintained(
    { ...interrupted, log: { ...interrupted.log, warn: (_fields, message) => told.push(message) } },
    () => planReindex(interrupted, { ...nothing, indexes: ['public.big_pkey'] }),
  );
  const left = await waitUntil(async () => (await invalid())[0]?.name, { what: 'an index in the making' });
  abort.abort('SIGINT');
  await expect(run).rejects.toMatchObject({ code: 'interrupted' });
  await reader.end();
  await interrupted.db.close();
  expect(told.join()).toContain('"dbops maintenance reindex" removes it');
  await waitUntil(async () => (await planReindex(job, nothing)).tasks.length === 1, {
    what: 'the end of it',
  });
  const results = await maintained(job, () => planReindex(job, nothing));
  expect(results).toMatchObject([{ verb: 'drop leftover', object: `public.${left}`, outcome: 'done' }]);
  expect(await invalid()).toEqual([]);
});
