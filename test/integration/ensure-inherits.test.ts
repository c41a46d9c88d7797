// What a new partition must have from its parent, though neither LIKE nor ATTACH brings it.
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, serverVersion, type TestDatabase } from '../support/database.ts';
import { catalogOf, runEnsure } from '../support/ensure.ts';

let db: TestDatabase;
/** Roles belong to the whole server: names of this run alone. */
const role = `dbops_${randomBytes(4).toString('hex')}`;
const [owner, reader, writer] = [`${role} owner`, `${role}_reader`, `${role}_writer`];

beforeAll(async () => {
  db = await createDatabase('ensure_inherits');
  await db.query(`create role "${owner}"; create role ${reader}; create role ${writer}`);
  await db.query(`grant create on schema public to "${owner}"`);
});

afterAll(async () => {
  await db.query(`drop owned by "${owner}", ${reader}, ${writer} cascade`);
  await db.query(`drop role "${owner}", ${reader}, ${writer}`);
  await db.drop();
});

async function ensureOne(table: string, more: Record<string, unknown> = {}): Promise<void> {
  const run = await runEnsure(db, [{ table, key: 'at', interval: 'month', premake: 0, ...more }]);
  expect(run.stderr).not.toContain('hint');
  expect(run.code).toBe(0);
}

/** Facts of the catalog about one table, with its name replaced, so that two can be compared. */
async function factsOf(table: string): Promise<string[]> {
  const own = (await catalogOf(db)).filter((fact) => new RegExp(`^\\w+ \\| ${table}( |$)`).test(fact));
  return own.map((fact) => fact.replaceAll(new RegExp(`\\b${table}(_pkey|\\b)`, 'g'), 'TABLE'));
}

async function one<T extends object>(sql: string, table: string): Promise<T> {
  const [row] = await db.query<T & Record<string, unknown>>(sql, [table]);
  return row!;
}

const aclSql = `
  select pg_get_userbyid(c.relowner) as owner,
         (select array_agg(x::text order by x::text) from unnest(c.relacl) as x) as acl,
         (select array_agg(a.attname || ' ' || x::text order by a.attname, x::text)
            from pg_attribute as a, unnest(a.attacl) as x where a.attrelid = c.oid) as columns
    from pg_class as c where c.oid = $1::regclass`;

describe('a new partition has', () => {
  it("the parent's owner, grants, and grants on columns, with grant option and to everybody", async () => {
    await db.query(`create table granted (id int, at date, secret text) partition by range (at)`);
    await db.query(`alter table granted owner to "${owner}"`);
    await db.query(`grant select, insert on granted to ${writer} with grant option`);
    await db.query(`grant update on granted to ${writer}`);
    await db.query(`grant select (id, at), update (at) on granted to ${reader}`);
    await db.query('grant references on granted to public');
    await ensureOne('granted');
    expect(await one(aclSql, 'granted_y2026m11')).toEqual(await one(aclSql, 'granted'));
  });

  it("the parent's grants, not those of default privileges", async () => {
    await db.query(`alter default privileges grant all on tables to ${writer}`);
    await db.query(`alter default privileges in schema public grant select on tables to public`);
    await db.query('create table plain (at date) partition by range (at)');
    await db.query(`revoke all on plain from ${writer}, public`);
    await db.query(`grant select on plain to ${reader}`);
    await ensureOne('plain');
    const parent = await one<{ acl: string[] }>(aclSql, 'plain');
    expect(await one(aclSql, 'plain_y2026m11')).toEqual(parent);
    expect(parent.acl.join()).not.toContain(writer);
    await db.query(`alter default privileges revoke all on tables from ${writer}`);
    await db.query(`alter default privileges in schema public revoke select on tables from public`);
  });

  it("the parent's row security and policies, also those that look the row up in another table", async () => {
    await db.query('create table members (tenant int, name text)');
    await db.query('create table secured (at date, tenant int, note text) partition by range (at)');
    await db.query('alter table secured enable row level security');
    await db.query('alter table secured force row level security');
    await db.query(`create policy "by ""tenant" on secured as restrictive for select to ${reader}, ${writer}
                      using (tenant = 1 and note <> 'it''s \\ %')`);
    await db.query(`create policy looked_up on secured for all
                      using (exists (select from members where members.tenant = secured.tenant))
                      with check (exists (select from members as m where m.tenant = secured.tenant
                                             and m.name = 'secured.tenant'))`);
    await db.query('create schema secured');
    await db.query('create function secured.allowed(int) returns bool language sql return true');
    await db.query(`create policy calls on secured using (exists
                      (select from members where secured.allowed(secured.tenant) and secured.allowed(members.tenant)))`);
    await ensureOne('secured');
    const policies = (facts: string[]) => facts.filter((fact) => fact.startsWith('policy'));
    const child = policies(await factsOf('secured_y2026m11'));
    expect(child).toHaveLength(3);
    expect(child).toEqual(
      policies(await factsOf('secured')).map((fact) =>
        fact.replace("'TABLE.tenant'", "'secured.tenant'").replaceAll('TABLE.allowed', 'secured.allowed'),
      ),
    );
    expect(
      await one(
        'select relrowsecurity as a, relforcerowsecurity as b from pg_class where oid = $1::regclass',
        'secured_y2026m11',
      ),
    ).toEqual({ a: true, b: true });
  });

  it.each([
    ['full', 'f'],
    ['nothing', 'n'],
    ['default', 'd'],
  ])('replica identity %s', async (identity, letter) => {
    const table = `replicated_${identity}`;
    await db.query(`create table ${table} (id int, at date, primary key (id, at)) partition by range (at)`);
    await db.query(`alter table ${table} replica identity ${identity}`);
    await ensureOne(table);
    expect(
      await one('select relreplident::text as r from pg_class where oid = $1::regclass', `${table}_y2026m11`),
    ).toEqual({ r: letter });
  });

  it('the index of its parent as replica identity, hostile names included', async () => {
    await db.query(`create table "by 'index'" (id int not null, at date not null) partition by range (at)`);
    await db.query(`create unique index "the ""key""; 'x'" on "by 'index'" (id, at)`);
    await db.query(`alter table "by 'index'" replica identity using index "the ""key""; 'x'"`);
    await ensureOne(`public."by 'index'"`);
    const found = await db.query(
      `select x.indisreplident as yes from pg_index as x join pg_class as c on c.oid = x.indrelid
        where c.relname = $1`,
      ["by 'index'_y2026m11"],
    );
    expect(found).toEqual([{ yes: true }]);
  });

  it('statistics targets, storage, compression, comments, defaults, checks, generated and nullable columns', async () => {
    await db.query(`create table columns (
      id bigint generated always as identity, at timestamp, low int default 7, word text compression pglz, twice int generated always as (low * 2) stored, constraint low_positive check (low > 0))
      partition by range (at)`);
    await db.query('alter table columns alter column word set statistics 500');
    await db.query('alter table columns alter column word set storage external');
    await db.query("comment on column columns.word is 'the ''word'''");
    await db.query('create index columns_low on columns (low)');
    await ensureOne('columns');
    const columns = async (table: string) =>
      (await factsOf(table)).filter((fact) => /^(column|constraint)/.test(fact)).sort();
    const identityComes = serverVersion() >= 170_000;
    // Identity is the parent's alone until 17, where it comes with the attach; rows go through the parent anyway.
    const parent = (await columns('columns')).map((fact) =>
      identityComes ? fact : fact.replace('| bigint | t | a |', '| bigint | t |  |'),
    );
    const inherited = (facts: string[]) => facts.map((fact) => fact.replace(/ \| [tf] \| [tf]$/, ''));
    expect(inherited(await columns('columns_y2026m11'))).toEqual(inherited(parent));
    await db.query("insert into columns (at, word) values ('2026-11-30', 'x')");
    expect(await db.query('select id::int, low, twice from columns')).toEqual([{ id: 1, low: 7, twice: 14 }]);
    expect(await db.query("select 1 as n from pg_constraint where conname = 'dbops_bound'")).toEqual([]);
  });

  it('the storage parameters and the access method of its newest sibling, and those configured', async () => {
    await db.query('create access method heap2 type table handler heap_tableam_handler');
    await db.query('create table tuned (at date) partition by range (at)');
    await db.query(`create table tuned_a partition of tuned for values from ('2026-10-01') to ('2026-11-01')
                      using heap2 with (fillfactor = 80, autovacuum_enabled = false)`);
    await ensureOne('tuned', {
      storageParameters: { fillfactor: 90, 'toast.autovacuum_enabled': false },
    });
    const sql = `select c.reloptions, m.amname from pg_class as c join pg_am as m on m.oid = c.relam
                  where c.oid = $1::regclass`;
    expect(await one(sql, 'tuned_y2026m11')).toEqual({
      reloptions: ['fillfactor=90', 'autovacuum_enabled=false'],
      amname: 'heap2',
    });
  });

  it('triggers, indexes, and foreign keys in both directions', async () => {
    await db.query('create table targets (id int primary key)');
    await db.query(
      'create table linked (id int, at date, target int references targets, primary key (id, at)) partition by range (at)',
    );
    await db.query('create table pointing (id int, at date, foreign key (id, at) references linked)');
    await db.query("create function touched() returns trigger language plpgsql as 'begin return new; end'");
    await db.query('create trigger touch before insert on linked for each row execute function touched()');
    await ensureOne('linked');
    await db.query('insert into targets values (1)');
    await db.query("insert into linked values (1, '2026-11-02', 1)");
    await db.query("insert into pointing values (1, '2026-11-02')");
    await expect(db.query("insert into linked values (2, '2026-11-02', 9)")).rejects.toThrow('foreign key');
    await expect(db.query('delete from linked')).rejects.toThrow('foreign key');
    // Not by tgisinternal: until 14 the clone of a trigger counts as internal.
    expect(
      await one(
        "select tgname::text as t from pg_trigger where tgrelid = $1::regclass and tgname = 'touch'",
        'linked_y2026m11',
      ),
    ).toEqual({ t: 'touch' });
  });

  it("its parent's tablespace", async () => {
    const directory = await one<{ d: string }>("select current_setting('data_directory') as d, $1 as x", '');
    const name = `${role}_space`;
    const fs = await import('node:fs');
    const folder = `${directory.d}_${name}`;
    fs.mkdirSync(folder);
    const { uid, gid } = fs.statSync(directory.d);
    fs.chownSync(folder, uid, gid);
    try {
      await db.query(`create tablespace ${name} location '${folder}'`);
      await db.query(`create table spaced (at date) partition by range (at) tablespace ${name}`);
      await ensureOne('spaced');
      expect(
        await one(
          'select s.spcname as n from pg_class as c join pg_tablespace as s on s.oid = c.reltablespace where c.oid = $1::regclass',
          'spaced_y2026m11',
        ),
      ).toEqual({ n: name });
    } finally {
      await db.query('drop table if exists spaced');
      await db.query(`drop tablespace if exists ${name}`);
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });
});
