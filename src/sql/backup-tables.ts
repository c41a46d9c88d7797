import type { Db } from '../pg/connection.ts';

/** Of `n`: what people make, without the tables of other sessions. */
export const userSchemas = `n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_(toast|temp_)'`;

/** Of `c`: an extension brings it along, and a dump holds CREATE EXTENSION instead. */
export const memberOfExtension = `exists (select from pg_catalog.pg_depend as x
                            where x.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and x.objid = c.oid
                              and x.deptype = 'e')`;

/** A table as a dump has it. */
export interface DumpTableRow {
  oid: number;
  schema: string;
  name: string;
  /** r, p, or f for a foreign table. */
  kind: string;
  isPartition: boolean;
  /** Heap and TOAST by the last VACUUM or ANALYZE: no lock is needed to know it. */
  estimatedBytes: number;
}

/**
 * Tables of the database, foreign and partitioned ones among them, those of extensions left out. Privilege: none.
 * Locks: none.
 */
export async function listDumpTables(db: Db): Promise<DumpTableRow[]> {
  return await db.query<DumpTableRow>({
    text: `/* dbops:backup-tables.list */
      select c.oid::int8::float8 as oid, n.nspname as schema, c.relname as name, c.relkind::text as kind,
             c.relispartition as "isPartition",
             -- -1 for a partitioned table that was analyzed
             ((greatest(c.relpages, 0) + coalesce(t.relpages, 0))::float8
               * pg_catalog.current_setting('block_size')::float8) as "estimatedBytes"
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        left join pg_catalog.pg_class as t on t.oid = c.reltoastrelid
       where c.relkind in ('r', 'p', 'f') and ${userSchemas} and not ${memberOfExtension}
       order by 2, 3`,
  });
}

/**
 * Sizes of tables in bytes, heap and TOAST; none for what another session has just dropped. Privilege: none. Locks: ACCESS
 * SHARE for an instant, which waits for nobody longer than lock_timeout.
 */
export async function listTableSizes(
  db: Db,
  oids: number[],
): Promise<{ oid: number; sizeBytes: number | null }[]> {
  return await db.query({
    text: `/* dbops:backup-tables.sizes */
      select o.oid::int8::float8 as oid, pg_catalog.pg_table_size(o.oid::pg_catalog.regclass)::float8 as "sizeBytes"
        from unnest($1::oid[]) as o(oid)`,
    values: [oids],
  });
}

/** The tables of these oids with all their partitions and children, to any depth. Privilege: none. Locks: none. */
export async function listTrees(db: Db, oids: number[]): Promise<number[]> {
  const rows = await db.query<{ oid: number }>({
    text: `/* dbops:backup-tables.trees */
      with recursive tree(oid) as (
        select o.oid from unnest($1::oid[]) as o(oid)
        union
        select i.inhrelid from tree as t join pg_catalog.pg_inherits as i on i.inhparent = t.oid)
      select t.oid::int8::float8 as oid from tree as t`,
    values: [oids],
  });
  return rows.map((row) => row.oid);
}

/**
 * Sequences that these tables take their defaults from and do not own: pg_dump leaves them out beside a table.
 * Privilege: none. Locks: none.
 */
export async function listBorrowedSequences(
  db: Db,
  oids: number[],
): Promise<{ schema: string; name: string }[]> {
  return await db.query({
    text: `/* dbops:backup-tables.borrowed-sequences */
      select distinct n.nspname as schema, c.relname as name
        from pg_catalog.pg_attrdef as f
        join pg_catalog.pg_depend as d on d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and d.objid = f.oid
         and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        join pg_catalog.pg_class as c on c.oid = d.refobjid and c.relkind = 'S'
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where f.adrelid = any ($1::oid[])
         and not exists (select from pg_catalog.pg_depend as o
                          where o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and o.objid = c.oid
                            and o.deptype in ('a', 'i') and o.refobjid = any ($1::oid[])
                            and o.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass)
       order by 1, 2`,
    values: [oids],
  });
}

/**
 * Which tables the regular expressions for schema and name match; `pattern` counts from 1. Privilege: none. Locks: none.
 */
export async function listMatchingTables(
  db: Db,
  patterns: { schema: string; name: string }[],
): Promise<{ pattern: number; oid: number }[]> {
  if (patterns.length === 0) return [];
  return await db.query({
    text: `/* dbops:backup-tables.matching */
      select w.pattern::float8 as pattern, c.oid::int8::float8 as oid
        from unnest($1::text[], $2::text[]) with ordinality as w(schema, name, pattern)
        join pg_catalog.pg_class as c
          on c.relkind in ('r', 'p', 'f') and c.relname operator(pg_catalog.~) w.name collate pg_catalog.default
        join pg_catalog.pg_namespace as n
          on n.oid = c.relnamespace and n.nspname operator(pg_catalog.~) w.schema collate pg_catalog.default
       where ${userSchemas}`,
    values: [patterns.map((item) => item.schema), patterns.map((item) => item.name)],
  });
}
