// What this host says of the disks of its own server, and sizes by the catalog.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, openSession, type TestDatabase } from '../../support/database.ts';
import { createRole, findingOf, findingsOf } from '../../support/health.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase('disk');
});
afterAll(() => db.drop());

const disk = (warn: number) => ({ thresholds: { 'disk.used': { warn, crit: 'never' } } });

test('a disk that is fuller than it may be is found once, with the places on it', async () => {
  const [full, ...more] = await findingsOf(db, ['disk.used'], disk(0));
  expect(more).toEqual([]);
  expect(full).toMatchObject({ severity: 'warn', object: 'data directory', unit: 'percent' });
  expect(full?.detail).toContain('; also pg_wal');
  expect(await findingOf(db, 'disk.used', disk(100.1))).toMatchObject({ severity: 'ok' });
});

test('a role that may not know the data directory is told the GRANT, pg_monitor knows it', async () => {
  const nothing = await createRole(db);
  expect(await findingOf(db, 'disk.used', { ...disk(0), as: nothing })).toMatchObject({
    severity: 'unknown',
    mend: `grant pg_read_all_settings to ${nothing.name};`,
  });
  const monitor = await createRole(db, 'pg_monitor');
  expect(await findingOf(db, 'disk.used', { ...disk(0), as: monitor })).toMatchObject({ severity: 'warn' });
});

test('large tables are found with TOAST and indexes; one that somebody holds is told by the catalog', async () => {
  await db.query('create table small (id int)');
  await db.query(
    `create table large as select g as id, repeat(md5(g::text), 20) as text from generate_series(1, 20000) as g`,
  );
  await db.query('create index on large (text)');
  const sizes = { thresholds: { 'sizes.tables': { warn: '10 MB' } } };
  expect(await findingOf(db, 'sizes.tables')).toMatchObject({ severity: 'ok' });
  const found = await findingOf(db, 'sizes.tables', sizes);
  expect(found).toMatchObject({ object: 'public.large', severity: 'warn', detail: null });
  const [real] = await db.query<{ bytes: number }>(`select pg_total_relation_size('large')::float8 as bytes`);
  expect(found.observed).toBe(real?.bytes);
  await db.query('analyze large');
  const holder = await openSession(db.url);
  await holder.begin();
  await holder.query('lock table large in access exclusive mode');
  const held = await findingOf(db, 'sizes.tables', { ...sizes, as: await createRole(db) });
  expect(held).toMatchObject({ object: 'public.large', severity: 'warn' });
  expect(held.detail).toContain('holds it alone');
  await holder.query('rollback');
  // REINDEX of the TOAST table: a size of the table would wait for its index.
  await holder.begin();
  const [toast] = await holder.query<{ name: string }>(
    `select reltoastrelid::regclass::text as name from pg_class where oid = 'large'::regclass`,
  );
  await holder.query(`reindex index ${toast?.name ?? ''}_index`);
  expect(await findingOf(db, 'sizes.tables', sizes)).toMatchObject({
    object: 'public.large',
    severity: 'warn',
  });
});
