import type { Db } from '../pg/connection.ts';
import { askQuickly } from './quick.ts';

/** A table with everything that belongs to it; a partitioned one with its leaves. */
export interface TableSizeRow {
  schema: string;
  name: string;
  totalBytes: number;
  tableBytes: number;
  indexBytes: number;
  toastBytes: number;
  /** As the last VACUUM or ANALYZE counted; null when there was none. */
  rows: number | null;
  /** Leaves of a partitioned table; 0 for others. */
  partitions: number;
  /** Parts of it are held or awaited in ACCESS EXCLUSIVE: their size is that of the last VACUUM or ANALYZE. */
  isEstimated: boolean;
}

/** Relations whose size function would wait. An ACCESS EXCLUSIVE lock is never taken by the fast path. */
export const lockedRelations = `select l.relation from pg_catalog.pg_locks as l
         where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock'
           and l.database = (select d.oid from pg_catalog.pg_database as d
                              where d.datname = pg_catalog.current_database())`;

/** The bytes of a relation, from its pages as last counted where somebody holds it. */
export function sizeOf(alias: string): string {
  return `case when ${alias}.oid in (select k.relation from locked as k)
               then ${alias}.relpages::int8 * pg_catalog.current_setting('block_size')::int8
               else coalesce(pg_catalog.pg_relation_size(${alias}.oid), 0) end`;
}

/** From here on a system catalog is worth a line: pg_largeobject, or one that temporary tables have bloated. */
const largeCatalogPages = 1024;

/**
 * Tables and materialized views by size, largest first, partitioned ones summed over their leaves; the main fork of each
 * relation. Leaves out system catalogs but large ones. PostgreSQL 14 and later. Privilege: none. Locks: ACCESS SHARE on each relation
 * for a moment, but on none that somebody holds or awaits in ACCESS EXCLUSIVE.
 */
export async function listTableSizes(db: Db, limit: number): Promise<TableSizeRow[]> {
  return await askQuickly<TableSizeRow>(db, {
    text: `/* dbops:inspect.sizes */
      with locked as materialized (${lockedRelations}),
      piece as materialized (
        select c.oid as "table", c.relkind, c.reltoastrelid, c.relispartition, c.reltuples, ${sizeOf('c')} as bytes,
               c.oid in (select k.relation from locked as k) as estimated
          from pg_catalog.pg_class as c
          join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
         where c.relkind in ('r', 'm')
           and (n.nspname not in ('pg_catalog', 'information_schema') or c.relpages >= ${String(largeCatalogPages)})),
      toast as (
        select p."table", ${sizeOf('t')} as bytes, t.oid as toast,
               t.oid in (select k.relation from locked as k) as estimated
          from piece as p join pg_catalog.pg_class as t on t.oid = p.reltoastrelid),
      index_of as (
        select o."table", o.is_toast, pg_catalog.sum(${sizeOf('x')}) as bytes,
               pg_catalog.bool_or(x.oid in (select k.relation from locked as k)) as estimated
          from (select p."table" as indrelid, p."table", false as is_toast from piece as p
                 union all select t.toast, t."table", true from toast as t) as o
          join pg_catalog.pg_index as i on i.indrelid = o.indrelid
          join pg_catalog.pg_class as x on x.oid = i.indexrelid
         group by o."table", o.is_toast)
      select n.nspname as schema, r.relname as name,
             s.total::float8 as "totalBytes", s.own::float8 as "tableBytes", s.index::float8 as "indexBytes",
             s.toast::float8 as "toastBytes", s.rows::float8 as rows, s.partitions, s.estimated as "isEstimated"
        from (select case when p.relispartition then pg_catalog.pg_partition_root(p."table") else p."table" end as root,
                     pg_catalog.sum(p.bytes + coalesce(t.bytes, 0) + coalesce(ti.bytes, 0) + coalesce(i.bytes, 0)) as total,
                     pg_catalog.sum(p.bytes) as own, pg_catalog.sum(coalesce(i.bytes, 0)) as index,
                     pg_catalog.sum(coalesce(t.bytes, 0) + coalesce(ti.bytes, 0)) as toast,
                     pg_catalog.sum(p.reltuples) filter (where p.reltuples >= 0) as rows,
                     (pg_catalog.count(*) filter (where p.relispartition))::int4 as partitions,
                     pg_catalog.bool_or(p.estimated or coalesce(t.estimated, false) or coalesce(i.estimated, false)
                                        or coalesce(ti.estimated, false)) as estimated
                from piece as p
                left join toast as t on t."table" = p."table"
                left join index_of as i on i."table" = p."table" and not i.is_toast
                left join index_of as ti on ti."table" = p."table" and ti.is_toast
               group by 1) as s
        join pg_catalog.pg_class as r on r.oid = s.root
        join pg_catalog.pg_namespace as n on n.oid = r.relnamespace
       order by s.total desc, 1, 2
       limit $1`,
    values: [limit],
  });
}
