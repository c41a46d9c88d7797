import type { Query } from '../pg/connection.ts';
import { lockedRelations } from './inspect-sizes.ts';

export interface TableSizeRow {
  schema: string;
  name: string;
  /** With TOAST and indexes. */
  bytes: number;
  heapBytes: number;
  isPartition: boolean;
  /** From the catalog, as of the last VACUUM or ANALYZE: somebody holds or awaits the table alone. */
  isEstimated: boolean;
  /** Tables of the database. */
  tables: number;
}

/**
 * The tables and materialized views from `least` bytes on, with their TOAST and indexes, in one question for all. Files are
 * measured only of those that the catalog says to be an eighth as large, or that it knows nothing of; what somebody holds or
 * awaits in ACCESS EXCLUSIVE is told from the catalog alone, for a size would wait for that lock. PostgreSQL 14 and later.
 * Privilege: none. Locks: ACCESS SHARE on what is measured, for that moment.
 */
export function largeTables(least: number): Query {
  return {
    text: `/* dbops:health.large_tables */
      with held(oid) as materialized (
             ${lockedRelations}),
           indexed as materialized (
             select i.indrelid as oid, pg_catalog.sum(x.relpages) as pages,
                    pg_catalog.bool_or(x.oid in (select h.oid from held as h)) as is_held
               from pg_catalog.pg_index as i
               join pg_catalog.pg_class as x on x.oid = i.indexrelid and x.relkind = 'i'
              group by i.indrelid),
           estimated as (
             select c.oid, c.relnamespace, c.relname, c.relpages, c.relispartition, c.reltuples < 0 as is_young,
                    pg_catalog.current_setting('block_size')::int8
                      * (c.relpages::int8 + coalesce(t.relpages, 0) + coalesce(x.pages, 0) + coalesce(y.pages, 0)) as bytes,
                    coalesce(c.oid in (select h.oid from held as h) or t.oid in (select h.oid from held as h)
                             or x.is_held or y.is_held, false) as is_held
               from pg_catalog.pg_class as c
               left join pg_catalog.pg_class as t on t.oid = c.reltoastrelid and t.relkind = 't'
               left join indexed as x on x.oid = c.oid
               left join indexed as y on y.oid = t.oid
              where c.relkind in ('r', 'm') and c.relpersistence <> 't'),
           measured as (
             select e.oid, e.relnamespace, e.relname, e.relpages, e.relispartition, e.is_held,
                    case when e.is_held or not (e.is_young or e.bytes >= $1::float8 / 8) then e.bytes
                         else coalesce(pg_catalog.pg_total_relation_size(e.oid), 0) end as bytes
               from estimated as e),
           compared as (
             select m.*, pg_catalog.max(m.bytes) over () as most, pg_catalog.count(*) over () as tables
               from measured as m)
      select n.nspname::text as schema, s.relname::text as name, s.bytes::float8 as bytes,
             (greatest(s.relpages, 0)::int8 * pg_catalog.current_setting('block_size')::int8)::float8 as "heapBytes",
             s.relispartition as "isPartition", s.is_held as "isEstimated", s.tables::float8 as tables
        from compared as s
        join pg_catalog.pg_namespace as n on n.oid = s.relnamespace
       where s.bytes >= $1::float8 or s.bytes = s.most
       order by s.bytes desc, 1, 2
       limit 100`,
    values: [least],
  };
}
