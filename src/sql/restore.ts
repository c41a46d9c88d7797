import type { Db } from '../pg/connection.ts';
import { relation, type RelationName } from './quote.ts';

export interface RoleRow {
  name: string;
  /** Whether this session may give an object to it. */
  mayOwn: boolean;
}

/** Which of these roles there are. Privilege: none. Locks: none. */
export async function listRoles(db: Db, names: string[]): Promise<RoleRow[]> {
  return await db.query<RoleRow>({
    text: `/* dbops:restore.roles */
      select r.rolname as name, pg_catalog.pg_has_role(r.oid, 'member') as "mayOwn"
        from pg_catalog.pg_roles as r
       where r.rolname = any ($1::name[])
       order by 1`,
    values: [names],
  });
}

/** Whether a schema is there, and whether this session may make tables in it. Privilege: none. Locks: none. */
export async function findSchema(db: Db, name: string): Promise<{ mayCreate: boolean } | undefined> {
  const [row] = await db.query<{ mayCreate: boolean }>({
    text: `/* dbops:restore.schema */
      select pg_catalog.has_schema_privilege(n.oid, 'create') as "mayCreate"
        from pg_catalog.pg_namespace as n
       where n.nspname = $1`,
    values: [name],
  });
  return row;
}

/** The exact number of rows. Reads the whole table. Privilege: SELECT. Locks: ACCESS SHARE. */
export async function countRows(db: Db, table: RelationName): Promise<bigint> {
  const [row] = await db.query<{ rows: bigint }>({
    text: `/* dbops:restore.count */ select pg_catalog.count(*) as rows from only ${relation(table)}`,
  });
  return row?.rows ?? 0n;
}

export interface DataDirectoryRow {
  path: string;
  modifiedAt: Date;
}

/**
 * Where the server keeps its data, with the time of its last change, by which a caller on the same host can tell that
 * what it sees under this path is that directory. Undefined for a role that may not know. Privilege: superuser, or both
 * pg_read_all_settings and EXECUTE on pg_stat_file. Locks: none.
 */
export async function findDataDirectory(db: Db): Promise<DataDirectoryRow | undefined> {
  const [may] = await db.query<{ may: boolean }>({
    text: `/* dbops:restore.may-see-directory */
      select pg_catalog.pg_has_role('pg_read_all_settings', 'usage')
             and pg_catalog.has_function_privilege('pg_catalog.pg_stat_file(text)', 'execute') as may`,
  });
  if (may?.may !== true) return undefined;
  const [row] = await db.query<DataDirectoryRow>({
    text: `/* dbops:restore.directory */
      select pg_catalog.current_setting('data_directory') as path,
             (pg_catalog.pg_stat_file('.')).modification as "modifiedAt"`,
  });
  return row;
}

/** The table's heap in blocks, for reading it in ranges. Privilege: none. Locks: ACCESS SHARE for an instant. */
export async function countBlocks(db: Db, oid: number): Promise<number> {
  const [row] = await db.query<{ blocks: number }>({
    text: `/* dbops:restore.blocks */
      select (pg_catalog.pg_relation_size($1::oid) / pg_catalog.current_setting('block_size')::int8)::float8 as blocks`,
    values: [oid],
  });
  return row?.blocks ?? 0;
}

/**
 * What is to be analyzed one by one to have it done for a whole database, as SQL names it: the largest first, a partitioned
 * table for its partitions. Privilege: none; what this role may not analyze is left out by ANALYZE. Locks: none.
 */
export async function listToAnalyze(db: Db): Promise<string[]> {
  const rows = await db.query<RelationName>({
    text: `/* dbops:restore.to-analyze */
      select n.nspname as schema, c.relname as name
        from pg_catalog.pg_class as c
             join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where c.relkind in ('r', 'm', 'p') and not c.relispartition and c.relpersistence <> 't'
       order by c.relkind = 'p' desc, c.relpages desc, c.oid`,
  });
  return rows.map((row) => relation(row));
}

/**
 * Gathers the statistics of what was just loaded. Autovacuum is often there already, and gives way only after
 * deadlock_timeout; nobody else knows of what has not its own name yet, so waiting stalls nobody. Throws lock_timeout after
 * a minute. Lock: SHARE UPDATE EXCLUSIVE on the table, for as long as it is read.
 */
export async function analyzeRestored(db: Db, table: string): Promise<void> {
  await db.execute("/* dbops:restore.wait */ set lock_timeout = '60s'");
  try {
    await db.execute(`/* dbops:restore.analyze */ analyze ${table}`);
  } finally {
    await db.resetTimeouts();
  }
}
