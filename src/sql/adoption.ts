import type { Db } from '../pg/connection.ts';
import { relation } from './quote.ts';

/** What pg_partman knows of one set. Its tables differ between 4.x and 5.x; what both have is here. */
export interface PartmanRow {
  /** schema.table, unquoted, as pg_partman writes it. */
  parentTable: string;
  control: string;
  /** An interval as text, or a number of ids. */
  interval: string;
  /** 4.x: native, partman (triggers on inheritance); 5.x: range, list. */
  type: string;
  premake: number;
  /** An interval as text, a number of ids, or null for "for ever". */
  retention: string | null;
  /** Whether partitions past it are detached only; false: pg_partman drops them. */
  retentionKeepTable: boolean;
  /** none, seconds, milliseconds, microseconds, nanoseconds. */
  epoch: string;
  /** Whether its background worker or run_maintenance() works on the set. */
  isAutomatic: boolean;
  /** part_config with its schema, quoted. */
  configTable: string;
}

/**
 * The sets that pg_partman maintains; empty without the extension. pg_partman 4 and 5: read through to_jsonb, since
 * their columns differ. Privilege: SELECT on part_config (privilege_missing without it). Locks: ACCESS SHARE on it.
 */
export async function listPartmanSets(db: Db): Promise<PartmanRow[]> {
  const [extension] = await db.query<{ schema: string }>({
    text: `/* dbops:adoption.partman-schema */
      select n.nspname as schema
        from pg_catalog.pg_extension as e
        join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
       where e.extname = 'pg_partman'`,
  });
  if (extension === undefined) return [];
  const configTable = relation({ schema: extension.schema, name: 'part_config' });
  const rows = await db.query<Omit<PartmanRow, 'configTable'>>({
    text: `/* dbops:adoption.partman-sets */
      select c.row ->> 'parent_table' as "parentTable", c.row ->> 'control' as control,
             c.row ->> 'partition_interval' as interval, c.row ->> 'partition_type' as type,
             (c.row ->> 'premake')::int4 as premake, c.row ->> 'retention' as retention,
             coalesce((c.row ->> 'retention_keep_table')::boolean, true) as "retentionKeepTable",
             coalesce(c.row ->> 'epoch', 'none') as epoch,
             coalesce(c.row ->> 'automatic_maintenance', 'on') = 'on' as "isAutomatic"
        from (select pg_catalog.to_jsonb(p) as row from ${configTable} as p) as c
       order by 1`,
  });
  return rows.map((row) => ({ ...row, configTable }));
}

/** A large table that is hardly ever updated. */
export interface CandidateRow {
  schema: string;
  name: string;
  sizeBytes: number;
  inserted: number;
  /** Updates and deletes since the statistics were reset. */
  changed: number;
  /** Columns that could be a key: times first, those that are never null first. */
  columns: { name: string; type: string; isNotNull: boolean; hasDefault: boolean; isPrimaryKey: boolean }[];
}

/**
 * Ordinary tables of at least a size that are inserted into and hardly changed, with the columns that could be their
 * key: worth partitioning. Leaves out partitions, tables of extensions and the given schema. The counts go back to the
 * last reset of the statistics; a table without any counts is among them. Privilege: none. Locks: ACCESS SHARE on large
 * tables for an instant.
 */
export async function listConvertCandidates(
  db: Db,
  leastBytes: number,
  ownSchema: string,
): Promise<CandidateRow[]> {
  return await db.query<CandidateRow>({
    text: `/* dbops:adoption.candidates */
      select s.schemaname as schema, s.relname as name, z.bytes::float8 as "sizeBytes",
             s.n_tup_ins::float8 as inserted, (s.n_tup_upd + s.n_tup_del)::float8 as changed,
             (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                       'name', a.attname, 'type', t.typname, 'isNotNull', a.attnotnull,
                       'hasDefault', a.atthasdef or a.attidentity <> '',
                       'isPrimaryKey', coalesce(a.attnum = any (i.indkey), false))
                       order by t.typname = 'int8', not a.attnotnull, not a.atthasdef, a.attnum), '[]')
                from pg_catalog.pg_attribute as a
                join pg_catalog.pg_type as t on t.oid = a.atttypid
                left join pg_catalog.pg_index as i on i.indrelid = a.attrelid and i.indisprimary
               where a.attrelid = s.relid and a.attnum > 0 and not a.attisdropped
                 and (t.typname in ('timestamptz', 'timestamp', 'date')
                      or t.typname = 'int8' and a.attnum = any (i.indkey))) as columns
        from pg_catalog.pg_stat_user_tables as s
        join pg_catalog.pg_class as c on c.oid = s.relid and c.relkind = 'r' and not c.relispartition
       cross join lateral (select pg_catalog.pg_table_size(c.oid) as bytes
                            where c.relpages::int8 * pg_catalog.current_setting('block_size')::int8 >= $1::int8 / 2) as z
       where z.bytes >= $1::int8 and s.schemaname <> $2
         and (s.n_tup_upd + s.n_tup_del) * 10 <= s.n_tup_ins
         and not exists (select from pg_catalog.pg_inherits as h where h.inhrelid = c.oid or h.inhparent = c.oid)
         and not exists (select from pg_catalog.pg_depend as d
                          where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid
                            and d.deptype = 'e')
       order by z.bytes desc, 1, 2
       limit 20`,
    values: [leastBytes, ownSchema],
  });
}
