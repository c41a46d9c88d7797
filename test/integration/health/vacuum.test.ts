// What health says of dead rows, of what autovacuum does not reach, and of statistics.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../../support/database.ts';
import { createRole, findingOf, findingsOf } from '../../support/health.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase('health_vacuum');
  await db.query('create schema app');
});
afterAll(() => db.drop());

/** Runs each statement in a session of its own: its counters are there when it is gone, and before the next one counts. */
async function inSessions(...statements: string[]): Promise<void> {
  for (const statement of statements) {
    const session = await openSession(db.url);
    await session.query(statement);
    await session.end();
    const what = `the end of ${statement}`;
    await waitUntil(
      async () => (await db.query('select from pg_stat_activity where pid = $1', [session.pid])).length === 0,
      { what },
    );
  }
}

/** What a check says of one table once the counters have arrived. */
async function findingFor(id: string, object: string) {
  return waitUntil(
    async () => (await findingsOf(db, [id])).find((finding) => finding.object === object) ?? null,
    { what: `${id} of ${object}` },
  );
}

/** Nothing of a table any more, once the counters have arrived. */
async function goneFor(id: string, object: string): Promise<boolean> {
  return waitUntil(async () => (await findingsOf(db, [id])).every((finding) => finding.object !== object), {
    what: `nothing of ${object} in ${id}`,
  });
}

const off = 'autovacuum_enabled = off, toast.autovacuum_enabled = off';

it('finds dead rows and tables beyond their lines, and is well after a vacuum', async () => {
  expect(await findingOf(db, 'vacuum.dead-rows')).toMatchObject({ severity: 'ok' });
  await inSessions(
    `create table app.changed (id int, note text) with (${off})`,
    'insert into app.changed select g from generate_series(1, 4000) as g',
    'vacuum (analyze) app.changed',
    'delete from app.changed where id % 2 = 0',
  );
  expect(await findingFor('vacuum.dead-rows', 'app.changed')).toMatchObject({
    severity: 'warn',
    observed: 50,
    warn: 20,
    message: '2,000 dead rows, 50 % of all',
    mend: 'dbops maintenance vacuum --table app.changed',
  });
  // 50 rows and 20 % of 4,000.
  expect(await findingFor('vacuum.overdue', 'app.changed')).toMatchObject({
    severity: 'warn',
    message: '2,000 dead rows, and autovacuum comes from 850 on',
    detail: expect.stringContaining('autovacuum is turned off for it') as string,
  });
  expect(await findingFor('vacuum.analyze-overdue', 'app.changed')).toMatchObject({
    severity: 'warn',
    message: '2,000 changed rows, and autovacuum comes from 450 on',
    mend: 'dbops maintenance analyze --table app.changed',
  });
  await inSessions('vacuum (analyze) app.changed');
  for (const id of ['vacuum.dead-rows', 'vacuum.overdue', 'vacuum.analyze-overdue'])
    await goneFor(id, 'app.changed');
});

it('counts what was inserted, by the lines of the table itself', async () => {
  await inSessions(
    `create table app.log (id int) with (${off}, autovacuum_vacuum_insert_threshold = 100)`.replace(
      ', toast.autovacuum_enabled = off',
      '',
    ),
    'insert into app.log select g from generate_series(1, 1500) as g',
  );
  expect(await findingFor('vacuum.overdue', 'app.log')).toMatchObject({
    message: '1,500 inserted rows, and autovacuum comes from 100 on',
    detail: expect.stringContaining('no vacuum was counted yet') as string,
  });
  await inSessions('alter table app.log set (autovacuum_vacuum_insert_threshold = -1)');
  await goneFor('vacuum.overdue', 'app.log');
});

it('judges dead rows by what the configuration says of a table, and knows when nothing is counted', async () => {
  await inSessions(
    'create table app.queue (id int) with (autovacuum_enabled = off)',
    'insert into app.queue select g from generate_series(1, 5000) as g',
    'delete from app.queue where id <= 4000',
  );
  expect(await findingFor('vacuum.dead-rows', 'app.queue')).toMatchObject({ observed: 80 });
  const objects = { 'app.queue': { warn: 90 } };
  const spared = await findingsOf(db, ['vacuum.dead-rows'], {
    thresholds: { 'vacuum.dead-rows': { objects } },
  });
  expect(spared).toMatchObject([{ severity: 'ok' }]);
  const facts = { parameters: { track_counts: 'off', autovacuum: 'off' } };
  for (const id of ['vacuum.dead-rows', 'vacuum.overdue', 'vacuum.analyze-overdue'])
    expect(await findingOf(db, id, { facts })).toMatchObject({ severity: 'unknown' });
  const off = await findingsOf(db, ['vacuum.autovacuum-off'], { facts });
  expect(off.filter(({ severity }) => severity === 'crit').map(({ object }) => object)).toEqual([null, null]);
});

it('finds tables without statistics, partitioned ones as a whole, and names what it may not see', async () => {
  await db.query('create table app.loaded (id int) with (autovacuum_enabled = off)');
  await db.query('create table app.events (id int) partition by range (id)');
  await db.query(`create table app.events_1 partition of app.events for values from (0) to (9999)
    with (autovacuum_enabled = off)`);
  await inSessions('insert into app.loaded select g from generate_series(1, 2000) as g', 'vacuum app.loaded');
  await inSessions('insert into app.events select g from generate_series(1, 2000) as g');
  await inSessions('analyze app.events_1');
  expect(await findingFor('vacuum.statistics-missing', 'app.loaded')).toMatchObject({ severity: 'warn' });
  expect(await findingFor('vacuum.statistics-missing', 'app.events')).toMatchObject({
    severity: 'warn',
    message: expect.stringContaining('never analyzed as a whole') as string,
    mend: 'dbops maintenance analyze --table app.events',
  });

  await db.query('analyze app.loaded, app.events, app.queue, app.log');
  expect(await findingOf(db, 'vacuum.statistics-missing')).toMatchObject({ severity: 'ok' });

  const monitor = await createRole(db, 'pg_monitor');
  expect(await findingsOf(db, ['vacuum.statistics-missing'], { as: monitor })).toMatchObject([
    {
      severity: 'unknown',
      message: expect.stringContaining('may not see the statistics of') as string,
      mend: `grant pg_read_all_data to ${monitor.name};`,
    },
  ]);
  await db.query(`grant usage on schema app to ${monitor.name}`);
  await db.query(`grant select on all tables in schema app to ${monitor.name}`);
  expect(await findingOf(db, 'vacuum.statistics-missing', { as: monitor })).toMatchObject({ severity: 'ok' });
  await db.query('alter table app.loaded enable row level security');
  expect(await findingOf(db, 'vacuum.statistics-missing', { as: monitor })).toMatchObject({
    severity: 'unknown',
    mend: `alter role ${monitor.name} bypassrls;`,
  });
});

it('finds tables for which autovacuum is off, and needs no privilege for that nor for counters', async () => {
  await db.query(`create table app.forgotten (note text) with (toast.autovacuum_enabled = off)`);
  const nobody = await createRole(db);
  const found = await findingsOf(db, ['vacuum.autovacuum-off'], { as: nobody });
  expect(found.find(({ object }) => object === 'app.forgotten')).toMatchObject({
    severity: 'warn',
    message: 'autovacuum is turned off for its TOAST table',
    mend: 'alter table app.forgotten reset (toast.autovacuum_enabled);',
  });
  expect(await findingFor('vacuum.autovacuum-off', 'app.changed')).toMatchObject({ severity: 'warn' });
  const dead = await findingsOf(db, ['vacuum.dead-rows'], { as: nobody });
  expect(dead.map(({ object, severity }) => [object, severity])).toEqual([['app.queue', 'warn']]);
  expect(await findingOf(db, 'vacuum.statistics-missing', { as: nobody })).toMatchObject({
    severity: 'unknown',
    mend: `grant pg_read_all_data to ${nobody.name};`,
  });
});
