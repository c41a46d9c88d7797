import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { byMonth, convert, createEvents, one } from '../support/convert.ts';
import { createDatabase, serverVersion, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase('convert_check');
});

afterAll(() => db.drop());

interface Checked {
  code: number | null;
  problems: string[];
  text: string;
}

async function check(args: string[]): Promise<Checked> {
  const { code, stdout, stderr } = await convert(db, [...args, '--check', '--json']);
  if (stdout === '') return { code, problems: [], text: stderr };
  const { data } = JSON.parse(stdout) as { data: { obstacles: { object: string; problem: string }[] } };
  return { code, problems: data.obstacles.map((item) => `${item.object} ${item.problem}`), text: stdout };
}

describe('--check', () => {
  it('lists everything that prevents a convert at once, and the run refuses with the same', async () => {
    for (const text of [
      'create table public.bad (id int, code text, at timestamptz, span tstzrange, amount int, check (amount > 0) no inherit,' +
        ' primary key (id) deferrable, unique (code), exclude using gist (span with &&))',
      'alter table public.bad add constraint late check (amount < 10) not valid',
      'create table public.child () inherits (public.bad)',
      'create table public.refers (bad_code text references public.bad (code) on delete cascade)',
      'create materialized view public.frozen as select * from public.bad',
      'create view public.whole as select b from public.bad as b',
      'create rule nothing as on delete to public.bad do instead nothing',
      'create table public.other (id int)',
      'create policy peek on public.other using (exists (select from public.bad))',
      'create function public.parsed() returns bigint language sql begin atomic select count(*) from public.bad; end',
      'create function public.typed(public.bad) returns int language sql as $$ select 1 $$',
      'create publication everything for all tables',
      "insert into public.bad (id, at) values (1, null), (2, now() + interval '10 years')",
    ])
      await db.query(text);
    const { code, problems } = await check(['bad', '--key', 'at', '--interval', 'month']);
    expect(code).toBe(6);
    const text = problems.join('\n');
    for (const part of [
      'table bad is inherited by public.child',
      'constraint bad_amount_check is NO INHERIT',
      'constraint late is not valid',
      'constraint bad_pkey is deferrable',
      'constraint bad_code_key is unique without "at"',
      'constraint bad_span_excl is an exclusion constraint',
      'foreign key refers_bad_code_fkey of public.refers references the table',
      'materialized view public.frozen follows the old table',
      'rule nothing on table public.bad follows the old table',
      'policy peek on table public.other follows the old table',
      'function public.parsed() follows the old table',
      'function public.typed(public.bad) follows the old table',
      'view public.whole',
      "publication everything publishes changes under the partitions' names",
      'some have a at at or past the cutover',
      'some have no at',
    ])
      expect(text).toContain(part);
    const run = await convert(db, ['bad', '--key', 'at', '--interval', 'month']);
    expect(run.code).toBe(4);
    expect(run.stderr).toContain(`${String(problems.length)} things prevent it`);
    expect(await one(db, `select count(*)::int from pg_namespace where nspname = 'dbops'`)).toBe(0);
    await db.query('drop publication everything');
  });

  it('refuses partitions, typed, unlogged and partitioned tables, and what is no table', async () => {
    for (const text of [
      'create type public.shape as (id int, at date)',
      'create table public.typed_table of public.shape',
      'create unlogged table public.fast (id int, at date not null)',
      'create table public.parted (id int, at date not null) partition by range (at)',
      "create table public.part partition of public.parted for values from ('2026-01-01') to ('2027-01-01')",
      'create view public.looks as select 1 as id',
    ])
      await db.query(text);
    const day = ['--key', 'at', '--interval', 'day'];
    expect((await check(['typed_table', ...day])).problems.join()).toContain(
      'of the composite type public.shape',
    );
    expect((await check(['fast', ...day])).problems.join()).toContain('unlogged');
    expect((await check(['part', ...day])).problems.join()).toContain('is a partition of another table');
    expect((await check(['parted', ...day])).problems.join()).toContain('is partitioned already');
    expect((await check(['looks', ...day])).text).toContain('is not a table');
    expect((await check(['absent', ...day])).code).toBe(2);
    expect((await check(['fast', '--key', 'nope', '--interval', 'day'])).code).toBe(2);
    expect((await check(['fast', '--key', 'at', '--interval', 'fortnight'])).code).toBe(2);
    expect((await check(['fast', '--key', 'at'])).code).toBe(2);
  });

  it('refuses a cutover that is past, off the grid or unreadable', async () => {
    await createEvents(db, 'public.dated', 10);
    for (const [cutover, part] of [
      ['2001-01-01', 'has passed already'],
      ['2100-01-02', 'is not where a period of month begins'],
      ['soon', 'cannot be read'],
    ] as const) {
      const { code, text } = await check(['dated', ...byMonth, '--cutover', cutover]);
      expect(code).toBe(2);
      expect(text).toContain(part);
    }
    const { code } = await check([
      'dated',
      ...byMonth,
      '--cutover',
      '2100-01-01',
      '--timezone',
      'Asia/Seoul',
    ]);
    expect(code).toBe(0);
  });

  it('refuses a role that does not own the table, and a view of another role', async () => {
    await db.query(
      `do $$ begin create role convert_stranger login; exception when duplicate_object then null; end $$`,
    );
    await createEvents(db, 'public.foreign_owned', 10);
    await db.query('grant select on public.foreign_owned to convert_stranger');
    const url = new URL(db.url);
    url.username = 'convert_stranger';
    const result = await convert({ url: url.href }, ['foreign_owned', ...byMonth, '--check']);
    expect(result.code).toBe(6);
    expect(result.stdout).toContain('does not own it');
  });

  it('works for a plain owner who may only reference the target of a foreign key', async () => {
    for (const text of [
      `do $$ begin create role convert_plain login; exception when duplicate_object then null; end $$`,
      'create schema plain authorization convert_plain',
      'create table plain.kinds (id int primary key)',
      'insert into plain.kinds values (1)',
      'grant references on plain.kinds to convert_plain',
      'create table plain.events (id bigint generated always as identity primary key, kind int references plain.kinds, at timestamptz not null default now())',
      'insert into plain.events (kind) values (1)',
      'alter table plain.events owner to convert_plain',
    ])
      await db.query(text);
    const url = new URL(db.url);
    url.username = 'convert_plain';
    const key = ['--key', 'at', '--interval', 'day', '--premake', '1'];
    const done = await convert({ url: url.href }, ['plain.events', ...key]);
    expect(done.stderr).not.toContain('dbops:');
    expect(done.code).toBe(0);
    await expect(db.query('insert into plain.events (kind) values (2)')).rejects.toThrow(/events_kind_fkey/);
    expect(
      await one(
        db,
        `select count(*)::int from pg_constraint where contype = 'f' and conparentid <> 0 and confrelid = 'plain.kinds'::regclass`,
      ),
    ).toBeGreaterThan(1);
    expect((await convert({ url: url.href }, ['plain.events', '--undo'])).code).toBe(0);
    await expect(db.query('insert into plain.events (kind) values (2)')).rejects.toThrow(/events_kind_fkey/);
  });

  it('leaves behind what the operator names', async () => {
    await createEvents(db, 'public.followed', 10);
    await db.query(
      'create materialized view public.followed_sum as select count(*) as rows from public.followed',
    );
    const result = await convert(db, ['followed', ...byMonth, '--leave-behind', 'public.followed_sum']);
    expect(result.code).toBe(0);
    expect(result.stderr).toContain('sees no newer rows');
    await db.query('refresh materialized view public.followed_sum');
    expect(await one(db, 'select rows::int from public.followed_sum')).toBe(10);
  });

  it('drops incoming foreign keys only when told to, and undo brings them back unchecked', async () => {
    await createEvents(db, 'public.target', 10);
    await db.query(
      'create table public.lines (id int, event bigint constraint to_event references public.target on delete cascade)',
    );
    await db.query(
      'create table public."Line s" (event bigint constraint "to ""it" references public.target)',
    );
    await db.query('insert into public.lines values (1, 1)');
    await db.query('alter table public.target add parent bigint references public.target');
    const refused = await convert(db, ['target', ...byMonth]);
    expect(refused.code).toBe(4);
    expect(refused.stderr).toContain('foreign key to_event of public.lines references the table');
    const done = await convert(db, ['target', ...byMonth, '--drop-incoming-foreign-keys']);
    expect(done.code).toBe(0);
    expect(done.stderr).toContain('Foreign key to_event of public.lines is dropped');
    expect(
      await one(
        db,
        `select count(*)::int from pg_constraint where contype = 'f' and confrelid = 'public.target'::regclass`,
      ),
    ).toBe(0);
    await db.query('insert into public.lines values (2, 99999)');
    const undone = await convert(db, ['target', '--undo']);
    expect(undone.stderr).toContain('VALIDATE CONSTRAINT');
    expect(undone.code).toBe(0);
    const keys = await db.query(
      `select conrelid::regclass::text as on, conname, convalidated from pg_constraint where contype = 'f' and confrelid = 'public.target'::regclass order by 1`,
    );
    expect(keys).toEqual([
      { on: '"Line s"', conname: 'to "it', convalidated: false },
      { on: 'lines', conname: 'to_event', convalidated: false },
      { on: 'target', conname: 'target_parent_fkey', convalidated: false },
    ]);
    await expect(db.query('insert into public.lines values (3, 88888)')).rejects.toThrow(/to_event/);
  });

  it.runIf(serverVersion() >= 150_000)(
    'carries publications by schema, column lists and filters',
    async () => {
      await db.query('create schema pubs');
      await createEvents(db, 'pubs.events', 10);
      await db.query('alter table pubs.events replica identity full');
      await db.query('create publication by_schema for tables in schema pubs');
      expect((await check(['pubs.events', ...byMonth])).problems.join()).toContain('publication by_schema');
      await db.query('alter publication by_schema set (publish_via_partition_root = true)');
      await db.query(
        `create publication by_list for table pubs.events (id, tenant, created_at) where (tenant > 2) with (publish_via_partition_root = true, publish = 'insert')`,
      );
      const before = await db.query(
        `select attnames, rowfilter from pg_publication_tables where pubname = 'by_list'`,
      );
      expect((await convert(db, ['pubs.events', ...byMonth])).code).toBe(0);
      const after = await db.query(
        `select attnames, rowfilter, tablename from pg_publication_tables where pubname = 'by_list'`,
      );
      expect(after).toEqual([{ ...before[0], tablename: 'events' }]);
      expect(
        await db.query(`select tablename from pg_publication_tables where pubname = 'by_schema'`),
      ).toEqual([{ tablename: 'events' }]);
      expect(
        await one(
          db,
          `select bool_and(relreplident = 'f') from pg_class where oid in (select inhrelid from pg_inherits where inhparent = 'pubs.events'::regclass)`,
        ),
      ).toBe(true);
    },
  );
});
