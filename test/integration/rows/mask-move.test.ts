// Rows that are masked or moved, and what is refused before anything is changed.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';
import { count, outbox, rows } from './setup.ts';

let db: TestDatabase;
let workspace: Workspace;

beforeAll(async () => {
  db = await createDatabase('rows_mask_move');
  workspace = createWorkspace(db, 'rows: {}\n');
  await db.query(`create table users (tenant int, id uuid default gen_random_uuid(), email text not null unique, phone text,
    size int generated always as (length(email)) stored, primary key (tenant, id))`);
  await db.query(
    "insert into users (tenant, email, phone) select n % 7, 'u' || n || '@x', '010-' || n from generate_series(1, 3000) as n",
  );
  await db.query('analyze users');
});
afterAll(() => db.drop());

async function refused(args: string[], ...texts: string[]): Promise<void> {
  const result = await rows(workspace, ...args, '--yes');
  for (const text of texts) expect(result.stderr).toContain(text);
  expect([2, 4], result.stderr).toContain(result.code);
}

describe('mask', () => {
  const mask = ['mask', 'public.users', '--where', 'tenant < 6'];

  it('refuses one value for a unique column, keys, generated columns and values that meet', async () => {
    await refused(
      [...mask, '--set', "email='gone'"],
      'unique index users_email_key on email allows one row only with that value',
    );
    await refused([...mask, '--set', 'email=left(email, 2)'], 'several rows would get the same value');
    await refused([...mask, '--set', 'size=1'], 'is generated');
    await refused([...mask, '--set', 'id=gen_random_uuid()'], 'is part of the primary key');
    await refused([...mask, '--set', 'emial=null'], 'Did you mean email?');
    await refused([...mask, '--set', 'email=null'], 'null value in column "email"');
    expect(await count(db, 'public.users', "email not like 'u%@x'")).toBe(0);
  });

  it('changes the rows along a key of two columns, says where old values remain, and nothing the second time', async () => {
    const set = ['--set', "email='masked_' || id || '@example.com'", '--set', 'phone=null'];
    const result = await rows(workspace, ...mask, ...set, '--yes', '--json');
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).toContain('old values remain in dead rows');
    expect(JSON.parse(result.stdout)).toMatchObject({
      data: { jobs: [{ rows: await count(db, 'public.users', 'tenant < 6') }] },
    });
    expect(
      await count(
        db,
        'public.users',
        "tenant < 6 and email = 'masked_' || id || '@example.com' and phone is null",
      ),
    ).toBe(await count(db, 'public.users', 'tenant < 6'));
    expect(await count(db, 'public.users', 'phone is null')).toBe(
      await count(db, 'public.users', 'tenant < 6'),
    );
    const again = await rows(workspace, ...mask, ...set, '--yes', '--json');
    expect(JSON.parse(again.stdout)).toMatchObject({ data: { jobs: [{ rows: 0 }] } });
  });
});

describe('move', () => {
  it('makes the archive table and takes generated values, identities and hostile names along', async () => {
    await db.query(`create table "Aus""gang; --" (id bigint generated always as identity, "at""t" timestamptz not null,
      body text, size int generated always as (length(body)) stored, primary key (id))`);
    await db.query(`insert into "Aus""gang; --" ("at""t", body) select timestamptz '2026-11-21' - n * interval '1 day', 'row ' || n
      from generate_series(1, 3000) as n`);
    const sum = `select count(*)::int as n, md5(string_agg(t::text, '|' order by id)) as digest from`;
    const [before] = await db.query(`${sum} "Aus""gang; --" as t where "at""t" < '2026-11-01 12:00+00'`);
    const args = [
      'move',
      '"public"."Aus""gang; --"',
      '--older-than',
      'at"t 20 days',
      '--to',
      '"public"."Arc\nhive"',
    ];
    await refused(args, 'there is no table public.Arc\\x0ahive to move rows to');
    const result = await rows(workspace, ...args, '--create', '--yes');
    expect(result.code, result.stderr).toBe(0);
    expect(await db.query(`${sum} "Arc\nhive" as t`)).toEqual([before]);
    const [table] = await db.query<{ options: string[]; compression: string }>(
      `select reloptions as options, (select attcompression::text from pg_attribute where attrelid = c.oid and attname = 'body') as compression
         from pg_class as c where relname = E'Arc\\nhive'`,
    );
    // Not every build of the server has lz4.
    const [lz4] = await db.query<{ has: boolean }>(
      "select 'lz4' = any (enumvals) as has from pg_settings where name = 'default_toast_compression'",
    );
    expect(table).toEqual({ options: ['fillfactor=100'], compression: lz4!.has ? 'l' : '' });
    expect(await count(db, 'public."Aus""gang; --"')).toBe(3000 - Number(before!['n']));
  });

  it('refuses a target with other columns, and one whose trigger keeps rows out', async () => {
    await outbox(db, 300, 'source');
    await db.query(
      'create table narrow (id bigint, status varchar(5), payload jsonb, created_at timestamptz, extra int not null)',
    );
    const move = ['move', 'public.source', '--where', 'true'];
    await refused(
      [...move, '--to', 'narrow'],
      'status is character varying(5) there and text here',
      'published_at is missing',
      'extra needs a value there',
    );
    await db.query('create table kept (like source)');
    await db.query("create function nothing() returns trigger language plpgsql as 'begin return null; end'");
    await db.query('create trigger keep before insert on kept for each row execute function nothing()');
    await refused([...move, '--to', 'kept'], 'trigger keep decides which rows may enter');
    expect(await count(db, 'public.source')).toBe(300);
  });
});

describe('conditions', () => {
  const purge = ['purge', 'public.users', '--where'];

  it('are one expression on the row alone, the same in each batch', async () => {
    await refused([...purge, 'false) or (true'], '--where is not an expression over public.users');
    await refused([...purge, 'true] or array[true'], '--where is not an expression');
    await refused([...purge, 'false; delete from users'], '--where is not an expression');
    await refused([...purge, 'id = $1'], 'has a parameter such as $1');
    await refused([...purge, 'phone is null and random() < 0.5'], 'random(), which is volatile');
    await refused([...purge, "now() > '2020-01-01'"], 'asks for the time (now)');
    await refused([...purge, 'exists (select from pg_catalog.pg_class)'], 'looks at more than the row');
    await refused(
      [...purge, 'tenant = (select max(tenant) from public.users)'],
      'looks at more than the row',
    );
    await refused([...purge, 'emial is null'], 'column "emial" does not exist');
    await refused([...purge, 'tenant'], 'must be type boolean');
    await refused(['purge', 'public.users'], 'which rows of public.users are meant?');
    await refused(['purge', 'public.users', '--older-than', 'tenant 7 days'], 'which has no age');
    await refused(['purge', 'public.users', '--older-than', '7 days'], '--older-than is a column and an age');
    expect(await count(db, 'public.users')).toBe(3000);
  });
});

describe('what a job would set off', () => {
  it('is told before: triggers and foreign keys; CASCADE only when it is allowed', async () => {
    await db.query('create table cases (id int primary key, at timestamptz)');
    await db.query("insert into cases select n, '2020-01-01' from generate_series(1, 2000) as n");
    await db.query(
      'create table notes (id int primary key, case_id int constraint on_case references cases on delete cascade)',
    );
    await db.query('insert into notes select n, n from generate_series(1, 2000) as n');
    const purge = ['purge', 'public.cases', '--older-than', 'at 1 year'];
    await refused(
      purge,
      'foreign key on_case of public.notes would change public.notes as well',
      '--cascade',
    );
    const dry = await rows(workspace, ...purge, '--cascade', '--dry-run');
    expect(dry.stderr).toContain('no index of public.notes begins with case_id');
    await db.query('create index on notes (case_id)');
    expect((await rows(workspace, ...purge, '--cascade', '--yes', '--where', 'id <= 1000')).code).toBe(0);
    expect(await count(db, 'public.notes')).toBe(1000);
    await db.query('alter table notes drop constraint on_case, add foreign key (case_id) references cases');
    await refused(purge, 'rows that are to be taken out are pointed at by public.notes');
    expect((await rows(workspace, ...purge, '--where', 'id > 5000', '--yes')).code).toBe(0);
    expect(await count(db, 'public.cases')).toBe(1000);
  });

  it('is refused where rows are hidden, rewritten, or in no table', async () => {
    await db.query('create view seen as select * from users');
    await refused(['purge', 'public.seen', '--where', 'true'], 'public.seen is a view');
    await refused(['purge', 'public.nothing', '--where', 'true'], 'there is no table public.nothing');
    await refused(['purge', 'pg_catalog.pg_class', '--where', 'true'], 'belongs to the server itself');
    await db.query('create table ruled (id int primary key)');
    await db.query('create rule keep as on delete to ruled do instead nothing');
    await refused(['purge', 'public.ruled', '--where', 'true'], 'a rule rewrites DELETE on it');
    await db.query('create table keyless (a int)');
    await refused(['mask', 'public.keyless', '--set', 'a=null', '--where', 'true'], 'has no primary key');
    await db.query('create table guarded (id int primary key, owner text)');
    await db.query('alter table guarded enable row level security, force row level security');
    await db.query(
      `do $$ begin create role dbops_rows_test login; exception when duplicate_object then null; end $$`,
    );
    await db.query('grant all on guarded to dbops_rows_test');
    const url = new URL(db.url);
    url.username = 'dbops_rows_test';
    const result = await workspace.run(['rows', 'purge', 'public.guarded', '--where', 'true', '--yes'], {
      DATABASE_URL: url.href,
    });
    expect(result.stderr).toContain('row security hides rows from role "dbops_rows_test"');
    expect(result.stderr).toContain('BYPASSRLS');
    expect(result.code).toBe(4);
  });
});

describe('a partitioned table', () => {
  it('is walked partition by partition, and whole ones are left alone', async () => {
    await db.query(
      'create table events (id bigint, at timestamptz, ip inet, primary key (id, at)) partition by range (at)',
    );
    for (const month of ['08', '09', '10', '11'])
      await db.query(
        `create table events_${month} partition of events for values from ('2026-${month}-01') to ('2026-${Number(month) + 1}-01')`,
      );
    await db.query(
      "insert into events select n, timestamptz '2026-11-21' - n * interval '1 hour', '10.0.0.1' from generate_series(1, 2000) as n",
    );
    await db.query('analyze events');
    const dry = await rows(
      workspace,
      'mask',
      'events',
      '--set',
      'ip=null',
      '--older-than',
      'at 40 days',
      '--dry-run',
    );
    expect(dry.stdout).toContain('of 3 partitions');
    const result = await rows(
      workspace,
      'mask',
      'events',
      '--set',
      'ip=null',
      '--older-than',
      'at 40 days',
      '--yes',
    );
    expect(result.code, result.stderr).toBe(0);
    expect(await count(db, 'events', "(ip is null) <> (at < '2026-10-12 12:00+00')")).toBe(0);
    expect(await count(db, 'events', 'ip is null')).toBeGreaterThan(1000);
  });
});
