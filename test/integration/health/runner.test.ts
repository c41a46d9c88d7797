// What the runner makes of checks that cannot answer, and of those of the configuration.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlCheck, type Check } from '../../../src/health/check.ts';
import { runChecks } from '../../../src/health/run.ts';
import { readBounds } from '../../../src/health/thresholds.ts';
import { defaultSettings } from '../../../src/config/settings.ts';
import { silentLog } from '../../../src/output/log.ts';
import { connect, type Db } from '../../../src/pg/connection.ts';
import { getHealthFacts } from '../../../src/sql/health-facts.ts';
import { createDatabase, openSession, type TestDatabase } from '../../support/database.ts';
import { createRole, findingsOf } from '../../support/health.ts';
import { createWorkspace } from '../../support/workspace.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase('health');
  await database.query(
    'create table public.outbox as select n, n <= 3 as pending from generate_series(1, 10) as n',
  );
});
afterAll(() => database.drop());

/** A check of one statement. */
const asking = (text: string, over: Partial<Check> = {}): Check =>
  sqlCheck<{ value: number }>({
    id: 'connections.test',
    group: 'connections',
    answers: 'a test',
    why: 'it is a test',
    advice: 'end the test',
    thresholds: { unit: 'count', worse: 'above', warn: 5, crit: 10 },
    profiles: ['daily'],
    question: () => ({ text, timeoutMs: 200 }),
    judge: (rows) => ({
      observations: rows.map(({ value }) => ({ object: null, value, message: `it is ${String(value)}` })),
      summary: 'it is well',
    }),
    ...(over as object),
  });

describe('a check', () => {
  let db: Db;
  beforeEach(async () => {
    db = await connect({ url: database.url, applicationName: 'dbops health', connectTimeoutMs: 5000 });
    return () => db.close();
  });

  const ask = async (check: Check, facts: object = {}) =>
    await runChecks(
      {
        db,
        facts: { ...(await getHealthFacts(db)), ...facts },
        settings: await defaultSettings({}),
        now: db.server.now,
        signal: new AbortController().signal,
        log: silentLog,
        openStore: () => Promise.reject(new Error('there is no store')),
      },
      [{ check, bounds: readBounds(check, undefined).bounds }],
    );

  it('is judged by its thresholds', async () => {
    expect(await ask(asking('select 4 as value'))).toMatchObject([{ severity: 'ok', message: 'it is well' }]);
    expect(await ask(asking('select 5 as value'))).toMatchObject([
      { severity: 'warn', message: 'it is 5', observed: 5, warn: 5, crit: 10, advice: 'end the test' },
    ]);
    expect(await ask(asking('select 10 as value'))).toMatchObject([{ severity: 'crit' }]);
    expect(await ask(asking('select null as value'))).toMatchObject([{ severity: 'unknown' }]);
  });

  it('is unknown where it gets no answer, and says why', async () => {
    expect(await ask(asking('select pg_sleep(5)'))).toMatchObject([
      { severity: 'unknown', message: 'no answer within 5 s', mend: 'dbops health --only connections.test' },
    ]);
    const holder = await openSession(database.url);
    await holder.begin();
    await holder.query('lock table public.outbox');
    expect(await ask(asking('select n as value from public.outbox'))).toMatchObject([
      { severity: 'unknown', message: 'something that it reads is locked', mend: 'dbops inspect locks' },
    ]);
    await holder.end();
    expect(await ask(asking('select * from nothing_of_that_name'))).toMatchObject([
      { severity: 'unknown', message: expect.stringContaining('nothing_of_that_name') as unknown },
    ]);
    // The session is as it was.
    expect(await db.query({ text: 'show lock_timeout' })).toEqual([{ lock_timeout: '1s' }]);
  });

  it('is unknown without what it takes, and skipped where it does not apply', async () => {
    expect(await ask(asking('select 1 as value', { extension: 'pgstattuple' }))).toMatchObject([
      { severity: 'unknown', mend: 'create extension pgstattuple;' },
    ]);
    expect(await ask(asking('select 1 as value', { since: 990_000 }))).toMatchObject([
      { severity: 'skipped', message: 'PostgreSQL 99 and later can say' },
    ]);
    const young = { countedSince: new Date(db.server.now.getTime() - 1_800_000) };
    expect(await ask(asking('select 1 as value', { countedHours: 168 }), young)).toMatchObject([
      { severity: 'unknown', message: 'the statistics count for 0.5 hours only, and it takes 168' },
    ]);
    // After a crash there is no reset, and the counters are as old as the server.
    const crashed = { countedSince: null, startedAt: young.countedSince };
    expect(await ask(asking('select 1 as value', { countedHours: 168 }), crashed)).toMatchObject([
      { severity: 'unknown' },
    ]);
  });

  it('ends the run where the session is lost', async () => {
    const check = asking('select pg_terminate_backend(pg_backend_pid())');
    await expect(ask(check)).rejects.toMatchObject({ code: 'connection_lost' });
  });
});

describe('checks of the configuration', () => {
  const own = (body: string) =>
    createWorkspace(
      database,
      `health:\n  checks:\n    outbox.pending:\n${body.replaceAll(/^/gm, '      ')}\n`,
    );
  const health = async (workspace: ReturnType<typeof own>, ...args: string[]) => {
    const { code, stdout, stderr } = await workspace.run(['health', '--only', 'custom', ...args]);
    return { code, stdout, stderr };
  };

  it('are judged as the others, in every format', async () => {
    const workspace = own(
      'sql: select count(*) as value, min(n)::text as detail from public.outbox where pending;\nwarn: 3\nadvice: Look whether the publisher runs.',
    );
    const shown = await health(workspace);
    expect(shown).toMatchObject({ code: 6, stderr: '' });
    expect(shown.stdout).toMatch(
      /warn +outbox\.pending +the value is 3; 1 +Look whether the publisher runs\./,
    );
    expect(await health(workspace, '--fail-on', 'crit')).toMatchObject({ code: 0 });
    expect(await health(workspace, '--format', 'nagios')).toEqual({
      code: 1,
      stdout: expect.stringContaining("'outbox.pending'=3;3;") as unknown,
      stderr: '',
    });
    expect((await health(workspace, '--format', 'junit')).stdout).toContain('<failure type="warn"');
  });

  it('are unknown where they give no number, cannot run, or change something', async () => {
    for (const sql of [
      'select null as value',
      "select 'many' as value",
      'select 1 as other',
      'select x from nowhere',
      'delete from public.outbox returning n as value',
    ]) {
      const { code, stdout } = await health(own(`sql: "${sql}"\nwarn: 3`), '--json');
      expect({ sql, code }).toEqual({ sql, code: 6 });
      expect(JSON.parse(stdout)).toMatchObject({ data: { counts: { unknown: 1, ok: 0 } } });
    }
    expect(await database.query('select count(*)::int4 as n from public.outbox')).toEqual([{ n: 10 }]);
  });

  it('answer with one statement and with numbers only, and name objects by numbers as well', async () => {
    const checks = Object.fromEntries(
      [
        'select 0 as value; select 0 as value',
        'commit; delete from public.outbox; select 0 as value',
        "select '{}'::int4[] as value",
        "select '  ' as value",
        'select 7 as object, 3::int8 as value',
        'select true as value',
        'select count(*) as value from outbox',
      ].map((sql, index) => [`own.check${index}`, { sql, warn: 1 }]),
    );
    const health = { skip: [], thresholds: {}, checks };
    const found = await findingsOf(database, ['custom'], { settings: { health } });
    expect(found.map(({ severity, object }) => [severity, object])).toEqual([
      ['unknown', null],
      ['unknown', null],
      ['unknown', null],
      ['unknown', null],
      ['warn', '7'],
      ['warn', null],
      ['unknown', null],
    ]);
    expect(found.at(-1)!.advice).toContain('with their schema');
    expect(await database.query('select count(*)::int4 as n from public.outbox')).toEqual([{ n: 10 }]);
  });

  it('name the GRANT-less table to whoever may not read it', async () => {
    const role = await createRole(database);
    const workspace = createWorkspace(
      { url: role.url },
      'health:\n  checks:\n    outbox.pending: { sql: select count(*) as value from public.outbox, warn: 3 }\n',
    );
    const { stdout } = await workspace.run(['health', '--only', 'custom', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      data: {
        findings: [{ severity: 'unknown', message: expect.stringContaining('permission denied') as unknown }],
      },
    });
  });

  it('are refused with everything that is wrong', async () => {
    const workspace = createWorkspace(
      database,
      `health:
  skip: [conections]
  thresholds:
    connections.usde: { warn: 1 }
    connections.used: { warn: 95, crit: 90 }
  checks:
    Outbox: { sql: select 1, warn: 10 GB }
    connections.used: { sql: select 1, warn: 2, crit: 1 }
`,
    );
    const { code, stdout, stderr } = await workspace.run(['health']);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    for (const text of [
      'health.skip[0]: there is no check "conections"; did you mean "connections"?',
      'health.thresholds."connections.usde": there is no check "connections.usde"; did you mean "connections.used"?',
      'health.thresholds."connections.used".crit: must be at least warn, which is 95 %, not 90 %',
      'health.checks.Outbox: must be a name in lower case with a point',
      'health.checks.Outbox.warn: must be a value in count, not "10 GB"',
      'health.checks."connections.used": is a check of dbops itself',
    ])
      expect(stderr).toContain(text);
    const nagios = await workspace.run(['health', '--format', 'nagios']);
    expect(nagios).toMatchObject({ code: 3, stdout: expect.stringMatching(/^DBOPS UNKNOWN - /) as unknown });
    expect(await workspace.run(['config', 'check'])).toMatchObject({ code: 2 });
  });
});
