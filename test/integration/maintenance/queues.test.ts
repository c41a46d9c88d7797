// No verb of maintenance stands in a lock queue, and a lock that stays ends nothing but its own task.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { planVacuum } from '../../../src/maintenance/vacuum.ts';
import { createDatabase, openSession, type TestDatabase } from '../../support/database.ts';
import { maintained, openMaintenance, type MaintenanceJob } from '../../support/maintenance.ts';

let db: TestDatabase;
let job: MaintenanceJob;

beforeAll(async () => {
  db = await createDatabase('queues');
  await db.query(`
    create table public.locked (id int primary key, text text);
    insert into public.locked select n, 'x' from generate_series(1, 200) as n;
    create table public.other (id int primary key);
    insert into public.other values (1)`);
  job = await openMaintenance(db.url);
});
afterAll(async () => {
  await job.db.close();
  await db.drop();
});

const named = (...tables: string[]) => ({ tables, schemas: [], all: false });

it('measures a table whose index or TOAST table alone is locked by the catalog, and does the others', async () => {
  const builder = await openSession(db.url);
  await builder.begin();
  // Holds the index in ACCESS EXCLUSIVE, and the table in SHARE.
  await builder.query('reindex index public.locked_pkey');
  const results = await maintained(job, () =>
    planVacuum(job, named('public.locked', 'public.other'), 'vacuum'),
  );
  await builder.end();
  const outcomes = Object.fromEntries(results.map(({ object, outcome }) => [object, outcome]));
  expect(outcomes).toEqual({ 'public.locked': 'skipped', 'public.other': 'done' });
});
