// An archive becomes a table again: equal, or not at all.
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { archivePartition } from '../../support/archives.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';

const rows = 3000;
const partition = 'public.events_y2020m01';

let database: TestDatabase;
let work: Workspace;
let id: string;

/** Every file below a directory. */
function filesIn(dir: string): string[] {
  return fs
    .readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
}

function partsOf(store: string): string[] {
  return filesIn(path.join(work.dir, store))
    .filter((file) => file.includes(id) && file.endsWith('.zst'))
    .sort();
}

function manifestOf(store: string): string {
  return filesIn(path.join(work.dir, store)).find(
    (file) => file.includes(id) && file.endsWith('manifest.json'),
  )!;
}

async function restore(args: string[], archiveId = id) {
  return await work.run(['archive', 'restore', archiveId, ...args]);
}

async function contents(on: TestDatabase, table: string): Promise<unknown> {
  const [row] = await on.query(
    `select count(*)::int as count, md5(string_agg(t::text, '' order by t::text)) as hash from ${table} as t`,
  );
  return row;
}

async function exists(name: string): Promise<boolean> {
  const [row] = await database.query<{ found: boolean }>('select to_regclass($1) is not null as found', [
    name,
  ]);
  return row!.found;
}

beforeAll(async () => {
  database = await createDatabase('restore');
  afterAll(() => database.drop());
  await database.query(`
    create type public.kind as enum ('small', 'large');
    create table public.events (id bigint generated always as identity, kind public.kind not null, body text,
      created_at timestamptz not null, constraint body_is_short check (length(body) < 100),
      primary key (id, created_at)) partition by range (created_at);
    create index on public.events (kind, created_at);
    create table public.events_y2020m01 partition of public.events for values from ('2020-01-01 00:00:00+00') to ('2020-02-01 00:00:00+00');
    create table public.events_y2020m02 partition of public.events for values from ('2020-02-01 00:00:00+00') to ('2020-03-01 00:00:00+00');
    comment on table public.events_y2020m01 is 'the first month';
    insert into public.events (kind, body, created_at)
      select case when i % 3 = 0 then 'large' else 'small' end::public.kind, 'row ' || i, '2020-01-01 00:00:00+00'::timestamptz + i * interval '10 min'
        from generate_series(1, ${String(rows)}) as i`);
  work = createWorkspace(database, '');
  work.configure(`
stores:
  near: { url: "file://${work.dir}/near" }
  far: { url: "file://${work.dir}/far" }
partitions:
  - { table: public.events, key: created_at, interval: month, retention: { hot: 1 month, cold: 5 years } }
`);
  id = await archivePartition(work, partition);
});

describe('a restore', () => {
  it('makes an equal table under another name, by the beginning of its id', async () => {
    const result = await restore(
      ['--into', 'public.back', '--yes', '--verify', 'digest', '--json'],
      id.slice(0, -2),
    );
    expect(result.code, result.stderr).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({
      data: {
        archive: id,
        table: 'public.back',
        rows,
        verified: 'digest',
        attachedTo: null,
        differences: [],
      },
    });
    expect(await contents(database, 'public.back')).toEqual(await contents(database, partition));
    const [facts] = await database.query(
      `select obj_description('public.back'::regclass) as comment,
              (select count(*)::int from pg_index where indrelid = 'public.back'::regclass) as indexes,
              (select reltuples::int from pg_class where oid = 'public.back'::regclass) as tuples,
              (select count(*)::int from pg_constraint where conrelid = 'public.back'::regclass and contype = 'c') as checks`,
    );
    expect(facts).toEqual({ comment: 'the first month', indexes: 2, tuples: rows, checks: 1 });
    const [logged] = await database.query(
      `select command, outcome from dbops.run where command = 'archive restore' order by id desc limit 1`,
    );
    expect(logged).toEqual({ command: 'archive restore', outcome: 'done' });
  });

  it('asks, and without a terminal needs a yes', async () => {
    const result = await restore(['--into', 'public.asked']);
    expect(result.code, result.stderr).toBe(4);
    expect(await exists('public.asked')).toBe(false);
  });

  it('prints what it would do, and does not', async () => {
    const result = await restore(['--into', '"odd schema"."odd ""table"""', '--dry-run']);
    expect(result.code, result.stderr).toBe(0);
    expect(result.stdout).toContain('create schema "odd schema"');
    expect(result.stdout).toContain(
      `\\copy "odd schema"."odd ""table""" from program 'zstd -dc part-00000.copy.zst';`,
    );
    expect(await exists('"odd schema"."odd ""table"""')).toBe(false);
  });

  it('goes into a schema and a name that need quotes', async () => {
    const result = await restore(['--into', '"odd schema"."odd ""table"""', '--yes']);
    expect(result.code, result.stderr).toBe(0);
    expect(await contents(database, '"odd schema"."odd ""table"""')).toEqual(
      await contents(database, partition),
    );
  });

  it('goes into another database, where the type is made too', async () => {
    const other = await createDatabase('restore_target');
    afterAll(() => other.drop());
    const result = await restore(['--into', partition, '--yes', '--target', other.url, '--verify', 'digest']);
    expect(result.code, result.stderr).toBe(0);
    expect(await contents(other, partition)).toEqual(await contents(database, partition));
    const names = await other.query<{ name: string }>(
      `select relname as name from pg_class where relname like 'events%' and relkind = 'i' order by 1`,
    );
    expect(names.map((row) => row.name)).toEqual([
      'events_y2020m01_kind_created_at_idx',
      'events_y2020m01_pkey',
    ]);
  });

  it('attaches it where it was', async () => {
    const before = await contents(database, partition);
    await database.query(`alter table public.events detach partition ${partition};
      alter table ${partition} rename to events_old`);
    const result = await restore(['--into', 'public.events_again', '--attach', '--yes']);
    expect(result.code, result.stderr).toBe(0);
    expect(await contents(database, 'public.events')).toEqual(before);
    const again = await restore(['--into', 'public.events_twice', '--attach', '--yes']);
    expect(again.code).toBe(4);
    expect(again.stderr).toContain('public.events_again has these bounds already');
    await database.query(`alter table public.events detach partition public.events_again;
      alter table public.events_old rename to events_y2020m01;
      alter table public.events attach partition ${partition} for values from ('2020-01-01 00:00:00+00') to ('2020-02-01 00:00:00+00')`);
  });
});

describe('is refused, with nothing changed', () => {
  it.each([
    ['an id that no store has', ['--into', 'public.never'], 2, /there is no archive "nothing"/, 'nothing'],
    [
      'a table that is there',
      ['--into', 'public.events', '--yes'],
      4,
      /public.events is there already/,
      undefined,
    ],
    [
      'a way to verify that is none',
      ['--into', 'public.never', '--verify', 'luck'],
      2,
      /bytes or digest/,
      undefined,
    ],
    ['a line break in the name', ['--into', 'public.ne\nver', '--yes'], 2, /line break/, undefined],
  ])('%s', async (_what, args, code, words, archiveId) => {
    const result = await restore(args, archiveId);
    expect(result.stderr).toMatch(words);
    expect(result.code).toBe(code);
    expect(await exists('public.never')).toBe(false);
  });

  it('an index of its own that is there', async () => {
    await database.query('create table public.holder (id int constraint never_pkey primary key)');
    const result = await restore(['--into', 'public.never', '--yes']);
    expect(result.code).toBe(4);
    expect(result.stderr).toContain('public.never_pkey is there already');
    await database.query('drop table public.holder');
    expect(await exists('public.never')).toBe(false);
  });

  it('a type that is different', async () => {
    const other = await createDatabase('restore_type');
    afterAll(() => other.drop());
    await other.query("create type public.kind as enum ('small')");
    const result = await restore(['--into', 'public.never', '--yes', '--target', other.url]);
    expect(result.code).toBe(4);
    expect(result.stderr).toContain('type public.kind is there already, with another definition');
    expect(result.stderr).toContain("enum ('small', 'large')");
  });

  it('a parent that is none', async () => {
    const other = await createDatabase('restore_parent');
    afterAll(() => other.drop());
    const result = await restore(['--into', 'public.never', '--attach', '--yes', '--target', other.url]);
    expect(result.code).toBe(4);
    expect(result.stderr).toContain('public.events is not a partitioned table here');
  });
});

describe('a damaged archive', () => {
  it('is read from the next store, part by part', async () => {
    const [part] = partsOf('near');
    const good = fs.readFileSync(part!);
    fs.writeFileSync(part!, Buffer.concat([good.subarray(0, good.length - 1), Buffer.from('x')]));
    try {
      const result = await restore(['--into', 'public.from_far', '--yes', '--verify', 'digest']);
      expect(result.stderr).toContain('trying the next store that has it');
      expect(result.code, result.stderr).toBe(0);
      expect(await contents(database, 'public.from_far')).toEqual(await contents(database, partition));
    } finally {
      fs.writeFileSync(part!, good);
    }
  });

  it.each([
    ['a part with other bytes', (file: string) => fs.appendFileSync(file, 'x'), /is damaged/],
    ['a part that is not there', (file: string) => fs.rmSync(file), /part-00000/],
    ['a part that is cut', (file: string) => fs.truncateSync(file, 100), /is damaged/],
  ])('leaves no table behind: %s', async (_what, damage, words) => {
    const files = [...partsOf('near'), ...partsOf('far')];
    const copies = files.map((file) => ({ file, bytes: fs.readFileSync(file) }));
    for (const file of files) damage(file);
    try {
      const result = await restore(['--into', 'public.never', '--yes']);
      expect(result.stderr).toMatch(words);
      expect(result.code, result.stderr).toBe(7);
      expect(await exists('public.never')).toBe(false);
    } finally {
      for (const { file, bytes } of copies) fs.writeFileSync(file, bytes);
    }
  });

  it('is refused when its manifest counts other rows than its parts hold', async () => {
    const files = [manifestOf('near'), manifestOf('far')];
    const good = fs.readFileSync(files[0]!, 'utf8');
    const lie = good.replaceAll(`"rows": ${String(rows)}`, `"rows": ${String(rows + 1)}`);
    expect(lie).not.toBe(good);
    for (const file of files) fs.writeFileSync(file, lie);
    try {
      const result = await restore(['--into', 'public.never', '--yes']);
      expect(result.code, result.stderr).toBe(7);
      expect(await exists('public.never')).toBe(false);
    } finally {
      for (const file of files) fs.writeFileSync(file, good);
    }
  });

  it.each([
    ['is of a newer dbops', (text: string) => text.replace('"formatVersion": 1', '"formatVersion": 9'), 4],
    ['is cut', (text: string) => text.slice(0, 300), 7],
  ])('is refused when its manifest %s', async (_what, change, code) => {
    const files = [manifestOf('near'), manifestOf('far')];
    const good = fs.readFileSync(files[0]!, 'utf8');
    for (const file of files) fs.writeFileSync(file, change(good));
    try {
      const result = await restore(['--into', 'public.never', '--yes']);
      expect(result.code, result.stderr).toBe(code);
      fs.writeFileSync(files[1]!, good);
      const other = await restore(['--into', `public.second_${String(code)}`, '--yes']);
      expect(other.stderr).toContain('store "near"');
      expect(other.code, other.stderr).toBe(0);
    } finally {
      for (const file of files) fs.writeFileSync(file, good);
    }
  });
});

describe('an interrupted restore', () => {
  it('leaves a mark, and is begun anew', async () => {
    const running = work.spawn(['archive', 'restore', id, '--into', 'public.cut', '--yes']);
    await running.waitFor(/make public.cut, empty/);
    running.kill('SIGKILL');
    await running.done;
    const [left] = await database.query(`select obj_description(to_regclass('public.cut')) as mark`);
    expect(left).toEqual({ mark: `dbops:restoring ${id}` });
    const dry = await restore(['--into', 'public.cut', '--dry-run']);
    expect(dry.stdout).toContain('drop table public.cut');
    const again = await restore(['--into', 'public.cut', '--yes', '--wait', '20s']);
    expect(again.code, again.stderr).toBe(0);
    expect(await contents(database, 'public.cut')).toEqual(await contents(database, partition));
  });
});

it('masked values come back without the constraints that they may break, which is said', async () => {
  const space = createWorkspace(database, '');
  space.configure(`
stores:
  near: { url: "file://${work.dir}/near" }
  far: { url: "file://${work.dir}/far" }
  masked: { url: "file://${space.dir}/masked" }
partitions:
  - table: public.events
    key: created_at
    interval: month
    retention: { hot: 1 month }
    archive: { mask: { body: "repeat('*', 200)" }, copies: [masked] }
`);
  await database.query(
    `insert into public.events (kind, body, created_at)
     select 'small', 'row ' || i, '2020-02-01 00:00:00+00'::timestamptz + i * interval '1 h' from generate_series(1, 10) as i`,
  );
  const maskedId = await archivePartition(space, 'public.events_y2020m02');
  const args = [
    'archive',
    'restore',
    maskedId,
    '--into',
    'public.hidden',
    '--yes',
    '--verify',
    'digest',
    '--json',
  ];
  const result = await space.run(args);
  expect(result.code, result.stderr).toBe(0);
  expect(result.stdout).toContain('check constraint body_is_short is left out');
  const found = await database.query(
    'select distinct body, count(*)::int as count from public.hidden group by 1',
  );
  expect(found).toEqual([{ body: '*'.repeat(200), count: 10 }]);
});
