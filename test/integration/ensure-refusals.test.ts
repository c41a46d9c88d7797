// Bad input: one clear message, the right exit code, an untouched database.
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runDbops, type CliResult } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { catalogOf, folderWith, runEnsure, type EnsureRun, type TableEntry } from '../support/ensure.ts';

let db: TestDatabase;
const role = `dbops_${randomBytes(4).toString('hex')}`;

beforeAll(async () => {
  db = await createDatabase('ensure_refusals');
  await db.query(`
    create table plain (at date);
    create view seen as select * from plain;
    create table listed (at date, kind text) partition by list (kind);
    create table hashed (at date, kind text) partition by hash (kind);
    create table pair (at date, kind text) partition by range (at, kind);
    create table computed (at timestamptz) partition by range (date_trunc('day', at at time zone 'UTC'));
    create table orders (at timestamptz, id bigint, label text) partition by range (at);
    create table orders_a partition of orders for values from ('2026-11-01') to ('2026-12-01');
    create table numbers (id bigserial, note text) partition by range (id);
    create table numbers_a partition of numbers for values from (0) to (1000);
    create table seoul (at timestamptz) partition by range (at);
    create table seoul_a partition of seoul for values from ('2026-10-31 15:00+00') to ('2026-11-30 15:00+00');
    create table utc_days (at timestamptz) partition by range (at);
    create table utc_days_a partition of utc_days for values from ('2026-11-20') to ('2026-11-21');
    create table weekly (at date) partition by range (at);
    create table weekly_a partition of weekly for values from ('2026-11-16') to ('2026-11-23');
    create table taken (at date) partition by range (at);
    create table taken_y2026m11 (at date);
    create table texts (at text) partition by range (at);
  `);
});

afterAll(() => db.drop());

async function refused(
  tables: TableEntry[],
  code: number,
  words: string[],
  run: EnsureRun = {},
): Promise<CliResult> {
  const before = await catalogOf(db);
  const result = await runEnsure(db, tables, run);
  for (const word of words) expect(result.stderr).toContain(word);
  expect(result.stderr.match(/^dbops: /gm)).toHaveLength(1);
  expect(result.stderr).not.toMatch(/\n {4}at /);
  expect(result.stdout).toBe('');
  expect(result.code).toBe(code);
  expect(await catalogOf(db)).toEqual(before);
  return result;
}

describe('the configuration', () => {
  it('unknown keys and wrong types are told all at once, with path and nearest name', async () => {
    const folder = folderWith({
      partitons: [],
      locking: { timeout: 'soon' },
      partitions: [
        { table: 'orders', key: 'at', interval: 'mouth', premake: 'six', timezone: 'Mars/Olympus' },
        { table: 'orders', keys: 'at', interval: 0 },
      ],
    });
    const run = await runDbops(['partition', 'ensure'], { cwd: folder, env: { DATABASE_URL: db.url } });
    expect(run.code).toBe(2);
    expect(run.stdout).toBe('');
    for (const words of [
      'partitons: unknown key; did you mean "partitions"?',
      'locking.timeout: must be a duration',
      'partitions[0].premake: must be a number, not "six"',
      'partitions[0].timezone: must be a time zone name',
      'partitions[0].interval',
      'partitions[1].key: is missing',
      'partitions[1].keys: unknown key; did you mean "key"?',
      'partitions[1].interval',
    ]) {
      expect(run.stderr).toContain(words);
    }
    expect(run.stderr).toMatch(/dbops\.yaml:\d+: partitions\[1\]/);
  });

  it('a file that is no YAML, a file that is not there, no file at all', async () => {
    const missing = await runDbops(['partition', 'ensure', '--config', 'nowhere.yaml']);
    expect([missing.code, missing.stderr]).toEqual([2, expect.stringContaining('nowhere.yaml')]);
    const none = await runDbops(['partition', 'ensure'], { env: { DATABASE_URL: db.url } });
    expect([none.code, none.stderr]).toEqual([
      2,
      expect.stringContaining('no partitioned table is configured'),
    ]);
  });

  it('a table that no entry has', async () => {
    await refused(
      [{ table: 'orders', key: 'at', interval: 'month' }],
      2,
      ['public.order', 'Did you mean public.orders?'],
      {
        args: ['order'],
      },
    );
  });
});

describe('the tables', () => {
  it.each<[string, Partial<TableEntry> & { table: string }, number, string[]]>([
    [
      'does not exist',
      { table: 'ordres' },
      2,
      ['table public.ordres does not exist', 'Did you mean public.orders?'],
    ],
    ['is in no schema', { table: 'nowhere.at_all' }, 2, ['table nowhere.at_all does not exist']],
    [
      'is not partitioned',
      { table: 'plain' },
      2,
      ['table public.plain is not partitioned', 'partition convert'],
    ],
    ['is a view', { table: 'seen' }, 2, ['public.seen is not a table']],
    [
      'is partitioned by list',
      { table: 'listed' },
      2,
      ['public.listed is partitioned by list, not by range'],
    ],
    [
      'is partitioned by hash',
      { table: 'hashed' },
      2,
      ['public.hashed is partitioned by hash, not by range'],
    ],
    ['is partitioned over two columns', { table: 'pair' }, 2, ['by range over several columns']],
    [
      'is partitioned over an expression',
      { table: 'computed' },
      2,
      ['by range over an expression, not over "at"'],
    ],
    ['has another key', { table: 'orders', key: 'id' }, 2, ['by range over "at", not over "id"', 'key: at']],
    ['has a key of text', { table: 'texts' }, 2, ['a key of type text is not supported']],
    [
      'has times and is given ids',
      { table: 'orders', interval: 1000 },
      2,
      ['the key is of type timestamptz', 'ids'],
    ],
    [
      'has ids and is given months',
      { table: 'numbers', key: 'id' },
      2,
      ['the key is a number', 'epoch: seconds'],
    ],
    [
      'is monthly and is given years',
      { table: 'orders', interval: 'year' },
      2,
      ['the interval is year', 'by month', 'interval: month'],
    ],
    ['is weekly and is given months', { table: 'weekly' }, 2, ['the interval is month', 'by week']],
    [
      'has ids by 1000 and is given 300',
      { table: 'numbers', key: 'id', interval: 300 },
      2,
      ['the interval is 300 ids', 'by 1000'],
    ],
    [
      'has months of Seoul and is given UTC',
      { table: 'seoul' },
      2,
      ['do not lie on the month grid of time zone UTC', 'Asia/Seoul'],
    ],
    [
      'has months of UTC and is given New York',
      { table: 'orders', timezone: 'America/New_York' },
      2,
      ['month grid of time zone America/New_York', 'timezone: UTC'],
    ],
    [
      'has days of UTC and is given New York',
      { table: 'utc_days', interval: 'day', timezone: 'America/New_York' },
      2,
      ['day grid of time zone America/New_York', 'timezone: UTC'],
    ],
    ['gets a name that is taken', { table: 'taken' }, 2, ['public.taken_y2026m11 exists already', 'naming']],
    [
      'gets one name for all',
      { table: 'orders', naming: '{table}_{yyyy}' },
      2,
      ['two partitions would get the same name'],
    ],
    [
      'gets a name of unknown parts',
      { table: 'orders', naming: '{table}_{month}' },
      2,
      ['unknown token {month}'],
    ],
    [
      'is centuries behind',
      { table: 'weekly', interval: 'week', premake: 1 },
      2,
      ['partitions would be needed to reach the present'],
    ],
  ])('that %s', async (why, entry, code, words) => {
    const now = why === 'is centuries behind' ? { now: '2726-01-01T00:00:00Z' } : {};
    await refused([{ key: 'at', interval: 'month', ...entry }], code, words, now);
  });

  it('several at once are told together, and none is worked on', async () => {
    await refused(
      [
        { table: 'orders', key: 'at', interval: 'month' },
        { table: 'plain', key: 'at', interval: 'month' },
        { table: 'listed', key: 'at', interval: 'month' },
      ],
      2,
      ['2 tables cannot be worked on', 'public.plain', 'public.listed', '--keep-going'],
    );
  });

  it('with --json the error is one line on stderr and stdout stays empty', async () => {
    const run = await runEnsure(db, [{ table: 'plain', key: 'at', interval: 'month' }], { args: ['--json'] });
    expect(run.code).toBe(2);
    expect(run.stdout).toBe('');
    const line = run.stderr.split('\n').find((text) => text.startsWith('{'));
    expect(JSON.parse(line!)).toMatchObject({ error: { code: 'not_partitioned', exitCode: 2 } });
  });
});

describe('privileges', () => {
  const entry = { table: 'guarded.events', key: 'at', interval: 'month' };
  let asRole: Record<string, string>;

  beforeAll(async () => {
    await db.query(`create role ${role} login password 'secret'`);
    await db.query(`create schema guarded; create schema leaves; create table guarded.other (id int primary key);
      create table guarded.events (at date, other int references guarded.other) partition by range (at);
      create table leaves.events_a partition of guarded.events for values from ('2026-10-01') to ('2026-11-01');
      grant usage on schema guarded, leaves to ${role}`);
    const url = new URL(db.url);
    url.username = role;
    url.password = 'secret';
    asRole = { DATABASE_URL: url.href };
  });

  afterAll(async () => {
    await db.query(`drop owned by ${role} cascade; drop role ${role}`);
  });

  it('of the owner, of CREATE on the schema of the leaves, of REFERENCES: each is told before the first step', async () => {
    await refused([entry], 4, [`role "${role}" does not own it`, 'GRANT'], { env: asRole });
    await db.query(`alter table guarded.events owner to ${role}`);
    await refused(
      [entry],
      4,
      ['may not create tables in schema "leaves"', `GRANT CREATE ON SCHEMA leaves TO ${role}`],
      { env: asRole },
    );
    await db.query(`grant create on schema leaves to ${role}`);
    await refused(
      [entry],
      4,
      ['needs REFERENCES on guarded.other', `GRANT REFERENCES ON guarded.other TO ${role}`],
      { env: asRole },
    );
    await db.query(`grant references on guarded.other to ${role}`);
    const run = await runEnsure(db, [entry], { env: asRole });
    expect(run.code).toBe(0);
    // It may not make the state schema: told, and no reason to stop.
    expect(run.stderr).toContain('this run is not recorded in the history');
  });
});
