// init proposes, config check accepts, and partition ensure continues what is there.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { propose } from '../../src/partition/init/propose.ts';
import { renderProposal, scalar } from '../../src/partition/init/render.ts';
import { parseFile } from '../../src/config/load.ts';
import { connect } from '../../src/pg/connection.ts';
import { runDbops } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const now = '2026-11-21T12:00:00Z';
const folders: string[] = [];
const databases: TestDatabase[] = [];

afterEach(async () => {
  for (const database of databases.splice(0)) await database.drop();
});
afterAll(() => {
  for (const folder of folders) fs.rmSync(folder, { recursive: true, force: true });
});

function folder(): string {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-init-'));
  folders.push(made);
  return made;
}

async function database(...statements: string[]): Promise<TestDatabase> {
  const made = await createDatabase('init');
  databases.push(made);
  for (const statement of statements) await made.query(statement);
  return made;
}

/** A set over one column with partitions between neighbouring ends. */
function rangeSet(
  table: string,
  type: string,
  ends: (string | number)[],
  nameOf: (end: string | number) => string,
  key = 'at',
): string[] {
  return [
    `create table ${table} (${key} ${type} not null) partition by range (${key})`,
    ...ends
      .slice(1)
      .map(
        (to, index) =>
          `create table ${nameOf(ends[index]!)} partition of ${table} for values from ('${String(ends[index])}') to ('${String(to)}')`,
      ),
  ];
}

interface Entry {
  table: string;
  [key: string]: unknown;
}

/** init, then config check, then ensure --dry-run and ensure; the entries that were proposed. */
async function roundTrip(made: TestDatabase): Promise<{ entries: Entry[]; yaml: string; created: string[] }> {
  const cwd = folder();
  const env = { DATABASE_URL: made.url, DBOPS_TEST_NOW: now };
  const init = await runDbops(['init', '--json'], { cwd, env });
  expect(init.code, init.stderr).toBe(0);
  const check = await runDbops(['config', 'check'], { cwd, env });
  const yaml = fs.readFileSync(path.join(cwd, 'dbops.yaml'), 'utf8');
  expect(check.code, `${check.stderr}\n${yaml}`).toBe(0);
  const dry = await runDbops(['partition', 'ensure', '--dry-run'], { cwd, env });
  expect(dry.code, `${dry.stderr}\n${yaml}`).toBe(0);
  const ensure = await runDbops(['partition', 'ensure', '--json'], { cwd, env });
  expect(ensure.code, `${ensure.stderr}\n${yaml}`).toBe(0);
  const { data } = JSON.parse(init.stdout) as { data: { entries: Entry[] } };
  const done = JSON.parse(ensure.stdout) as { data: { created: { partition: string }[] } };
  return {
    entries: data.entries.map(({ notes, ...entry }) => ({ ...entry, notes: (notes as string[]).length })),
    yaml,
    created: done.data.created.map((item) => item.partition),
  };
}

describe('the round trip through ensure', () => {
  it('holds for the AI Factory example, whose configuration it finds again', async () => {
    const example = path.resolve(import.meta.dirname, '../../examples/ai-factory');
    const made = await database();
    const client = await made.connect();
    await client.query(`set ai_factory.now = '2026-11-21'`);
    await client.query(fs.readFileSync(path.join(example, 'schema.sql'), 'utf8'));
    const { entries, created } = await roundTrip(made);
    const text = fs.readFileSync(path.join(example, 'dbops.yaml'), 'utf8');
    const written = parseFile(text, 'dbops.yaml', {}).settings.partitions ?? [];
    const brief = (list: { table: string; key?: unknown; interval?: unknown; naming?: unknown }[]) =>
      list
        .map(({ table, key, interval, naming }) => ({ table, key, interval, naming }))
        .sort((a, b) => (a.table < b.table ? -1 : 1));
    expect(brief(entries)).toEqual(brief(written));
    expect(created).toHaveLength(15 * 6);
  });

  it('holds for keys and grids of every kind', async () => {
    const uuid = (iso: string) => {
      const hex = new Date(iso).getTime().toString(16).padStart(12, '0');
      return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
    };
    const ms = (iso: string) => Date.parse(iso);
    const made = await database(
      'create schema app',
      ...rangeSet(
        'app.thursday',
        'timestamptz',
        ['2026-11-05Z', '2026-11-12Z', '2026-11-19Z', '2026-11-26Z'],
        (end) => `app.thursday_p${String(end).slice(0, 10).replaceAll('-', '_')}`,
      ),
      ...rangeSet(
        'app.seoul',
        'timestamptz',
        ['2026-08-31 15:00Z', '2026-09-30 15:00Z', '2026-10-31 15:00Z', '2026-11-30 15:00Z'],
        (end) => `app.seoul_2026${String(Number(String(end).slice(5, 7)) + 1).padStart(2, '0')}`,
      ),
      ...rangeSet(
        'app.nine',
        'timestamptz',
        ['2026-11-18 09:00Z', '2026-11-19 09:00Z', '2026-11-20 09:00Z', '2026-11-21 09:00Z'],
        (end) => `app.nine_${String(end).slice(8, 10)}`,
      ),
      ...rangeSet(
        'app.v7',
        'uuid',
        ['2026-10-01Z', '2026-11-01Z', '2026-12-01Z'].map(uuid),
        (end) => `app.v7_${String(end).slice(0, 8)}`,
        'id',
      ),
      ...rangeSet(
        'app.millis',
        'int8',
        ['2026-11-19Z', '2026-11-20Z', '2026-11-21Z', '2026-11-22Z'].map(ms),
        (end) => `app.millis_${new Date(Number(end)).toISOString().slice(0, 10).replaceAll('-', '')}`,
        'ts',
      ),
      ...rangeSet('app.ids', 'int8', [0, 1_000_000, 2_000_000], (end) => `app.ids_p${String(end)}`, 'id'),
      ...rangeSet('app.big_ids', 'int8', [1e9, 2e9, 3e9], (end) => `app.big_ids_${String(end)}`, 'id'),
      ...rangeSet(
        'app.hours',
        'timestamp',
        ['2026-11-21 11:00', '2026-11-21 12:00', '2026-11-21 13:00'],
        (end) => `app.hours_${String(end).replaceAll(/\D/g, '').slice(0, 10)}`,
      ),
      ...rangeSet(
        'app.years',
        'date',
        ['2025-01-01', '2026-01-01', '2027-01-01'],
        (end) => `app.years_${String(end).slice(0, 4)}`,
      ),
      'create sequence app.ids_seq owned by app.ids.id',
      "alter table app.ids alter id set default nextval('app.ids_seq')",
      'create sequence app.big_ids_seq owned by app.big_ids.id',
      "alter table app.big_ids alter id set default nextval('app.big_ids_seq')",
      // Daily once, monthly now: the last ones decide.
      ...rangeSet(
        'app.was_daily',
        'date',
        ['2026-08-30', '2026-08-31', '2026-09-01', '2026-10-01', '2026-11-01', '2026-12-01'],
        (end) => `app.was_daily_${String(end).replaceAll('-', '')}`,
      ),
    );
    const { entries, yaml } = await roundTrip(made);
    const common = { notes: 0 };
    expect(entries).toEqual([
      { ...common, table: 'app.big_ids', key: 'id', interval: 1e9, naming: '{table}_{from}' },
      {
        ...common,
        table: 'app.hours',
        key: 'at',
        interval: 'hour',
        premake: 48,
        naming: '{table}_{yyyy}{mm}{dd}{hh}',
      },
      { ...common, table: 'app.ids', key: 'id', interval: 1e6, naming: '{table}_p{from}' },
      {
        ...common,
        table: 'app.millis',
        key: 'ts',
        interval: 'day',
        epoch: 'milliseconds',
        timezone: 'UTC',
        premake: 14,
        naming: '{table}_{yyyy}{mm}{dd}',
      },
      { ...common, table: 'app.nine', key: 'at', interval: 'day', timezone: 'UTC', premake: 14, notes: 2 },
      {
        ...common,
        table: 'app.seoul',
        key: 'at',
        interval: 'month',
        timezone: 'Asia/Seoul',
        naming: '{table}_{yyyy}{mm}',
        notes: 1,
      },
      {
        ...common,
        table: 'app.thursday',
        key: 'at',
        interval: 'week',
        timezone: 'UTC',
        premake: 8,
        naming: '{table}_p{yyyy}_{mm}_{dd}',
        notes: 1,
      },
      { ...common, table: 'app.v7', key: 'id', interval: 'month', timezone: 'UTC', notes: 1 },
      { ...common, table: 'app.was_daily', key: 'at', interval: 'month', naming: '{table}_{yyyy}{mm}{dd}' },
      { ...common, table: 'app.years', key: 'at', interval: 'year', naming: '{table}_{yyyy}' },
    ]);
    expect(yaml).toContain('# retention: { hot: 50000000 }   # ids behind the newest; left open');
    expect(yaml).toContain('# retention: { hot: 2 years, cold: 5 years }   # left open');
  });

  it('holds for hostile, mixed-case, Korean and dotted names', async () => {
    const names = [
      ['public', '주문 내역'],
      ['Mixed Case', 'Order.Lines'],
      ['a.b', 'c"d'],
      ['public', 'new\nline: - x'],
      ['public', '${HOME} {table}'],
      ['public', "it's; drop table x --"],
      ['public', 'true'],
      ['public', '# no comment'],
    ];
    const quote = (text: string) => `"${text.replaceAll('"', '""')}"`;
    const made = await database('create schema "Mixed Case"', 'create schema "a.b"');
    for (const [schema, name] of names) {
      const table = `${quote(schema!)}.${quote(name!)}`;
      for (const statement of rangeSet(
        table,
        'date',
        ['2026-10-01', '2026-11-01', '2026-12-01'],
        (end) => `${quote(schema!)}.${quote(`${name!}_${String(end).slice(0, 7)}`)}`,
        quote('언제"${X}'),
      )) {
        await made.query(statement);
      }
    }
    const { entries, yaml, created } = await roundTrip(made);
    expect(entries).toHaveLength(names.length);
    expect(created).toHaveLength(names.length * 6);
    const { settings } = parseFile(yaml, 'dbops.yaml', {});
    expect(settings.partitions?.every((item) => item.key === '언제"${X}')).toBe(true);
    const made2 = await made.query<{ name: string }>(
      `select c.relname as name from pg_class as c where c.relname like '주문 내역\\_%' order by 1`,
    );
    expect(made2.map((row) => row.name)).toContain('주문 내역_2026-12');
  });

  it('holds for tenants, each by month', async () => {
    const made = await database(
      'create table public.t (tenant text, at date) partition by list (tenant)',
      ...['a', 'b'].flatMap((tenant) => [
        `create table public.t_${tenant} partition of public.t for values in ('${tenant}') partition by range (at)`,
        `create table public.t_${tenant}_2026_11 partition of public.t_${tenant} for values from ('2026-11-01') to ('2026-12-01')`,
      ]),
    );
    const { entries, created } = await roundTrip(made);
    expect(entries).toEqual([
      { table: 'public.t', key: 'at', interval: 'month', naming: '{table}_{yyyy}_{mm}', notes: 0 },
    ]);
    expect(created).toHaveLength(12);
    expect(created).toContain('public.t_b_2026_12');
  });
});

describe('what cannot be managed', () => {
  it('is left out, with the reason in a comment', async () => {
    const made = await database(
      'create table public.by_list (a text) partition by list (a)',
      'create table public.by_hash (a text) partition by hash (a)',
      'create table public.two (a date, b date) partition by range (a, b)',
      'create table public.expression (a timestamptz) partition by range ((a at time zone $$UTC$$))',
      'create table public.words (a text) partition by range (a)',
      `create table public.words_1 partition of public.words for values from ('a') to ('b')`,
      'create table public.empty (a date) partition by range (a)',
      ...rangeSet(
        'public.no_sequence',
        'int8',
        [0, 1000, 2000],
        (end) => `public.no_sequence_${String(end)}`,
        'id',
      ),
      `create table public."by\nline" (a text) partition by list (a)`,
      ...rangeSet(
        'public.ten',
        'date',
        ['2026-10-01', '2026-10-11', '2026-10-21'],
        (end) => `public.ten_${String(end).replaceAll('-', '')}`,
      ),
    );
    const { stdout, code } = await runDbops(['init', '--stdout'], { env: { DATABASE_URL: made.url } });
    expect(code).toBe(0);
    expect(parseFile(stdout, 'x', {}).settings.partitions).toEqual([]);
    const lines = stdout.split('\n').filter((line) => line.startsWith('#   public.'));
    expect(lines).toEqual([
      '#   public.by\\x0aline: partitioned by list, with no range below it',
      '#   public.by_hash: partitioned by hash, with no range below it',
      '#   public.by_list: partitioned by list, with no range below it',
      '#   public.empty: it has no partition with two ends yet, so its interval is not known',
      '#   public.expression: partitioned by range over an expression',
      '#   public.no_sequence: by 1000 ids of "id", but no sequence that this role may read tells how far they have come',
      expect.stringContaining(
        '#   public.ten: its bounds fit none of the intervals that dbops knows (the last bound is 2026-10-21)',
      ) as string,
      '#   public.two: partitioned by range over several columns',
      '#   public.words: a key of type text is not supported',
    ]);
  });

  it('is not there in an empty database', async () => {
    const made = await database();
    const { stdout } = await runDbops(['init', '--stdout', '--json'], { env: { DATABASE_URL: made.url } });
    expect(JSON.parse(stdout)).toMatchObject({ data: { entries: [], leftOut: [], candidates: [] } });
  });
});

describe('pg_partman', () => {
  // The extension is not everywhere; its table is what is read, so a table in its shape stands for each release.
  it.each([
    [
      '4.7',
      `partition_type text default 'native', epoch text default 'none', automatic_maintenance text default 'on'`,
    ],
    [
      '5.x',
      `partition_type text default 'range', epoch text default 'none', automatic_maintenance text default 'off', maintenance_order int`,
    ],
  ])('%s gives interval, premake and retention', async (release, columns) => {
    const made = await database(
      'create schema partman',
      `create table partman.part_config (parent_table text, control text, partition_interval text, premake int,
         retention text, retention_keep_table boolean, ${columns})`,
      `insert into partman.part_config (parent_table, control, partition_interval, premake, retention, retention_keep_table)
       values ('public.a', 'at', '1 mon', 12, '90 days', false), ('public.b', 'at', '7 days', 3, null, true)`,
      ...rangeSet(
        'public.a',
        'date',
        ['2026-10-01', '2026-11-01', '2026-12-01'],
        (end) => `public.a_p${String(end).replaceAll('-', '_')}`,
      ),
      'create table public.b (at date not null) partition by range (at)',
      // An extension row without its files: only the catalog is read. A superuser may write it.
      `insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
       values (99999, 'pg_partman', 10, 'partman'::regnamespace, false, '${release}')`,
    );
    const { entries, yaml } = await roundTrip(made);
    expect(entries).toMatchObject([
      {
        table: 'public.a',
        interval: 'month',
        premake: 12,
        naming: '{table}_p{yyyy}_{mm}_{dd}',
        retention: '90 days',
      },
      { table: 'public.b', interval: 'week', premake: 8 },
    ]);
    expect(yaml).toContain('# retention: { hot: 90 days }   # what pg_partman keeps');
    expect(yaml).toContain('# pg_partman: interval 1 mon, premake 12, retention 90 days (dropped).');
    expect(yaml.includes("set automatic_maintenance = 'off' where parent_table = 'public.a'")).toBe(
      release === '4.7',
    );
  });
});

describe('large tables that only grow', () => {
  it('are suggested with the command that checks their conversion', async () => {
    const made = await database(
      `create table public.grows (id bigint primary key, note text, seen timestamptz, created_at timestamptz not null default now())`,
      `create table public.churns (id bigint primary key, created_at timestamptz not null)`,
      `insert into public.grows (id, note) select n, repeat('x', 100) from generate_series(1, 20000) as n`,
      `insert into public.churns select n, now() from generate_series(1, 20000) as n`,
      'update public.churns set created_at = now()',
      'vacuum analyze public.grows',
      'vacuum analyze public.churns',
    );
    await made.query('select pg_stat_clear_snapshot()');
    const db = await connect({ url: made.url, connectTimeoutMs: 10_000, applicationName: 'test' });
    try {
      const options = { now: new Date(now), stateSchema: 'dbops', largeBytes: 100_000 };
      let proposal = await propose(db, options);
      // Counts arrive a moment after the transactions.
      for (let tries = 0; tries < 50 && !proposal.candidates.some((item) => item.inserted > 0); tries += 1) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        proposal = await propose(db, options);
      }
      expect(proposal.candidates.map((item) => item.name)).toContain('grows');
      const text = renderProposal({
        ...proposal,
        candidates: proposal.candidates.filter((item) => item.name === 'grows'),
      });
      expect(text).toContain(
        '#     dbops partition convert public.grows --key created_at --interval month --check\n',
      );
      expect((await propose(db, { ...options, largeBytes: 1024 ** 3 })).candidates).toEqual([]);
    } finally {
      await db.close();
    }
  });
});

describe('the file', () => {
  it('is never overwritten, and nothing is asked of the database then', async () => {
    const cwd = folder();
    fs.writeFileSync(path.join(cwd, 'mine.yaml'), 'mine\n');
    const env = { DATABASE_URL: 'postgresql://nowhere.invalid/x' };
    const { code, stderr } = await runDbops(['init', '-o', 'mine.yaml'], { cwd, env });
    expect(code).toBe(2);
    expect(stderr).toContain('the file mine.yaml exists and is never overwritten');
    expect(fs.readFileSync(path.join(cwd, 'mine.yaml'), 'utf8')).toBe('mine\n');
  });

  it('goes to stdout with -o -, and fails clearly where no file can be', async () => {
    const made = await database();
    const cwd = folder();
    const env = { DATABASE_URL: made.url };
    const printed = await runDbops(['init', '-o', '-'], { cwd, env });
    expect(printed.stdout).toMatch(/^# dbops\.yaml, proposed by "dbops init"/);
    expect(fs.readdirSync(cwd)).toEqual([]);
    const failed = await runDbops(['init', '-o', 'no/such/place.yaml'], { cwd, env });
    expect(failed.code).toBe(7);
    expect(failed.stderr).toContain('cannot write the file no/such/place.yaml');
  });
});

describe('a scalar', () => {
  it.each([
    'plain',
    'true',
    'No',
    '~',
    '1',
    '1e3',
    '- x',
    'a: b',
    '#x',
    '"',
    "'",
    '${HOME}',
    '$${HOME}',
    '${',
    'a\u2028b',
    '\u0085\ufeff',
    '\t\n',
    '한글',
    ' x ',
  ])('%j reads back as it is', (text) => {
    const { settings } = parseFile(`state: { schema: ${scalar(text)} }\n`, 'x', { HOME: 'no' });
    expect(settings.state?.schema).toBe(text);
  });
});
