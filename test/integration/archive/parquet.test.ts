// Every type goes through COPY's text to Parquet and is compared with what PostgreSQL says of it.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ParquetColumn } from '../../../src/archive/parquet/columns.ts';
import { openEngine, type Engine } from '../../../src/archive/parquet/duckdb.ts';
import { writeParquet, type ParquetOutput } from '../../../src/archive/parquet/write.ts';
import type { Cell } from '../../../src/archive/parquet/values.ts';
import { copyToFile, pin, sharedDirectory } from '../../support/copied.ts';
import { createDatabase, openSession, type Session, type TestDatabase } from '../../support/database.ts';
import { edgeCases, ordinaryCases, type TypeCase } from './parquet-cases.ts';

let database: TestDatabase;
let session: Session;
let engine: Engine;
const directory = sharedDirectory();

beforeAll(async () => {
  database = await createDatabase('parquet');
  session = await openSession(database.url);
  await pin(session);
  await session.query(`
    create type public.mood as enum ('sad', 'happy, "so"');
    create domain public.price as numeric(12,2);
    create type public.place as (id integer, name text)`);
  engine = await openEngine();
});

afterAll(async () => {
  engine.close();
  await session.end();
  await database.drop();
});

const known: Record<string, { base?: string; isEnum?: boolean }> = {
  'public.mood': { isEnum: true },
  'public.price': { base: 'numeric(12,2)' },
};

/** A chunk as a caller has it. */
function chunkOf(file: string, rows: number) {
  return {
    rows,
    plainBytes: fs.statSync(file).size,
    open: () => Promise.resolve(file),
    close: () => Promise.resolve(),
  };
}

async function convert(cases: TypeCase[], name: string) {
  const rows = Math.max(...cases.map((item) => item.values.length)) + 1;
  const columns = cases.map((item, index) => `v${String(index)} ${item.type}`);
  await session.query(`create table public.${name} (id integer, ${columns.join(', ')})`);
  for (let row = 0; row < rows; row += 1) {
    const values = cases.map((item) => item.values[row] ?? 'null');
    await session.query(`insert into public.${name} values (${String(row)}, ${values.join(', ')})`);
  }
  const file = path.join(directory, `${name}.copy`);
  await copyToFile(session, `select * from public.${name} order by id`, file);
  const output = await writeParquet({
    columns: [
      { name: 'id', type: 'integer' },
      ...cases.map((item, index) => ({ name: `v${String(index)}`, type: item.type, ...known[item.type] })),
    ],
    chunks: [chunkOf(file, rows)],
    directory: path.join(directory, name),
  });
  expect(output.files.map((item) => item.rows)).toEqual([rows]);
  const found = await engine.rows(`select * from read_parquet('${output.files[0]!.path}') order by id`);
  return { output, found };
}

/** What PostgreSQL says of a column, as text; elements of arrays one by one. */
async function expected(name: string, column: string, isArray: boolean): Promise<unknown[]> {
  const form = isArray ? `to_json(${column}::text[])` : `format('%s', ${column})`;
  const rows = await session.query<{ value: unknown }>(
    `select case when num_nulls(${column}) = 0 then ${form} end as value from public.${name} order by id`,
  );
  return rows.map((row) => row.value);
}

/** The same value as PostgreSQL writes it. */
function asPostgres(type: string, value: Cell): unknown {
  if (value === null) return null;
  if (Array.isArray(value)) return value.map((item) => asPostgres(type.replace(/\[\]$/, ''), item));
  if (typeof value === 'boolean') return value ? 't' : 'f';
  if (typeof value === 'object') return value;
  if (type.startsWith('timestamp')) return String(value).replace('T', ' ').replace(/Z$/, '+00');
  return String(value);
}

/** Numbers are compared as numbers: 1e+20 is 1e20; an array says true where a column says t. */
function comparable(type: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => comparable(type.replace(/\[\]$/, ''), item));
  if (typeof value !== 'string') return value;
  if (type === 'boolean') return value.slice(0, 1);
  if (type === 'double precision') return Number(value);
  return type === 'real' ? Math.fround(Number(value)) : value;
}

describe.each([
  { name: 'ordinary', cases: ordinaryCases },
  { name: 'edges', cases: edgeCases },
])('$name values', ({ name, cases }) => {
  let output: ParquetOutput;
  let found: Cell[][];

  beforeAll(async () => {
    ({ output, found } = await convert(cases, name));
  });

  it.each(cases.map((item, index) => ({ ...item, index })))('of $type ($values)', async (item) => {
    const column = output.columns[item.index + 1]!;
    expect(column).toMatchObject({ type: item.type, survives: item.isLost !== true });
    expect(column.why === '').toBe(column.survives);
    const isList = column.parquetType.startsWith('LIST');
    const ours = found.map((row) => asPostgres(item.type, row[item.index + 1]!));
    const theirs = await expected(name, `v${String(item.index)}`, isList);
    if (item.isLost === true) expect(column.parquetType).toBe('BYTE_ARRAY (STRING)');
    expect(comparable(item.type, ours)).toEqual(comparable(item.type, theirs));
    expect(ours.filter((value) => value === null)).toHaveLength(
      theirs.filter((value) => value === null).length,
    );
  });
});

describe('files', () => {
  it('of one column keep their empty lines', async () => {
    const { rows, texts } = await roundTrip(
      "select v from (values (1, ''), (2, null), (3, 'a'), (4, ''), (5, '')) t(n, v) order by n",
      1,
    );
    expect(rows).toBe(5);
    expect(texts).toEqual([[''], [null], ['a'], [''], ['']]);
  });

  it('that begin with the mark of a byte order keep it, since it is text here', async () => {
    const { texts } = await roundTrip("select E'\\uFEFFa', E'\\uFEFF'", 2, (column) => `strlen(${column})`);
    expect(texts).toEqual([[4n, 3n]]);
  });

  it('without rows are Parquet as well', async () => {
    const { rows, texts } = await roundTrip("select 'a', 'b' where false", 2);
    expect({ rows, texts }).toEqual({ rows: 0, texts: [] });
  });

  it('of several chunks become one, in order, and a chunk that was given back is asked for again', async () => {
    const columns = ['id', 'd'].map((name, index) => ({ name, type: index === 0 ? 'integer' : 'date' }));
    const opened: string[] = [];
    const chunks = [];
    for (const [index, value] of ['2024-01-01', 'infinity'].entries()) {
      const file = path.join(directory, `several-${String(index)}.copy`);
      await copyToFile(
        session,
        `select n + ${String(index)} * 1000, '${value}'::date from generate_series(1, 1000) n`,
        file,
      );
      const chunk = chunkOf(file, 1000);
      chunks.push({ ...chunk, open: () => (opened.push(value), chunk.open()) });
    }
    const output = await writeParquet({ columns, chunks, directory: path.join(directory, 'several') });
    expect(output.columns[1]).toMatchObject({
      survives: false,
      why: expect.stringMatching(/^1000 values are infinity/) as string,
    });
    expect(opened).toEqual(['2024-01-01', 'infinity', '2024-01-01', 'infinity']);
    const [file] = output.files;
    expect(file).toMatchObject({
      name: 'part-00000.parquet',
      rows: 2000,
      sizeBytes: fs.statSync(file!.path).size,
    });
    expect(file!.sha256).toBe(createHash('sha256').update(fs.readFileSync(file!.path)).digest('hex'));
    const found = await engine.rows(`select id, d from read_parquet('${file!.path}')`);
    expect(found.map(([id]) => id)).toEqual(Array.from({ length: 2000 }, (_, index) => index + 1));
    expect(found[1999]).toEqual([2000, 'infinity']);
  });

  it('whose rows are not as many as was said are refused', async () => {
    const file = path.join(directory, 'fewer.copy');
    await copyToFile(session, "select 'a', 'b'", file);
    await expect(
      writeParquet({
        columns: twoTexts,
        chunks: [chunkOf(file, 2)],
        directory: path.join(directory, 'fewer'),
      }),
    ).rejects.toMatchObject({ code: 'tool_failed', message: 'duckdb wrote 1 rows of 2 to Parquet' });
  });

  it('of names that differ in case only, or that are hostile, keep them apart', async () => {
    const file = path.join(directory, 'names.copy');
    await copyToFile(session, "select 'a', 'b', 'c'", file);
    const names = ['Note', 'note', '"; drop table x; --\n'];
    const output = await writeParquet({
      columns: names.map((name) => ({ name, type: 'text' })),
      chunks: [chunkOf(file, 1)],
      directory: path.join(directory, 'names'),
    });
    expect(output.columns.map((column) => column.parquetName)).toEqual([
      'Note',
      'note_2',
      '"; drop table x; --\n',
    ]);
    expect(await engine.rows(`select * from read_parquet('${output.files[0]!.path}')`)).toEqual([
      ['a', 'b', 'c'],
    ]);
  });

  it('with a line of 200 MB are read', async () => {
    const file = path.join(directory, 'long.copy');
    await copyToFile(
      session,
      "select n, repeat('abcdefghi\\', case n when 2 then 20000000 else 1 end) from generate_series(1, 3) n",
      file,
    );
    const output = await writeParquet({
      columns: [
        { name: 'id', type: 'integer' },
        { name: 'v', type: 'text' },
      ],
      chunks: [chunkOf(file, 3)],
      directory: path.join(directory, 'long'),
    });
    expect(
      await engine.rows(
        `select id, strlen(v), md5(v) = md5(repeat('abcdefghi\\', 20000000)) from read_parquet('${output.files[0]!.path}')`,
      ),
    ).toEqual([
      [1, 10n, false],
      [2, 200_000_000n, true],
      [3, 10n, false],
    ]);
    fs.rmSync(file);
  });
});

const twoTexts = [
  { name: 'a', type: 'text' },
  { name: 'b', type: 'text' },
];

async function roundTrip(query: string, columns: number, shown = (column: string) => column) {
  const name = `round${String(fs.readdirSync(directory).length)}`;
  const file = path.join(directory, `${name}.copy`);
  const rows = await copyToFile(session, query, file);
  const output = await writeParquet({
    columns: twoTexts.slice(0, columns),
    chunks: [chunkOf(file, rows)],
    directory: path.join(directory, name),
  });
  const list = twoTexts.slice(0, columns).map((column) => shown(column.name));
  const texts = await engine.rows(`select ${list.join(', ')} from read_parquet('${output.files[0]!.path}')`);
  return { rows, texts };
}

describe('docs/parquet-types.md', () => {
  it('lists what the writer does, type by type', async () => {
    const lines = await Promise.all(
      [ordinaryCases, edgeCases].map(async (cases, index) => {
        const { output } = await convert(cases, `documented${String(index)}`);
        return output.columns.slice(1).map((column, at) => documentedLine(cases[at]!, column, index === 1));
      }),
    );
    const documented = fs.readFileSync(path.resolve('docs/parquet-types.md'), 'utf8');
    expect(documented.split('\n').filter((line) => /^\| (`|an? )/.test(line))).toEqual(lines.flat());
  });
});

function documentedLine(item: TypeCase, column: ParquetColumn, isEdge: boolean): string {
  const shown = item.label ?? `\`${item.type}\``;
  const value = isEdge ? ` with \`${item.values[0]!}\`` : '';
  return `| ${shown}${value} | ${column.parquetType} | ${column.survives ? 'yes' : 'as text'} | ${column.why} |`;
}
