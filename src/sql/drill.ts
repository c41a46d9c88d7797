import type { Db } from '../pg/connection.ts';
import { ident } from './quote.ts';

/** Where a server keeps its data. */
export interface SourcePathsRow {
  /** Null where the role may not read the setting. */
  dataDirectory: string | null;
  tablespaces: string[];
}

/**
 * The directories of a server, which nothing may be restored into. Privilege: pg_read_all_settings for the data directory.
 * Locks: none.
 */
export async function getSourcePaths(db: Db): Promise<SourcePathsRow> {
  const [row] = await db.query<SourcePathsRow>({
    text: `/* dbops:drill.source-paths */
      select (select s.setting from pg_catalog.pg_settings as s where s.name = 'data_directory') as "dataDirectory",
             array(select pg_catalog.pg_tablespace_location(t.oid) from pg_catalog.pg_tablespace as t
                    where pg_catalog.pg_tablespace_location(t.oid) <> '') as tablespaces`,
  });
  return row ?? { dataDirectory: null, tablespaces: [] };
}

/** Leaves the mark of a drill before or after its recovery target. Privilege: INSERT. Locks: ROW EXCLUSIVE on the marks. */
export async function insertDrillMark(
  db: Db,
  schema: string,
  drill: string,
  isAfter: boolean,
): Promise<void> {
  await db.query({
    text: `/* dbops:drill.mark */ insert into ${ident(schema)}.drill_mark (drill, is_after) values ($1, $2)`,
    values: [drill, isAfter],
  });
}

/** Takes away the marks of a drill, and those that killed drills left a day ago. Privilege: DELETE. */
export async function deleteDrillMarks(db: Db, schema: string, drill: string): Promise<void> {
  await db.query({
    text: `/* dbops:drill.delete-marks */
      delete from ${ident(schema)}.drill_mark as m
       where m.drill = $1 or m.at < pg_catalog.clock_timestamp() - interval '1 day'`,
    values: [drill],
  });
}

/** Which marks of a drill are there; undefined where there is no table of marks. Privilege: SELECT. Locks: ACCESS SHARE. */
export async function findDrillMarks(
  db: Db,
  schema: string,
  drill: string,
): Promise<{ before: boolean; after: boolean } | undefined> {
  const table = `${ident(schema)}.drill_mark`;
  const [there] = await db.query<{ found: boolean }>({
    text: '/* dbops:drill.has-marks */ select pg_catalog.to_regclass($1) is not null as found',
    values: [table],
  });
  if (there?.found !== true) return undefined;
  const [row] = await db.query<{ before: boolean; after: boolean }>({
    text: `/* dbops:drill.marks */
      select coalesce(pg_catalog.bool_or(not m.is_after), false) as before,
             coalesce(pg_catalog.bool_or(m.is_after), false) as after
        from ${table} as m where m.drill = $1`,
    values: [drill],
  });
  return row;
}

/** Names the present position of the WAL. Privilege: superuser, or EXECUTE on pg_create_restore_point(). */
export async function createRestorePoint(db: Db, name: string): Promise<string> {
  const [row] = await db.query<{ lsn: string }>({
    text: '/* dbops:drill.restore-point */ select pg_catalog.pg_create_restore_point($1)::text as lsn',
    values: [name],
  });
  return row?.lsn ?? '';
}

/** The segment that is written now. Privilege: none. PostgreSQL 14 and later; not on a standby. */
export async function getCurrentSegment(db: Db): Promise<string> {
  const [row] = await db.query<{ segment: string }>({
    text: `/* dbops:drill.segment */
      select pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) as segment`,
  });
  return row?.segment ?? '';
}

/** Ends the segment that is written now, so that it is archived. Privilege: superuser, or EXECUTE on pg_switch_wal(). */
export async function switchWal(db: Db): Promise<void> {
  await db.query({ text: '/* dbops:drill.switch-wal */ select pg_catalog.pg_switch_wal()::text as lsn' });
}

/** Says in the ledger how the last drill of a backup ended. Privilege: UPDATE. */
export async function recordDrill(
  db: Db,
  schema: string,
  backup: string,
  drill: { at: Date; passed: boolean },
): Promise<void> {
  await db.query({
    text: `/* dbops:drill.record */
      update ${ident(schema)}.backup
         set drilled_at = $2, drill_passed = $3, changed_at = pg_catalog.clock_timestamp()
       where id = $1`,
    values: [backup, drill.at, drill.passed],
  });
}

/** Databases that take connections, templates included. Privilege: none. Locks: none. */
export async function listOpenDatabases(db: Db): Promise<string[]> {
  const rows = await db.query<{ name: string }>({
    text: `/* dbops:drill.databases */
      select d.datname as name from pg_catalog.pg_database as d where d.datallowconn order by 1`,
  });
  return rows.map((row) => row.name);
}

/** A superuser who may log in, the first of the cluster before others; undefined where there is none. Privilege: none. */
export async function findSuperuser(db: Db): Promise<string | undefined> {
  const [row] = await db.query<{ name: string }>({
    text: `/* dbops:drill.superuser */
      select r.rolname as name from pg_catalog.pg_roles as r
       where r.rolsuper and r.rolcanlogin order by r.oid limit 1`,
  });
  return row?.name;
}

/** Which of these roles are not there. Privilege: none. Locks: none. */
export async function listMissingRoles(db: Db, names: string[]): Promise<string[]> {
  const rows = await db.query<{ name: string }>({
    text: `/* dbops:drill.missing-roles */
      select w.name from pg_catalog.unnest($1::text[]) as w(name)
       where not exists (select from pg_catalog.pg_roles as r where r.rolname = w.name) order by 1`,
    values: [names],
  });
  return rows.map((row) => row.name);
}

/** Installed extensions whose version has no files on this host. Privilege: none. Locks: none. */
export async function listUnavailableExtensions(db: Db): Promise<{ name: string; version: string }[]> {
  return await db.query({
    text: `/* dbops:drill.unavailable-extensions */
      select e.extname as name, e.extversion as version
        from pg_catalog.pg_extension as e
       where not exists (select from pg_catalog.pg_available_extension_versions as v
                          where v.name = e.extname and v.version = e.extversion)
       order by 1`,
  });
}

/** Whether an extension could be made here. Privilege: none. Locks: none. */
export async function isExtensionAvailable(db: Db, name: string): Promise<boolean> {
  const [row] = await db.query<{ found: boolean }>({
    text: `/* dbops:drill.extension */
      select exists (select from pg_catalog.pg_available_extensions as a where a.name = $1) as found`,
    values: [name],
  });
  return row?.found === true;
}

/** A collation whose text was sorted by another version of its library than the one of this host. */
export interface CollationDifferenceRow {
  /** schema.name, or "default" for that of the database. */
  name: string;
  recorded: string;
  here: string | null;
}

/**
 * Collations of a database, its own default included, that this host sorts otherwise than the catalog says. PostgreSQL 14
 * and later; the default of the database from 15 on. Privilege: none. Locks: none.
 */
export async function listCollationDifferences(db: Db): Promise<CollationDifferenceRow[]> {
  // The column and the function came with 15: an older server must not even read their names.
  const ofDatabase =
    db.server.versionNum < 150_000
      ? ''
      : `union all
         select 'default', d.datcollversion, pg_catalog.pg_database_collation_actual_version(d.oid)
           from pg_catalog.pg_database as d where d.datname = pg_catalog.current_database()`;
  return await db.query<CollationDifferenceRow>({
    text: `/* dbops:drill.collations */
      select x.name, x.recorded, x.here
        from (select n.nspname || '.' || c.collname as name, c.collversion as recorded,
                     pg_catalog.pg_collation_actual_version(c.oid) as here
                from pg_catalog.pg_collation as c
                join pg_catalog.pg_namespace as n on n.oid = c.collnamespace
               where c.collprovider <> 'd'
              ${ofDatabase}) as x
       where x.recorded is not null and x.recorded is distinct from x.here
       order by 1`,
  });
}

/** After how many seconds a segment is ended that is not full; 0: never. Privilege: none. Locks: none. */
export async function getArchiveTimeout(db: Db): Promise<number> {
  const [row] = await db.query<{ seconds: number }>({
    text: `/* dbops:drill.archive-timeout */
      select s.setting::int4 as seconds from pg_catalog.pg_settings as s where s.name = 'archive_timeout'`,
  });
  return row?.seconds ?? 0;
}

/** The segment that was archived last, by archive_command; null: none was. Privilege: none. Locks: none. */
export async function getLastArchived(db: Db): Promise<string | null> {
  const [row] = await db.query<{ segment: string | null }>({
    text: `/* dbops:drill.last-archived */
      select case when a.last_archived_wal ~ '^[0-9A-F]{24}$' then a.last_archived_wal end as segment
        from pg_catalog.pg_stat_archiver as a`,
  });
  return row?.segment ?? null;
}
