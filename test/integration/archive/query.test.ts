// Queries over archives: which of them are read, that the rows are those of the table, and what is refused.
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';

const months = Array.from({ length: 12 }, (_, index) => index + 1);
const two = (month: number) => String(month).padStart(2, '0');
const firstOf = (month: number) => (month > 12 ? '2021-01-01' : `2020-${two(month)}-01`);

let database: TestDatabase;
let work: Workspace;

interface QueryData {
  columns: { name: string; type: string }[];
  rows: Record<string, unknown>[];
  archives: { partition: string; use: string; sizeBytes: number }[];
}

beforeAll(async () => {
  database = await createDatabase('query');
  afterAll(() => database.drop());
  await database.query(`
    create schema audit;
    create table audit.logs (id bigint, created_at timestamptz not null, amount numeric(20,5), mood text, payload jsonb, tags text[], late timestamptz)
      partition by range (created_at);
    ${months.map((month) => `create table audit.logs_y2020m${two(month)} partition of audit.logs for values from ('${firstOf(month)} 00:00+00') to ('${firstOf(month + 1)} 00:00+00');`).join('\n')}
    create table audit.logs_y2021m01 partition of audit.logs for values from ('2021-01-01 00:00+00') to ('2021-02-01 00:00+00');
    insert into audit.logs
      select 9007199254740993 + n, '2020-01-01 00:00+00'::timestamptz + n * interval '6 hours', n + 0.12345, E'tab\\t' || n,
             jsonb_build_object('n', n, 'text', E'line\\n"quoted"'), array['a,b', null, n::text], case when n = 1463 then 'infinity' else '2020-01-01 00:00+00' end::timestamptz
        from generate_series(0, 1463) as n`);
  work = createWorkspace(database, '');
  configure(true);
  const run = await work.run(['archive', 'run', '--until', 'verified', '--max', '6']);
  expect(run.code, run.stderr).toBe(0);
  configure(false);
  const rest = await work.run(['archive', 'run', '--until', 'verified', '--max', '12']);
  expect(rest.code, rest.stderr).toBe(0);
});

/** Half of the archives have Parquet, the others only their parts. */
function configure(parquet: boolean) {
  work.configure(`
stores:
  near: { url: "file://${work.dir}/near" }
archive: { parquet: ${String(parquet)}, workDirectory: "${work.dir}/work" }
partitions:
  - { table: audit.logs, key: created_at, interval: month, retention: { hot: 1 year, cold: 20 years } }
`);
  fs.mkdirSync(path.join(work.dir, 'work'), { recursive: true });
}

/** There is no database any more: only the store. */
const nowhere = { DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none' };

async function query(sql: string, args: string[] = []): Promise<QueryData> {
  const run = await work.run(['archive', 'query', sql, '--json', ...args], nowhere);
  expect(run.code, run.stderr).toBe(0);
  return (JSON.parse(run.stdout) as { data: QueryData }).data;
}

const readOf = (data: QueryData) =>
  data.archives.filter((item) => !/skipped|superseded/.test(item.use)).map((item) => item.partition);

describe('dbops archive query', () => {
  it('gives the rows of the table, whether Parquet was kept or is made of the parts', async () => {
    const data = await query(
      'select count(*) as n, sum(amount) as total, min(id) as least, max(created_at) as last from audit.logs',
    );
    const [expected] = await database.query<{ n: string; total: string; least: string }>(
      'select count(*) as n, sum(amount) as total, min(id) as least from audit.logs',
    );
    expect(data.rows).toEqual([
      {
        n: Number(expected!.n),
        total: expected!.total,
        least: expected!.least,
        last: '2020-12-31T18:00:00Z',
      },
    ]);
    const uses = data.archives.map((item) => item.use);
    expect(uses.filter((use) => use === 'in place')).toHaveLength(6);
    expect(uses.filter((use) => use === 'made from the parts')).toHaveLength(6);
    const again = await query('select count(*) from logs');
    expect(again.archives.filter((item) => item.use === 'from the cache')).toHaveLength(6);
  });

  it.each([
    ["created_at >= '2020-05-05' and created_at < '2020-05-06'", ['05']],
    ["created_at between '2020-05-31' and '2020-06-01'", ['05', '06']],
    ["date_trunc('day', created_at) = '2020-11-05'", ['11']],
    ["created_at >= timestamptz '2020-12-15' - interval '1 month'", ['11', '12']],
    ["created_at < '2019-01-01'", []],
  ])('reads only archives that can match: %s', async (condition, expected) => {
    const data = await query(
      `with own as (select * from audit.logs) select count(*) as n from own where ${condition}`,
    );
    expect(readOf(data)).toEqual(expected.map((month) => `audit.logs_y2020m${month}`));
    expect(data.archives).toHaveLength(12);
    const [row] = await database.query<{ n: number }>(
      `select count(*)::int as n from audit.logs where ${condition}`,
    );
    expect(data.rows).toEqual([{ n: row!.n }]);
  });

  it('keeps every digit, in each form of output', async () => {
    const sql = `select id, created_at, amount, mood, payload, tags, late from audit.logs
                  where created_at >= '2020-12-31' order by created_at desc limit 1`;
    const values = {
      id: '9007199254742456',
      created_at: '2020-12-31T18:00:00Z',
      amount: '1463.12345',
      mood: 'tab\t1463',
      payload: '{"n": 1463, "text": "line\\n\\"quoted\\""}',
      tags: ['a,b', null, '1463'],
      late: 'infinity',
    };
    expect((await query(sql)).rows).toEqual([values]);
    const lines = await work.run(['archive', 'query', sql, '--jsonl'], nowhere);
    expect(JSON.parse(lines.stdout)).toEqual(values);
    const csv = await work.run(['archive', 'query', sql, '--csv'], nowhere);
    expect(csv.stdout).toBe(
      'id,created_at,amount,mood,payload,tags,late\n' +
        '9007199254742456,2020-12-31T18:00:00Z,1463.12345,tab\t1463,"{""n"": 1463, ""text"": ""line\\n\\""quoted\\""""}","[""a,b"",null,""1463""]",infinity\n',
    );
    const table = await work.run(
      ['archive', 'query', `select id, mood from logs order by id`, '--limit', '2'],
      nowhere,
    );
    expect(table.stdout).toContain('9007199254740993  tab\\x090');
    expect(table.stdout.trim().split('\n')).toHaveLength(3);
    expect(table.stderr).toContain('only the first 2 rows are shown');
    expect(table.stderr).toContain('12 of 12 archives are read');
  });

  it('needs no configuration and no database, only the store', async () => {
    const bare = fs.mkdtempSync(path.join(work.dir, 'bare-'));
    const config = path.join(bare, 'empty.yaml');
    fs.writeFileSync(config, '{}');
    const args = ['archive', 'query', 'select count(*) as n from logs', '--csv', '--config', config];
    const run = await work.run([...args, '--store', `file://${work.dir}/near`], nowhere);
    expect(run).toMatchObject({ code: 0, stdout: 'n\n1464\n' });
    expect(await work.run(args, nowhere)).toMatchObject({ code: 2, stdout: '' });
  });

  it.each([
    ['insert into audit.logs values (1)', 4, 'only a query can be run on archives'],
    [
      'with gone as (delete from audit.logs returning id) select * from gone',
      4,
      'only a query can be run on archives',
    ],
    ["copy audit.logs to 'x.csv'", 4, 'only a query'],
    ["attach 'x.db'", 4, 'only a query'],
    ['install httpfs', 4, 'only a query'],
    ['set threads = 1', 4, 'only a query'],
    ['pragma database_list', 4, 'only a query'],
    ['select 1; select 2', 2, '2 statements'],
    ["select * from read_csv('/etc/passwd')", 4, 'read_csv()'],
    ["select * from audit.logs, glob('/etc/*')", 4, 'glob()'],
    ["select * from query('select 1')", 4, 'query()'],
    ["select * from '/etc/passwd'", 2, 'no archive of a table "/etc/passwd"'],
    ['select * from elsewhere.audit.logs', 4, 'names a database'],
    ['select * from audit.nothing', 2, 'no archive of a table "audit.nothing"'],
    ['selct 1', 2, 'cannot be parsed'],
    ['select nothing from audit.logs', 2, 'the query failed'],
    ['', 2, 'no statement'],
  ])('refuses %j with exit %i', async (sql, code, message) => {
    const run = await work.run(['archive', 'query', sql], nowhere);
    expect({ code: run.code, stdout: run.stdout }).toEqual({ code, stdout: '' });
    expect(run.stderr).toContain(message);
  });

  it('counts no row twice when a partition was archived again, or split in two', async () => {
    const total = (await query('select count(*) as n from logs')).rows;
    copyArchive('03', (manifest) => manifest);
    // An archive of the first ten days, newer than that of the month: half of a split.
    copyArchive('04', (manifest) => ({
      ...manifest,
      bounds: "FOR VALUES FROM ('2020-04-01 00:00:00+00') TO ('2020-04-11 00:00:00+00')",
    }));
    const data = await query('select count(*) as n from logs');
    expect(data.archives.filter((item) => item.use === 'superseded')).toHaveLength(1);
    // The copy has the whole month; what counts is that the old one gives no row of the ten days.
    expect(data.rows).toEqual([{ n: Number(total[0]!['n']) + 20 * 4 }]);
    const cold = await query(
      "select count(*) as n from logs where created_at >= '2020-04-05' and created_at < '2020-04-06'",
    );
    expect(cold.rows).toEqual([{ n: 4 }]);
  });

  it('notices Parquet and parts that are not what was written', async () => {
    const files = filesOf('logs_y2020m02');
    const parquet = files.find((file) => file.endsWith('.parquet'))!;
    fs.appendFileSync(parquet, 'x');
    const run = await work.run(
      ['archive', 'query', "select * from logs where created_at = '2020-02-02'"],
      nowhere,
    );
    expect(run).toMatchObject({ code: 7, stdout: '' });
    expect(run.stderr).toContain('is damaged');
  });
});

function filesOf(partition: string): string[] {
  return fs
    .readdirSync(path.join(work.dir, 'near'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.parentPath.includes(`/${partition}/`))
    .map((entry) => path.join(entry.parentPath, entry.name));
}

type Manifest = Record<string, unknown> & { id: string; snapshot: Record<string, unknown> };

/** A second, newer archive of a month beside the first. */
function copyArchive(month: string, change: (manifest: Manifest) => Manifest): void {
  const manifestFile = filesOf(`logs_y2020m${month}`).find((file) => file.endsWith('manifest.json'))!;
  const folder = path.dirname(manifestFile);
  const id = `${path.basename(folder)}-again`;
  const target = path.join(path.dirname(folder), id);
  fs.cpSync(folder, target, { recursive: true });
  const manifest = JSON.parse(fs.readFileSync(manifestFile, 'utf8')) as Manifest;
  const newer = { ...manifest, id, snapshot: { ...manifest.snapshot, at: '2099-01-01T00:00:00.000Z' } };
  fs.writeFileSync(path.join(target, 'manifest.json'), JSON.stringify(change(newer)));
}
