// What health says of what a database has counted, and of its extensions.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultSettings } from '../../../src/config/settings.ts';
import { applyRecording, planRecording } from '../../../src/health/capacity/record.ts';
import { connect } from '../../../src/pg/connection.ts';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../../support/database.ts';
import { createRole, findingOf, findingsOf, type TestRole } from '../../support/health.ts';
import { jobOf } from '../../support/job.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase('activity');
  await db.query('create table item (id int primary key, note text)');
  await db.query("insert into item select i, repeat('x', 500) from generate_series(1, 2000) as i");
});
afterAll(() => db.drop());

const hour = 3_600_000;

/** The statistics count for so long. */
const countedFor = (hours: number) => ({ facts: { countedSince: new Date(Date.now() - hours * hour) } });

/** What a session counts is told when it ends; waits until one of the counters has grown so far. */
async function inSession(statements: string[], counter: string, least: number): Promise<void> {
  const session = await openSession(db.url);
  for (const statement of statements) await session.query(statement);
  await session.end();
  await waitUntil(
    async () => {
      const [row] = await db.query<{ value: string }>(
        `select ${counter}::text as value from pg_stat_database where datname = current_database()`,
      );
      return Number(row!.value) >= least;
    },
    { what: counter },
  );
}

it('takes no privilege, and says the same to everybody', async () => {
  const nobody = await createRole(db);
  const monitor = await createRole(db, 'pg_monitor');
  for (const as of [nobody, monitor]) {
    const findings = await findingsOf(db, ['activity', 'cache', 'checkpoints', 'extensions', 'checksums'], {
      as,
      ...countedFor(24),
    });
    expect(findings.filter(({ severity }) => severity === 'unknown')).toEqual([]);
  }
});

describe('cache.hit-share', () => {
  it('is unknown while the statistics are young', async () => {
    expect(await findingOf(db, 'cache.hit-share', countedFor(0.1))).toMatchObject({
      severity: 'unknown',
      message: expect.stringContaining('0.1 hours only') as string,
    });
  });

  it('says nothing of few blocks, and judges many', async () => {
    await db.query('select pg_stat_reset()');
    const few = await findingOf(db, 'cache.hit-share', countedFor(24));
    expect(few).toMatchObject({ severity: 'ok', observed: null });
    expect(few.message).toMatch(/too few to matter$/);
    const readMuch = 'do $$ begin for i in 1..150 loop perform count(note) from item; end loop; end $$';
    await inSession([readMuch], 'blks_hit', 10_000);
    const well = await findingOf(db, 'cache.hit-share', countedFor(24));
    expect(well).toMatchObject({ severity: 'ok', unit: 'percent', warn: 90, crit: null });
    expect(well.observed).toBeGreaterThan(90);
    const thresholds = { 'cache.hit-share': { warn: 100 } };
    expect(await findingOf(db, 'cache.hit-share', { ...countedFor(24), thresholds })).toMatchObject({
      severity: 'warn',
      mend: 'dbops inspect slow',
    });
  });
});

describe('activity', () => {
  it('of temporary files is a rate, with the window that it was seen in', async () => {
    const sorting = 'select count(*) from (select note from item order by note, random() offset 0) as s';
    await inSession(["set work_mem = '64kB'", sorting], 'temp_bytes', 1);
    const thresholds = { 'activity.temporary-files': { warn: '100 kB' } };
    const [day, weeks] = [countedFor(24), countedFor(24 * 100)];
    const found = await findingOf(db, 'activity.temporary-files', { ...day, thresholds });
    expect(found).toMatchObject({ severity: 'warn', unit: 'bytes', countedSince: day.facts.countedSince });
    expect(found.message).toContain(`since ${day.facts.countedSince.toISOString().slice(0, 16)}Z`);
    expect(await findingOf(db, 'activity.temporary-files', { ...weeks, thresholds })).toMatchObject({
      severity: 'ok',
    });
    // An hour is not stretched to a day.
    const young = await findingOf(db, 'activity.temporary-files', { ...countedFor(1), thresholds });
    expect(young.observed).toBeCloseTo(found.observed!, -1);
  });

  it('has a finding for a deadlock, and none without', async () => {
    const id = 'activity.deadlocks';
    expect(await findingOf(db, id, countedFor(24))).toMatchObject({ severity: 'ok', observed: 0 });
    const [first, second] = [await openSession(db.url), await openSession(db.url)];
    for (const session of [first, second]) {
      await session.query("set deadlock_timeout = '20ms'");
      await session.begin();
    }
    await first.query('select from item where id = 1 for update');
    await second.query('select from item where id = 2 for update');
    const results = await Promise.allSettled([
      first.query('select from item where id = 2 for update'),
      second.query('select from item where id = 1 for update').finally(() => second.end()),
    ]);
    expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(1);
    await first.end();
    await inSession([], 'deadlocks', 1);
    expect(await findingOf(db, id, countedFor(12))).toMatchObject({
      severity: 'warn',
      message: expect.stringMatching(/^1 deadlocks since .*, 1\.0 a day$/) as string,
    });
    expect(await findingOf(db, id, countedFor(24 * 30))).toMatchObject({ severity: 'ok' });
  });

  it('judges rolled back transactions by their share', async () => {
    const id = 'activity.rollbacks';
    await db.query('select pg_stat_reset()');
    const few = await findingOf(db, id, countedFor(24));
    expect(few).toMatchObject({ severity: 'ok', message: expect.stringContaining('too few') as string });
    const loop = (end: string) => `do $$ begin for i in 1..1100 loop perform 1; ${end}; end loop; end $$`;
    await inSession([loop('commit')], 'xact_commit', 1000);
    expect(await findingOf(db, id, countedFor(24))).toMatchObject({ severity: 'ok', unit: 'percent' });
    await inSession([loop('rollback')], 'xact_rollback', 1000);
    const found = await findingOf(db, id, countedFor(24));
    expect(found.severity).toBe('warn');
    expect(found.observed).toBeGreaterThan(40);
  });
});

describe('a sample of a day ago', () => {
  const ids = ['activity.deadlocks', 'activity.rollbacks'];
  const ask = async (as?: TestRole) => {
    const [deadlocks, rollbacks] = await findingsOf(db, ids, as === undefined ? {} : { as });
    return { rollbacks: rollbacks!, deadlocks: deadlocks! };
  };
  const rollBack = 'do $$ begin for i in 1..1100 loop perform 1; rollback; end loop; end $$';

  it('is what later counters are compared with, unless they count from another reset', async () => {
    await reset();
    await inSession([rollBack], 'xact_rollback', 1000);
    const before = await ask();
    expect(before.rollbacks).toMatchObject({
      severity: 'warn',
      detail: 'no sample of a day ago: "dbops capacity record" every day keeps them',
    });
    const dayAgo = new Date(Date.now() - 24 * hour);
    await recordAt(dayAgo);
    // Of this hour, which is no day ago.
    await recordAt(new Date());
    const after = await ask();
    expect(after.rollbacks).toMatchObject({ severity: 'ok', countedSince: dayAgo });
    expect(after.deadlocks).toMatchObject({ observed: 0, detail: null, countedSince: dayAgo });
    expect(after.deadlocks.message).toContain(`since ${dayAgo.toISOString().slice(0, 16)}Z`);

    const nobody = await createRole(db);
    const hidden = await ask(nobody);
    expect(hidden.rollbacks).toMatchObject({ severity: 'warn' });
    expect(hidden.deadlocks.detail).toContain(`grant usage on schema dbops to ${nobody.name};`);

    await inSession([rollBack], 'xact_rollback', 2000);
    expect((await ask()).rollbacks).toMatchObject({ severity: 'warn', detail: null, countedSince: dayAgo });
    await reset();
    expect((await ask()).deadlocks.detail).toContain('counts from another reset');
  });

  /** PostgreSQL 14 resets a little later. */
  async function reset(): Promise<void> {
    const query = 'select stats_reset::text as at from pg_stat_database where datname = current_database()';
    const [before] = await db.query<{ at: string | null }>(query);
    await db.query('select pg_stat_reset()');
    await waitUntil(async () => (await db.query<{ at: string | null }>(query))[0]!.at !== before!.at, {
      what: 'the reset',
    });
  }

  async function recordAt(at: Date): Promise<void> {
    const settings = await defaultSettings({ url: db.url });
    const session = await connect({ ...settings.connection, applicationName: 'test' });
    try {
      const { context } = jobOf('capacity record', session, settings, at, {});
      await applyRecording(context, await planRecording(context));
    } finally {
      await session.close();
    }
  }
});

describe('extensions.outdated', () => {
  it('names what can be updated, what cannot, and what has lost its files', async () => {
    const id = 'extensions.outdated';
    expect(await findingOf(db, id)).toMatchObject({ severity: 'ok' });
    const [older] = await db.query<{ version: string }>(
      `select source as version from pg_extension_update_paths('hstore') as p
         join pg_available_extension_versions as v on v.name = 'hstore' and v.version = p.source
         join pg_available_extensions as e on e.name = 'hstore' and e.default_version = p.target
        where path is not null and source <> target order by 1 desc limit 1`,
    );
    await db.query(`create extension hstore version '${older!.version}'`);
    expect(await findingOf(db, id)).toMatchObject({
      object: 'hstore',
      severity: 'warn',
      mend: 'alter extension hstore update;',
    });
    await db.query('alter extension hstore update');
    expect(await findingOf(db, id)).toMatchObject({ severity: 'ok' });
    await db.query("update pg_extension set extversion = '99' where extname = 'hstore'");
    expect(await findingOf(db, id)).toMatchObject({ object: 'hstore', severity: 'warn', mend: null });
    await db.query("update pg_extension set extname = 'gone' where extname = 'hstore'");
    expect((await findingOf(db, id)).message).toBe(
      'gone is 99, and its files are not on the server any more',
    );
  });
});
