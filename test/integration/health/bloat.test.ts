// What health says of air in tables and indexes, and how far the estimate is from what pgstattuple measures.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { createRole, findingsOf } from '../../support/health.ts';

let db: TestDatabase;
let canMeasure = false;
beforeAll(async () => {
  db = await createDatabase('health_bloat');
  await db.query('create schema app');
  const found = await db.query(`select from pg_available_extensions where name = 'pgstattuple'`);
  canMeasure = found.length > 0;
  if (canMeasure) await db.query('create extension pgstattuple');
  for (const name of ['sparse', 'dense'])
    await db.query(
      `create table app.${name} (id int, kind int, at timestamptz, note text) with (autovacuum_enabled = off)`,
    );
  await db.query(
    `insert into app.sparse select g, g % 10, now(), repeat('x', g % 50) from generate_series(1, 60000) as g`,
  );
  await db.query(
    `insert into app.dense select g, g % 10, now(), repeat('x', g % 50) from generate_series(1, 60000) as g`,
  );
  for (const name of ['sparse', 'dense']) {
    await db.query(`create index ${name}_id on app.${name} (id)`);
    await db.query(`create index ${name}_kind on app.${name} (kind)`);
    await db.query(`create index ${name}_lower on app.${name} (lower(note), kind)`);
  }
  await db.query('delete from app.sparse where id % 5 <> 0');
  await db.query('vacuum (analyze) app.sparse, app.dense');
});
afterAll(() => db.drop());

/** So low that everything of some size is told. */
const thresholds = {
  'bloat.tables': { warn: 100_000, crit: 'never' },
  'bloat.indexes': { warn: 100_000, crit: 'never' },
};

/** Estimated and measured bytes of air. */
async function compare(
  check: string,
  object: string,
  measured: string,
): Promise<{ share: number; error: number }> {
  const finding = (await findingsOf(db, [check], { thresholds })).find((item) => item.object === object);
  expect(finding, `${check} of ${object}`).toBeDefined();
  const [real] = await db.query<{ air: number; size: number }>(measured);
  const estimated = finding!.observed! / real!.size;
  return { share: real!.air / real!.size, error: Math.abs(estimated - real!.air / real!.size) };
}

it('finds a table that is mostly air, within 8 points of what pgstattuple measures', async () => {
  const found = await findingsOf(db, ['bloat.tables'], { thresholds });
  expect(found.map(({ object, severity }) => [object, severity])).toEqual([['app.sparse', 'warn']]);
  expect(found[0]!.message).toMatch(/^about .* of .* are air \(8\d %\)$/);
  // By default nothing so small is worth a word.
  expect(await findingsOf(db, ['bloat'])).toMatchObject([{ severity: 'ok' }, { severity: 'ok' }]);
  if (!canMeasure) return;
  const table = await compare(
    'bloat.tables',
    'app.sparse',
    `select (free_space + dead_tuple_len)::float8 as air, table_len::float8 as size from pgstattuple('app.sparse')`,
  );
  expect(table.share).toBeGreaterThan(0.7);
  // Pointers to rows that are gone, 4 bytes each, are air to the estimate and not to pgstattuple.
  expect(table.error).toBeLessThan(0.08);
});

it('finds indexes that are mostly air, equal keys in mind, within 10 points of a rebuilt one', async () => {
  const found = await findingsOf(db, ['bloat.indexes'], { thresholds });
  expect(found.map(({ object }) => object).sort()).toEqual([
    'app.sparse_id',
    'app.sparse_kind',
    'app.sparse_lower',
  ]);
  expect(found[0]!.mend).toMatch(/^dbops maintenance reindex --index app.sparse_/);
  for (const index of ['sparse_id', 'sparse_kind']) {
    const estimate = found.find(({ object }) => object === `app.${index}`)!.observed!;
    const sizeOf = async () =>
      (await db.query<{ size: number }>(`select pg_relation_size('app.${index}')::float8 as size`))[0]!.size;
    const before = await sizeOf();
    await db.query(`reindex index app.${index}`);
    const air = before - (await sizeOf());
    expect(Math.abs(estimate - air) / before, index).toBeLessThan(0.1);
  }
  expect((await findingsOf(db, ['bloat.indexes'], { thresholds })).map(({ object }) => object)).toEqual([
    'app.sparse_lower',
  ]);
});

it('does not take statistics that it may not see for a table without air', async () => {
  for (const groups of [[], ['pg_monitor']]) {
    const role = await createRole(db, ...groups);
    const seen = await findingsOf(db, ['bloat'], { as: role, thresholds });
    expect(seen.map(({ check, severity, mend }) => [check, severity, mend])).toEqual([
      ['bloat.tables', 'unknown', `grant pg_read_all_data to ${role.name};`],
      ['bloat.indexes', 'unknown', `grant pg_read_all_data to ${role.name};`],
    ]);
  }
  const reader = await createRole(db, 'pg_read_all_data');
  expect(
    (await findingsOf(db, ['bloat.tables'], { as: reader, thresholds })).map(({ object }) => object),
  ).toEqual(['app.sparse']);
  const some = await createRole(db, 'pg_monitor');
  await db.query(`grant select on all tables in schema app to ${some.name}`);
  expect(await findingsOf(db, ['bloat.tables'], { as: some, thresholds })).toMatchObject([
    { object: 'app.sparse', severity: 'warn' },
  ]);
});

it('asks for statistics where there are none', async () => {
  await db.query('create table app.unknown (id int) with (autovacuum_enabled = off)');
  await db.query('insert into app.unknown select g from generate_series(1, 40000) as g');
  await db.query('vacuum app.unknown');
  const found = await findingsOf(db, ['bloat.tables'], { thresholds });
  expect(found.find(({ severity }) => severity === 'unknown')).toMatchObject({
    message: '1 tables have columns without statistics, app.unknown among them',
    mend: 'dbops maintenance analyze --table app.unknown',
  });
});
