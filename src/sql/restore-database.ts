import type { Db } from '../pg/connection.ts';
import { relation, type RelationName } from './quote.ts';

export interface DatabaseRow {
  name: string;
  comment: string | null;
  /** Sessions in it, this one left out. */
  sessions: number;
  /** Transactions that were prepared and are neither committed nor rolled back. */
  prepared: number;
  /** Whether this session's role may rename and drop it. */
  isOwn: boolean;
}

/** All databases of the server, templates included. Privilege: none. Locks: none. */
export async function listDatabases(db: Db): Promise<DatabaseRow[]> {
  return await db.query<DatabaseRow>({
    text: `/* dbops:restore-database.list */
      select d.datname as name, pg_catalog.shobj_description(d.oid, 'pg_database') as comment,
             (select pg_catalog.count(*)::int4 from pg_catalog.pg_stat_activity as a
               where a.datid = d.oid and a.pid <> pg_catalog.pg_backend_pid()
                 and a.backend_type = 'client backend') as sessions,
             (select pg_catalog.count(*)::int4 from pg_catalog.pg_prepared_xacts as x
               where x.database = d.datname) as prepared,
             pg_catalog.pg_has_role(d.datdba, 'member') as "isOwn"
        from pg_catalog.pg_database as d
       order by 1`,
  });
}

export interface RestoreServerRow {
  mayCreateDatabases: boolean;
  maintenanceMemoryBytes: number;
  roles: string[];
  tablespaces: string[];
}

/** What a restore has to know of the server. Privilege: none. Locks: none. */
export async function getRestoreServer(db: Db): Promise<RestoreServerRow> {
  const [row] = await db.query<RestoreServerRow>({
    text: `/* dbops:restore-database.server */
      select (select r.rolcreatedb or r.rolsuper from pg_catalog.pg_roles as r
               where r.rolname = current_user) as "mayCreateDatabases",
             pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem'))::float8
               as "maintenanceMemoryBytes",
             array(select r.rolname::text from pg_catalog.pg_roles as r) as roles,
             array(select t.spcname::text from pg_catalog.pg_tablespace as t) as tablespaces`,
  });
  if (row === undefined) throw new Error('the server answered with no row');
  return row;
}

export interface AvailableExtensionRow {
  name: string;
  /** The version that CREATE EXTENSION makes. */
  version: string;
}

/** Which of these extensions can be made on this server. Privilege: none. Locks: none. */
export async function listAvailableExtensions(db: Db, names: string[]): Promise<AvailableExtensionRow[]> {
  return await db.query<AvailableExtensionRow>({
    text: `/* dbops:restore-database.extensions */
      select e.name::text as name, e.default_version as version
        from pg_catalog.pg_available_extensions as e
       where e.name = any ($1::name[])
       order by 1`,
    values: [names],
  });
}

/** The class under which running restores stand in pg_locks.classid: "dbor" in ASCII. */
const runClass = 0x64626f72;

/**
 * Shows others that a run is alive, for as long as this session lives. The key is made of the run's token. Needs a
 * session of its own: not behind transaction pooling.
 */
export async function showRun(db: Db, token: string): Promise<void> {
  await db.query({
    text: `/* dbops:restore-database.show-run */
      select pg_catalog.pg_advisory_lock_shared($1, pg_catalog.hashtext($2))`,
    values: [runClass, token],
  });
}

/** Which of these runs are alive, in whatever database their session is. Privilege: none. Locks: none. */
export async function listLiveRuns(db: Db, tokens: string[]): Promise<string[]> {
  const rows = await db.query<{ token: string }>({
    text: `/* dbops:restore-database.live-runs */
      select t.token from pg_catalog.unnest($2::text[]) as t (token)
       where exists (select from pg_catalog.pg_locks as l
                      where l.locktype = 'advisory' and l.granted and l.objsubid = 2 and l.classid = $1::oid
                        and l.objid = pg_catalog.int8((pg_catalog.hashtext(t.token)::int8 + 4294967296) % 4294967296)::oid)`,
    values: [runClass, tokens],
  });
  return rows.map((row) => row.token);
}

/**
 * Ends the sessions of others in a database. Returns how many there were. Privilege: superuser, or a member of
 * pg_signal_backend where none of them is a superuser's.
 */
export async function endSessions(db: Db, database: string): Promise<number> {
  const rows = await db.query<{ ended: boolean }>({
    text: `/* dbops:restore-database.end-sessions */
      select pg_catalog.pg_terminate_backend(a.pid) as ended
        from pg_catalog.pg_stat_activity as a
       where a.datname = $1 and a.pid <> pg_catalog.pg_backend_pid() and a.backend_type <> 'autovacuum worker'`,
    values: [database],
  });
  return rows.length;
}

/** Whether there is such a table, view or sequence. Privilege: none. Locks: none. */
export async function hasRelation(db: Db, name: RelationName): Promise<boolean> {
  const [row] = await db.query<{ there: boolean }>({
    text: `/* dbops:restore-database.has */ select pg_catalog.to_regclass($1) is not null as there`,
    values: [relation(name)],
  });
  return row?.there === true;
}

/** Where a sequence stands. Privilege: SELECT on it. Locks: ACCESS SHARE. */
export async function findSequenceState(
  db: Db,
  sequence: RelationName,
): Promise<{ lastValue: string; isCalled: boolean } | undefined> {
  const [row] = await db.query<{ lastValue: string; isCalled: boolean }>({
    text: `/* dbops:restore-database.sequence-state */
      select s.last_value::text as "lastValue", s.is_called as "isCalled" from ${relation(sequence)} as s`,
  });
  return row;
}

export interface CollationVersionRow extends RelationName {
  /** Of the library of this host; null where it does not say. */
  version: string | null;
}

/** The versions of the collations of a restored database, as their library has them. Privilege: none. Locks: none. */
export async function listCollationVersions(db: Db): Promise<CollationVersionRow[]> {
  return await db.query<CollationVersionRow>({
    text: `/* dbops:restore-database.collations */
      select n.nspname as schema, c.collname as name, pg_catalog.pg_collation_actual_version(c.oid) as version
        from pg_catalog.pg_collation as c
        join pg_catalog.pg_namespace as n on n.oid = c.collnamespace
       order by 1, 2`,
  });
}
