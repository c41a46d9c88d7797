// Large tables of a dump, whose rows go from the store to COPY without lying on the disk.
import fs from 'node:fs';
import path from 'node:path';
import { beforeAll, beforeEach, expect, it } from 'vitest';
import {
  createRestoreSite,
  dumpOf,
  manifestOf,
  whyNoDumps,
  type RestoreSite,
} from '../../support/restores.ts';

const reason = await whyNoDumps();
let site: RestoreSite;
let id: string;

/** Text that compresses to about 160 bytes a row: some thousand rows are a large table. */
const noise = "(select string_agg(md5((g * 10 + x)::text), '') from generate_series(0, 9) as x)";

beforeAll(async () => {
  if (reason !== undefined) return;
  site = await createRestoreSite(async (db) => {
    await db.query(`
      create schema "DATA";
      create table "DATA"."a ""big"" one, FROM stdin;"
        (id int primary key, "v, w" text, twice int generated always as (id * 2) stored);
      insert into "DATA"."a ""big"" one, FROM stdin;" (id, "v, w")
        select g, case when g % 100 = 0 then E'\\\\.\\n\\\\! false\\n\\\\.\\ndrop table public.parted;\\t' else ${noise} end
          from generate_series(1, 3000) as g;
      create table public.parted (at date not null, id int not null check (id > 0), v text)
        partition by range (at);
      create table public.parted_1 partition of public.parted for values from ('2026-01-01') to ('2026-02-01');
      create table public.parted_2 partition of public.parted for values from ('2026-02-01') to ('2026-03-01');
      create index on public.parted (id);
      insert into public.parted
        select date '2026-01-01' + g % 59, g, ${noise} from generate_series(1, 6000) as g;
      create table public.small as select g as id from generate_series(1, 100) as g;
      create sequence public.counter start 7;
      select lo_create(4711)`);
  });
  id = await site.backup('--kind', 'logical');
});
beforeEach((context) => context.skip(reason !== undefined, reason));

const dataFiles = () =>
  manifestOf(site, id)
    .files.filter((file) => /\d+\.dat\.zst$/.test(file.name))
    .sort((one, other) => other.sizeBytes - one.sizeBytes)
    .map((file) => file.name);

it('come back as they were, frozen, and hostile text stays text', async () => {
  const { code, stderr } = await site.run([
    ...['restore', 'database', id, '--into', 'whole', '--yes', '--verify', 'hash'],
  ]);
  expect(code, stderr).toBe(0);
  expect(stderr).toContain('the rows of 3 large tables come from the store');
  expect(await dumpOf(site, 'whole')).toEqual(await dumpOf(site, 'shop'));
  // From 16 on COPY adds up to 64 pages at once; those that it does not need stay empty, and unmarked.
  const facts = await site.on('whole').query(`
    select bool_and(relallvisible > 0 and relpages - relallvisible < 64) as "isFrozen",
           bool_and(exists (select from pg_stats as s where s.tablename = c.relname)) as "hasStatistics"
      from pg_class as c where c.relkind = 'r' and c.relname like any (array['a "big" one%', 'parted__'])`);
  expect(facts).toEqual([{ isFrozen: true, hasStatistics: true }]);
  expect(
    await site.on('whole').query("select count(*)::int4 as n from pg_stats where tablename = 'parted'"),
  ).toEqual([{ n: 3 }]);
  expect(site.remains()).toEqual([]);
});

it('are part of the plan', async () => {
  const { stdout } = await site.run(['restore', 'database', id, '--into', 'planned', '--dry-run']);
  expect(stdout).toMatch(/--section=pre-data dump\n.*copy .* 3 large tables, .*\n.*--section=post-data dump/);
});

it('come from another store where the first copy is damaged; without a good one nothing is left', async () => {
  const file = dataFiles()[1]!;
  const damage = (store: string) => {
    const at = path.join(site.folder(id, store), file);
    const original = fs.readFileSync(at);
    // The checksum of zstd: by the time that it is read, all rows have gone to COPY.
    fs.writeFileSync(at, Buffer.from(original).fill(0, original.length - 4));
    return () => fs.writeFileSync(at, original);
  };
  const mends = [damage('near')];
  try {
    const first = await site.run(['restore', 'database', id, '--into', 'second', '--yes']);
    expect(first.code, first.stderr).toBe(0);
    expect(await dumpOf(site, 'second')).toEqual(await dumpOf(site, 'shop'));
    mends.push(damage('far'));
    const { code, stderr } = await site.run(['restore', 'database', id, '--into', 'none', '--yes']);
    expect(code).toBe(7);
    expect(stderr).toContain(path.basename(file));
    expect(await site.databases()).not.toContain('none');
    expect((await site.databases()).filter((name) => name.startsWith('dbops_'))).toEqual([]);
  } finally {
    for (const mend of mends) mend();
  }
});

it('that the server refuses are counted, and the others are there', async () => {
  const { on } = site;
  await on('shop').query(`
    create function public.is_home() returns boolean language plpgsql as
      $$begin if current_database() <> 'shop' then raise 'not at home: %', current_database(); end if; return true; end$$;
    alter table public.parted_1 add constraint home check (public.is_home())`);
  try {
    const own = await site.backup('--kind', 'logical');
    const { code, stderr } = await site.run(['restore', 'database', own, '--into', 'partly', '--yes']);
    expect(code).toBe(5);
    expect(stderr).toContain('the server refused 1 statements');
    expect(stderr).toMatch(/not at home: dbops_restoring_\w+: COPY public\.parted_1 /);
    expect(stderr).toContain('public.parted_1 has 0 rows, and the backup has');
    const rows = await on('partly').query('select count(*)::int4 as n from public.parted_2');
    expect(rows).toEqual(await on('shop').query('select count(*)::int4 as n from public.parted_2'));
  } finally {
    await on('shop').query('drop function public.is_home() cascade');
  }
});

it('of a database in an encoding of its own keep their names and their text', async () => {
  await site.on('postgres').query("create database korean template template0 encoding 'EUC_KR' locale 'C'");
  const korean = site.on('korean');
  await korean.query(`
    create table public."큰 표" as select g as "번호", '가나다 ' || ${noise} as "값" from generate_series(1, 3000) as g;
    create table public.plain as select * from public."큰 표"`);
  const url = new URL(site.server.url);
  url.pathname = '/korean';
  const made = await site.json<{ id: string }>(['backup', 'create', '--kind', 'logical', '--url', url.href]);
  const { code, stderr } = await site.run([
    ...['restore', 'database', made.id, '--into', 'korean_again', '--yes', '--verify', 'hash'],
  ]);
  expect(code, stderr).toBe(0);
  expect(
    await site
      .on('korean_again')
      .query('select md5(string_agg(t::text, \',\' order by 1)) as sum from public."큰 표" as t'),
  ).toEqual(
    await korean.query('select md5(string_agg(t::text, \',\' order by 1)) as sum from public."큰 표" as t'),
  );
});
