// A definition makes the same table again, and says what was changed.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  storedColumns,
  tableDefinition,
  usesMoney,
  type TableDefinition,
} from '../../../src/archive/definition/definition.ts';
import { differences } from '../../../src/archive/definition/differences.ts';
import { loadDefinition } from '../../../src/archive/definition/load.ts';
import { withoutMasked } from '../../../src/archive/definition/masked.ts';
import { renderAfterLoad } from '../../../src/archive/definition/render-after-load.ts';
import { renderTypes } from '../../../src/archive/definition/render-requirements.ts';
import { renderTable } from '../../../src/archive/definition/render-table.ts';
import { renderSchemaSql } from '../../../src/archive/definition/render-schema.ts';
import { connect, type Db } from '../../../src/pg/connection.ts';
import type { RelationName } from '../../../src/sql/quote.ts';
import { runProgram } from '../../support/cli.ts';
import { createDatabase, serverVersion, type TestDatabase } from '../../support/database.ts';
import { createEveryType, createWideTable } from '../../support/every-type.ts';

let database: TestDatabase;
let db: Db;
let definition: TableDefinition;

async function open(target: TestDatabase): Promise<Db> {
  const opened = await connect({ url: target.url, connectTimeoutMs: 10_000, applicationName: 'test' });
  afterAll(() => opened.close());
  return opened;
}

async function oidOf(on: TestDatabase, name: string): Promise<number> {
  const [row] = await on.query<{ oid: string }>('select $1::regclass::oid::text as oid', [name]);
  return Number(row!.oid);
}

async function load(on: Db, database: TestDatabase, name: string): Promise<TableDefinition> {
  return await loadDefinition(on, await oidOf(database, name));
}

/** Makes the table of a definition, as a restore does. */
async function make(on: Db, wanted: TableDefinition, target: RelationName): Promise<void> {
  const after = renderAfterLoad(wanted, target);
  const statements = [
    ...renderTypes(wanted),
    ...renderTable(wanted, target),
    ...after.indexes.flatMap((index) => index.statements),
    ...after.statements,
    after.tableComment,
    ...after.access,
  ];
  for (const statement of statements) {
    await on.execute(statement).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}\n${statement}`, { cause: error });
    });
  }
}

beforeAll(async () => {
  database = await createDatabase('definition');
  const { skipped } = await createEveryType(database);
  for (const line of skipped) console.log(line);
  db = await open(database);
  definition = await load(db, database, 'zoo.every_type');
});

afterAll(() => database.drop());

describe('the definition of a table with every type', () => {
  it('is what the manifest can hold', () => {
    const again = tableDefinition.parse(JSON.parse(JSON.stringify(definition)));
    expect(differences(definition, again, 'all')).toEqual([]);
    expect(again).toEqual(definition);
  });

  it('makes the same table under its name in another database', async () => {
    const other = await createDatabase('definition_other');
    afterAll(() => other.drop());
    const otherDb = await open(other);
    await make(otherDb, definition, { schema: 'zoo', name: 'every_type' });
    const made = await load(otherDb, other, 'zoo.every_type');
    expect(differences(definition, made, 'all')).toEqual([]);
    expect(differences(definition, made)).toEqual([]);
    expect(made.columns).toEqual(definition.columns);
  });

  it('makes it beside itself under another name, keeping what is there of types', async () => {
    const target = { schema: 'zoo', name: 'x'.repeat(60) };
    await make(db, definition, target);
    const made = await load(db, database, `zoo.${target.name}`);
    expect(differences(definition, made)).toEqual([]);
    expect(made.indexes.map((index) => index.definition).sort()).toEqual(
      definition.indexes.map((index) => index.definition).sort(),
    );
    expect(made.constraints.map((item) => item.definition)).toEqual(
      expect.arrayContaining(definition.constraints.map((item) => item.definition)),
    );
    expect(made.statistics.map((item) => item.columns).sort()).toEqual(
      definition.statistics.map((item) => item.columns).sort(),
    );
  });

  it('has a schema.sql that psql takes in one go, where roles are missing too', async () => {
    const other = await createDatabase('definition_psql');
    afterAll(() => other.drop());
    const changed = {
      ...definition,
      owner: 'nobody "here"',
      grants: [
        ...definition.grants,
        { grantee: 'gone_role', privilege: 'SELECT', isGrantable: false, column: null },
      ],
    };
    const sql = renderSchemaSql(changed, {
      parent: { schema: 'zoo', name: 'parent' },
      bounds: 'FOR VALUES FROM (1) TO (2)',
    });
    expect(sql).toContain(
      '--   alter table zoo.parent attach partition zoo.every_type FOR VALUES FROM (1) TO (2);',
    );
    expect(sql).toContain("set lc_monetary = 'C'");
    expect(sql).toMatch(/^-- {3}CREATE TRIGGER keeps/m);
    const result = await psql(other.url, sql);
    expect(result.stderr).toContain('role "gone_role" does not exist');
    expect(result.code, result.stderr).toBe(0);
    const otherDb = await open(other);
    const made = await load(otherDb, other, 'zoo.every_type');
    expect(differences(definition, made, 'all')).toEqual([]);
  });

  it('copies every column but the generated ones, and knows of the money', () => {
    const stored = storedColumns(definition);
    expect(stored).not.toContain('doubled');
    expect(stored).toContain('Weird "name"; drop');
    expect(stored.length).toBe(definition.columns.length - (serverVersion() >= 180_000 ? 2 : 1));
    expect(usesMoney(definition)).toBe(true);
  });

  it('takes away what masked values may break', () => {
    const { definition: masked, dropped } = withoutMasked(definition, ['token', 'whole']);
    expect(dropped).toEqual([
      'NOT NULL of column whole',
      'check constraint whole is at least',
      'unique constraint every_type_token_key',
      'unique index every_type Weird "index"',
    ]);
    expect(masked.indexes.map((index) => index.name)).toContain('every_type_lower');
  });
});

describe('what was changed', () => {
  it.each([
    ["alter type zoo.mood rename value 'sad' to 'blue'", /requirement zoo.mood was/],
    ['alter table zoo.every_type add column extra int', /column extra is new/],
    ['alter table zoo.every_type drop column flag cascade', /column flag is gone/],
    [
      'alter table zoo.every_type alter column single type numeric',
      /column single: type was "real" and is "numeric"/,
    ],
    ['alter table zoo.every_type rename column small to tiny', /column small is gone/],
    [
      'alter table zoo.every_type alter column whole drop not null',
      /column whole: notNull was true and is false/,
    ],
    [
      'alter table zoo.every_type alter column whole set default 8',
      /column whole: default was "7" and is "8"/,
    ],
    ['alter domain zoo.positive drop constraint "is positive"', /requirement zoo.positive was/],
  ])('is seen: %s', async (statement, expected) => {
    const found = await changesAfter(statement);
    expect(found.join('\n')).toMatch(expected);
  });

  it.each([
    'alter table zoo.every_type alter column letters set storage plain, alter column whole set statistics 5',
    'alter table zoo.every_type add constraint dbops_bound check (id is not null) not valid',
    "comment on table zoo.every_type is 'dbops:detached at=now'",
    'alter table zoo.every_type set (fillfactor = 90)',
  ])('is not counted where rows stay as they are: %s', async (statement) => {
    expect(await changesAfter(statement)).toEqual([]);
  });

  async function changesAfter(statement: string): Promise<string[]> {
    const undone = new Error('undone');
    let found: string[] = [];
    await db
      .transaction(async () => {
        await db.execute(statement);
        const [row] = await db.query<{ oid: number }>({
          text: "select 'zoo.every_type'::regclass::oid::int8::float8 as oid",
        });
        found = differences(definition, await loadDefinition(db, row!.oid));
        throw undone;
      })
      .catch((error: unknown) => {
        if (error !== undone) throw error;
      });
    return found;
  }
});

describe('a type of the same name', () => {
  it('is refused where it is different', async () => {
    const other = await createDatabase('definition_type');
    afterAll(() => other.drop());
    await other.query("create schema zoo; create type zoo.mood as enum ('sad')");
    const otherDb = await open(other);
    await expect(make(otherDb, definition, { schema: 'zoo', name: 'every_type' })).rejects.toThrow(
      'type zoo.mood is there already, with another definition',
    );
  });
});

it('a table of 1,600 columns is made again', async () => {
  await createWideTable(database);
  const wide = await load(db, database, 'public.wide');
  expect(wide.columns.length).toBe(1600);
  await make(db, wide, { schema: 'public', name: 'wide_again' });
  expect(differences(wide, await load(db, database, 'public.wide_again'), 'all')).toEqual([]);
});

it('a partition keeps its definition of rows when it is detached', async () => {
  await database.query(`
    create extension hstore schema zoo;
    create table public.parted (id bigint generated always as identity, at date not null, tags zoo.hstore,
      constraint positive check (id > 0), primary key (id, at)) partition by range (at);
    create table public.parted_1 partition of public.parted for values from ('2026-01-01') to ('2026-02-01')`);
  const attached = await load(db, database, 'public.parted_1');
  expect(attached.requirements.map((item) => `${item.kind} ${item.name}`)).toEqual([
    'schema zoo',
    'extension hstore',
  ]);
  await database.query('alter table public.parted detach partition public.parted_1 concurrently');
  const detached = await load(db, database, 'public.parted_1');
  expect(differences(attached, detached)).toEqual([]);
  await make(db, attached, { schema: 'public', name: 'parted_again' });
  await database.query(
    "alter table public.parted attach partition public.parted_again for values from ('2026-01-01') to ('2026-02-01')",
  );
});

async function psql(url: string, sql: string): Promise<{ code: number | null; stderr: string }> {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-schema-')), 'schema.sql');
  fs.writeFileSync(file, sql);
  const result = await runProgram(['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', file, url]);
  fs.rmSync(path.dirname(file), { recursive: true });
  return result;
}
