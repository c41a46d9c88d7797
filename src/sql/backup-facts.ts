import type { Db } from '../pg/connection.ts';
import { pinStatements } from './export.ts';
import { literal, relation, type RelationName } from './quote.ts';
import { memberOfExtension, userSchemas } from './backup-tables.ts';

export interface DumpSnapshotRow {
  id: string;
  /** Null on a standby. */
  lsn: string | null;
  at: Date;
}

/**
 * Begins the transaction whose snapshot a dump shares; the caller ends it after the dump. Settings that change how rows are
 * read as text are pinned, lock_timeout is short. Privilege: none. Locks: none.
 */
export async function beginDumpSnapshot(db: Db): Promise<DumpSnapshotRow> {
  await db.execute('begin isolation level repeatable read, read only');
  await pinForReading(db);
  const [row] = await db.query<DumpSnapshotRow>({
    text: `/* dbops:backup-facts.snapshot */
      select pg_catalog.pg_export_snapshot() as id,
             case when not pg_catalog.pg_is_in_recovery() then pg_catalog.pg_current_wal_insert_lsn()::text end as lsn,
             pg_catalog.clock_timestamp() as at`,
  });
  if (row === undefined) throw new Error('the server gave no snapshot');
  return row;
}

/** Begins a transaction of a further session that reads what the dump reads. Privilege: none. Locks: none. */
export async function joinDumpSnapshot(db: Db, snapshotId: string): Promise<void> {
  await db.execute('begin isolation level repeatable read, read only');
  await db.execute(`set transaction snapshot ${literal(snapshotId)}`);
  await pinForReading(db);
}

/** Whoever waits for ACCESS EXCLUSIVE waits for the dump, and ours would wait behind him. */
async function pinForReading(db: Db): Promise<void> {
  for (const statement of pinStatements()) await db.execute(statement);
  await db.execute("set lock_timeout = '5s'");
}

/**
 * Counts the rows of a table, those of its children left out. Reads the whole table. Needs pinned settings where what it
 * reads is compared. Privilege: SELECT. Locks: ACCESS SHARE.
 */
export async function countTable(db: Db, table: RelationName): Promise<bigint> {
  const [row] = await db.query<{ rows: bigint }>({
    text: `/* dbops:backup-facts.count */ select pg_catalog.count(*) as rows from only ${relation(table)}`,
  });
  return BigInt(row?.rows ?? 0);
}

/**
 * Counts the rows of a table and sums the hashes of their text, which says whether two tables hold the same rows in
 * whatever order. Two sessions get the same sum only with the settings of pinStatements(). Reads the whole table.
 * Privilege: SELECT. Locks: ACCESS SHARE.
 */
export async function hashTable(db: Db, table: RelationName): Promise<{ rows: bigint; hash: string }> {
  // The name of the alias is none that a column has: a column would be read instead of the row.
  const [row] = await db.query<{ rows: bigint; hash: string }>({
    text: `/* dbops:backup-facts.hash */
      select pg_catalog.count(*) as rows,
             coalesce(pg_catalog.sum(pg_catalog.hashtextextended("dbops row"::text, 0)), 0)::text as hash
        from only ${relation(table)} as "dbops row"`,
  });
  return { rows: BigInt(row?.rows ?? 0), hash: row?.hash ?? '0' };
}

export interface DumpSequenceRow {
  oid: number;
  schema: string;
  name: string;
  /** As pg_dump writes it in setval(). */
  literal: string;
}

/** Sequences of the database, those of extensions and of temporary tables left out. Privilege: none. Locks: none. */
export async function listDumpSequences(db: Db): Promise<DumpSequenceRow[]> {
  return await db.query<DumpSequenceRow>({
    text: `/* dbops:backup-facts.sequences */
      select c.oid::int8::float8 as oid, n.nspname as schema, c.relname as name,
             pg_catalog.quote_literal(pg_catalog.format('%I.%I', n.nspname, c.relname)) as literal
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where c.relkind = 'S' and ${userSchemas} and not ${memberOfExtension}
       order by 2, 3`,
  });
}

/** Installed extensions with their versions; plpgsql too. Privilege: none. Locks: none. */
export async function listInstalledExtensions(
  db: Db,
): Promise<{ name: string; version: string; schema: string }[]> {
  return await db.query({
    text: `/* dbops:backup-facts.extensions */
      select e.extname as name, e.extversion as version, n.nspname as schema
        from pg_catalog.pg_extension as e
        join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
       order by 1`,
  });
}

/**
 * Roles that own something in this database, are granted something in it, or own the database itself. pg_shdepend does not
 * know the role of initdb, which is everywhere. Privilege: none. Locks: none.
 */
export async function listDumpRoles(db: Db): Promise<string[]> {
  const rows = await db.query<{ name: string }>({
    text: `/* dbops:backup-facts.roles */
      select r.rolname as name
        from pg_catalog.pg_roles as r
       where r.oid in (
               select s.refobjid from pg_catalog.pg_shdepend as s
                where s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass and s.deptype in ('o', 'a', 'r')
                  and s.dbid = (select d.oid from pg_catalog.pg_database as d
                                 where d.datname = pg_catalog.current_database())
               union all
               select d.datdba from pg_catalog.pg_database as d where d.datname = pg_catalog.current_database())
       order by 1`,
  });
  return rows.map((row) => row.name);
}

/** How many large objects there are. Privilege: none. Locks: ACCESS SHARE on a catalog. */
export async function countLargeObjects(db: Db): Promise<number> {
  const [row] = await db.query<{ objects: number }>({
    text: `/* dbops:backup-facts.large-objects */
      select pg_catalog.count(*)::float8 as objects from pg_catalog.pg_largeobject_metadata`,
  });
  return row?.objects ?? 0;
}

/**
 * Collations on which the order of stored text depends, with the version of the library when they were made: those of
 * columns and indexes, the database's own as "default". PostgreSQL 14 and later; the database's version from 15 on.
 * Privilege: none. Locks: none.
 */
export async function listUsedCollations(
  db: Db,
): Promise<{ schema: string; name: string; provider: string; version: string | null }[]> {
  return await db.query({
    text: `/* dbops:backup-facts.collations */
      with provider(letter, name) as (values ('c', 'libc'), ('i', 'icu'), ('b', 'builtin')),
           used(oid) as (
             select a.attcollation from pg_catalog.pg_attribute as a
               join pg_catalog.pg_class as c on c.oid = a.attrelid
               join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
              where ${userSchemas} and not a.attisdropped
              union
             select l.oid from pg_catalog.pg_collation as l where l.oid >= 16384)
      select n.nspname as schema, l.collname as name, p.name as provider, l.collversion as version
        from used as u
        join pg_catalog.pg_collation as l on l.oid = u.oid and l.collprovider <> 'd'
        join pg_catalog.pg_namespace as n on n.oid = l.collnamespace
        join provider as p on p.letter = l.collprovider
       union all
      select 'pg_catalog', 'default', p.name, x.j ->> 'datcollversion'
        from pg_catalog.pg_database as d
       cross join lateral (select pg_catalog.to_jsonb(d) as j) as x
        join provider as p on p.letter = coalesce(x.j ->> 'datlocprovider', 'c')
       where d.datname = pg_catalog.current_database()
       order by 1, 2`,
  });
}

/** What CREATE DATABASE and ALTER DATABASE ... SET made of this database. */
export interface DatabaseSettingsRow {
  encoding: string;
  collate: string;
  ctype: string;
  localeProvider: string;
  settings: string[];
}

/** Encoding, locale and settings of the database, for all its roles. PostgreSQL 14 and later. Privilege: none. Locks: none. */
export async function getDatabaseSettings(db: Db): Promise<DatabaseSettingsRow> {
  const [row] = await db.query<DatabaseSettingsRow>({
    text: `/* dbops:backup-facts.database */
      select pg_catalog.pg_encoding_to_char(d.encoding)::text as encoding, d.datcollate::text as "collate",
             d.datctype::text as ctype,
             case coalesce(x.j ->> 'datlocprovider', 'c') when 'i' then 'icu' when 'b' then 'builtin' else 'libc' end
               as "localeProvider",
             coalesce((select s.setconfig from pg_catalog.pg_db_role_setting as s
                        where s.setdatabase = d.oid and s.setrole = 0), '{}') as settings
        from pg_catalog.pg_database as d
       cross join lateral (select pg_catalog.to_jsonb(d) as j) as x
       where d.datname = pg_catalog.current_database()`,
  });
  if (row === undefined) throw new Error('the database has no row in pg_database');
  return row;
}
