import { afterAll, beforeAll, expect, it } from 'vitest';
import { lookAtBloat } from '../../../src/inspect/bloat.ts';
import { connect } from '../../../src/pg/connection.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { createRole } from '../../support/health.ts';

let database: TestDatabase;

const look = async (url: string) => {
  const db = await connect({ url, connectTimeoutMs: 10_000, applicationName: 'test' });
  try {
    return await lookAtBloat(db, 10);
  } finally {
    await db.close();
  }
};

beforeAll(async () => {
  database = await createDatabase('inspect_bloat');
  await database.query(`
    create table public.airy (id int, body text);
    insert into public.airy select n, repeat('x', 200) from generate_series(1, 20000) as n;
    delete from public.airy where id % 10 <> 0`);
  await database.query('vacuum analyze public.airy');
});
afterAll(() => database.drop());

it('shows the air of a table, and says what a role cannot estimate', async () => {
  const { rows, unseen } = await look(database.url);
  expect(rows[0]).toMatchObject({ name: 'airy' });
  expect(rows[0]!.wastedBytes! / rows[0]!.sizeBytes).toBeGreaterThan(0.7);
  expect(unseen).toEqual([]);
  const role = await createRole(database);
  const blind = await look(role.url);
  expect(blind.rows).toEqual([]);
  expect(blind.unseen[0]).toContain(`grant pg_read_all_data to ${role.name};`);
});
