// Whole databases from their backups: every kind, compared by pg_dump and by the figures of the manifest.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { databaseUrl, openSession } from '../../support/database.ts';
import {
  createRestoreSite,
  dumpOf,
  editManifest,
  manifestOf,
  whyNoDumps,
  type RestoreSite,
} from '../../support/restores.ts';

const reason = await whyNoDumps();
let site: RestoreSite;
let backups: { directory: string; custom: string; plain: string };
let original: string[];

beforeAll(async () => {
  if (reason !== undefined) return;
  site = await createRestoreSite();
  backups = {
    directory: await site.backup('--kind', 'logical'),
    custom: await site.backup('--kind', 'logical', '--stream'),
    plain: await site.backup('--kind', 'schema'),
  };
  original = await dumpOf(site, 'shop');
});
beforeEach((context) => context.skip(reason !== undefined, reason));

const databaseFacts = `
  select pg_get_userbyid(d.datdba) as owner, pg_encoding_to_char(d.encoding) as encoding, d.datcollate, d.datctype,
         (select array_agg(a::text order by a::text) from unnest(d.datacl) as a) as grants, shobj_description(d.oid, 'pg_database') as comment,
         (select array_agg(coalesce(r.rolname, '') || s.setconfig::text order by 1)
            from pg_db_role_setting as s left join pg_roles as r on r.oid = s.setrole
           where s.setdatabase = d.oid) as settings
    from pg_database as d where d.datname = current_database()`;

/** Everything but "shop" goes. */
afterEach(async () => {
  if (reason !== undefined) return;
  for (const name of await site.databases())
    if (name !== 'shop')
      await site.on('postgres').query(`drop database "${name.replaceAll('"', '""')}" with (force)`);
});

describe.each(['directory', 'custom'] as const)('a dump in %s format', (format) => {
  it('is restored whole, under a name of its own', async () => {
    const id = backups[format];
    const result = await site.json<{ database: string; kept: null; tables: number; rows: number }>([
      ...['restore', 'database', id, '--yes', '--verify', 'hash'],
    ]);
    const { tables } = manifestOf(site, id).logical!;
    expect(result).toMatchObject({
      database: `shop_restored_${id.slice(0, 15).toLowerCase()}`,
      kept: null,
      tables: tables.length,
      rows: tables.reduce((sum, table) => sum + (table.rows ?? 0), 0),
    });
    expect(result.rows).toBeGreaterThan(3900);
    expect(await dumpOf(site, result.database)).toEqual(original);
    expect(await site.on(result.database).query(databaseFacts)).toEqual(
      await site.on('shop').query(databaseFacts),
    );
    expect(site.remains()).toEqual([]);
  });
});

it('restores the objects alone of a schema backup', async () => {
  const result = await site.json<{ database: string }>([
    ...['restore', 'database', backups.plain, '--into', 'just "objects"', '--yes'],
  ]);
  expect(result.database).toBe('just "objects"');
  expect(await dumpOf(site, 'just "objects"', '-s')).toEqual(await dumpOf(site, 'shop', '-s'));
});

it('lists what is in a backup without a server', async () => {
  for (const id of [backups.directory, backups.custom]) {
    const { code, stdout, stderr } = await site.run(['restore', 'database', id, '--list'], {
      DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none',
    });
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^\d+; 1259 \d+ TABLE sales orders shop_owner$/m);
  }
});

it('puts a database in the place of the old one, which is kept, and lets nobody stop it', async () => {
  await site.on('postgres').query('create database lost');
  const session = await openSession(databaseUrl(site.server.url, 'lost'));
  await session.query('create table precious (id int)');
  const result = await site.json<{ kept: string }>([
    ...['restore', 'database', backups.directory, '--confirm', 'lost', '--yes'],
  ]);
  expect(result.kept).toBe(`lost_before_${backups.directory.slice(0, 15).toLowerCase()}`);
  await expect(session.query('select 1')).rejects.toThrow();
  expect(await dumpOf(site, 'lost')).toEqual(original);
  expect(await site.on(result.kept).query("select to_regclass('precious')::text as found")).toEqual([
    { found: 'precious' },
  ]);
  // Once more: nothing that was kept is ever in the way, or lost.
  const again = await site.json<{ kept: string }>([
    ...['restore', 'database', backups.custom, '--confirm', 'lost', '--yes'],
  ]);
  expect(await site.databases()).toEqual(['lost', result.kept, again.kept, 'shop'].sort());
});

it('brings back a database that is gone, over a URL that names it', async () => {
  await site.on('postgres').query('alter database shop rename to elsewhere');
  try {
    await site.json(['restore', 'database', backups.directory, '--into', 'shop', '--yes']);
    expect(await dumpOf(site, 'shop')).toEqual(original);
    await site.on('postgres').query('drop database shop with (force)');
  } finally {
    await site.on('postgres').query('alter database elsewhere rename to shop');
  }
});

it('prints what it would do, and does nothing', async () => {
  const { code, stdout } = await site.run([
    ...['restore', 'database', backups.directory, '--confirm', 'shop', '--dry-run'],
  ]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^alter database shop rename to shop_before_\w+;$/m);
  expect(stdout).toMatch(/pg_restore -j 2 -d dbops_restoring_[0-9a-f]{12} dump$/m);
  expect(await site.databases()).toEqual(['shop']);
});

describe('refuses, with nothing changed,', () => {
  const cases: [string, () => string[], number, RegExp][] = [
    ['without a yes', () => [backups.directory], 4, /needs a yes/],
    [
      'a name that is taken',
      () => [backups.directory, '--into', 'shop', '--yes'],
      4,
      /"shop" is there already/,
    ],
    [
      'a confirmation of another database',
      () => [backups.directory, '--into', 'shop', '--confirm', 'shops', '--yes'],
      2,
      /--confirm is "shops"/,
    ],
    [
      'a word that is no level',
      () => [backups.directory, '--verify', 'all', '--yes'],
      2,
      /--verify is counts/,
    ],
    ['an id that there is not', () => ['20200101', '--yes'], 2, /20200101/],
  ];
  it.each(cases)('%s', async (_, args, exit, message) => {
    const { code, stderr } = await site.run(['restore', 'database', ...args()]);
    expect(stderr).toMatch(message);
    expect(code).toBe(exit);
    expect(await site.databases()).toEqual(['shop']);
    expect(site.remains()).toEqual([]);
  });

  it('a server that is older than the dump', async () => {
    const id = await site.backup('--kind', 'schema');
    editManifest(site, id, (manifest) => (manifest.server.versionNum = 990_001));
    const { code, stderr } = await site.run(['restore', 'database', id, '--yes']);
    expect(stderr).toMatch(/the server is PostgreSQL \S.*, which is older/);
    expect(code).toBe(4);
    expect(await site.databases()).toEqual(['shop']);
  });

  it('extensions that the server does not have, unless it is told to go on', async () => {
    const id = await site.backup('--kind', 'schema');
    editManifest(site, id, (_, { extensions }) => (extensions[0]!.name = 'no_such'));
    const refused = await site.run(['restore', 'database', id, '--into', 'copy', '--yes']);
    expect(refused.stderr).toContain('extensions that the database uses: no_such');
    expect(refused.code).toBe(4);
    expect(await site.databases()).toEqual(['shop']);
    const partial = await site.run(['restore', 'database', id, '--into', 'copy', '--yes', '--partial']);
    expect(partial.stderr).toContain('left out, with all that needs them: extensions no_such');
    expect(partial.code, partial.stderr).toBe(0);
  });

  it('tablespaces that are missing, unless it is told to go on', async () => {
    const folder = fs.mkdtempSync(path.join(site.server.dir, 'space-'));
    execFileSync('chown', ['--reference', site.server.dataDir, folder]);
    await site.on('postgres').query(`create tablespace fast location '${folder}'`);
    await site.on('shop').query('create table public.quick (id int) tablespace fast');
    const id = await site.backup('--kind', 'logical');
    await site.on('shop').query('drop table public.quick');
    await site.on('postgres').query('drop tablespace fast');
    const refused = await site.run(['restore', 'database', id, '--into', 'copy', '--yes']);
    expect(refused.stderr).toContain('tablespaces of the database are missing here: "fast"');
    expect(refused.code).toBe(4);
    expect(await site.databases()).toEqual(['shop']);
    const partial = await site.run(['restore', 'database', id, '--into', 'copy', '--yes', '--partial']);
    expect(partial.code, partial.stderr).toBe(0);
  });
});

describe('roles', () => {
  it('that are missing are made as they were, and others are left alone', async () => {
    const server = site.on('postgres');
    const facts = `select r.rolname, r.rolcanlogin, r.rolpassword,
        (select array_agg(m.roleid::regrole::text) from pg_auth_members as m where m.member = r.oid) as parents
      from pg_authid as r where r.rolname like 'shop%' order by 1`;
    const before = await server.query(facts);
    await site.on('shop').query('reassign owned by shop_owner to current_user; drop owned by shop_reader');
    const [own] = await server.query<{ user: string }>('select current_user as user');
    await server.query(`alter database shop owner to "${own!.user}"; alter role shop_reader in database shop reset all;
      revoke all on database shop from shop_reader`);
    await server.query('drop role shop_reader; drop role shop_owner');
    await server.query("create role shop_other login password 'mine'");
    const { roles, database } = await site.json<{ roles: string[]; database: string }>([
      ...['restore', 'database', backups.directory, '--yes'],
    ]);
    expect(roles.sort()).toEqual(['shop_owner', 'shop_reader']);
    await server.query('drop role shop_other');
    expect(await server.query(facts)).toEqual(before);
    expect(await dumpOf(site, database)).toEqual(original);
    // As it was, for the tests that follow.
    await server.query('drop database shop with (force)');
    await server.query(`alter database ${database} rename to shop`);
  });

  it('that no backup can make are counted as errors when it goes on, and never a success', async () => {
    await site.on('postgres').query('create role passing');
    await site
      .on('shop')
      .query('create table public.owned (id int); alter table public.owned owner to passing');
    const id = await site.backup('--kind', 'logical');
    await site.on('shop').query('drop table public.owned');
    await site.on('postgres').query('drop role passing');
    editManifest(site, id, (_, logical) => (logical.globals = null));
    const refused = await site.run(['restore', 'database', id, '--into', 'copy', '--yes']);
    expect(refused.stderr).toContain('roles are missing here, and the backup cannot make them: "passing"');
    expect(refused.code).toBe(4);

    const partial = await site.run(['restore', 'database', id, '--confirm', 'shop', '--partial', '--yes']);
    expect(partial.code).toBe(5);
    expect(partial.stderr).toContain('database "shop" was not touched');
    expect(partial.stderr).toContain('the server refused 1 statements:');
    expect(partial.stderr).toContain(
      'role "passing" does not exist: ALTER TABLE public.owned OWNER TO passing',
    );
    const aside = `shop_restored_${id.slice(0, 15).toLowerCase()}`;
    expect(partial.stderr).toContain(`in database "${aside}"`);
    expect(await site.databases()).toEqual(['shop', aside]);
  });
});

it('finds rows that are not those of the backup, and does not put them in place', async () => {
  const id = await site.backup('--kind', 'logical');
  editManifest(site, id, (_, logical) => {
    logical.tables.find((table) => table.name === 'orders')!.rows! += 1;
    logical.tables.find((table) => table.name === 'items')!.hash = '12345';
    logical.sequences.find((sequence) => sequence.name === 'number')!.lastValue = '999';
    logical.largeObjects += 1;
  });
  const { code, stderr } = await site.run([
    ...['restore', 'database', id, '--confirm', 'shop', '--verify', 'hash', '--yes'],
  ]);
  expect(code).toBe(5);
  expect(stderr).toContain('sales.orders has 3000 rows, and the backup has 3001');
  expect(stderr).toContain('the rows of sales.items are not those of the backup');
  expect(stderr).toContain('sequence sales.number stands at 105, and in the backup at 999');
  expect(stderr).toContain('there are 2 large objects, and 3 in the backup');
  expect(await site.databases()).toHaveLength(2);
  const unread = await site.run([
    ...['restore', 'database', id, '--into', 'copy', '--verify', 'none', '--yes'],
  ]);
  expect(unread.code, unread.stderr).toBe(0);
});

it('keeps secrets to itself', async () => {
  const { stderr, stdout, code } = await site.run([
    ...['restore', 'database', backups.directory, '--into', 'copy', '--yes', '-v'],
  ]);
  expect(code, stderr).toBe(0);
  expect(stderr + stdout).not.toMatch(/SCRAM-SHA|sesame|md5[0-9a-f]{32}/);
});
