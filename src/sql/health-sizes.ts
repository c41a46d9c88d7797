import type { Query } from '../pg/connection.ts';

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
      with held as materialized (
             select l.relation as oid from pg_catalog.pg_locks as l
              where l.mode = 'AccessExclusiveLock' and l.locktype = 'relation'
                and l.database = (select d.oid from pg_catalog.pg_database as d
                                   where d.datname = pg_catalog.current_database())),
           parts as (
             select c.oid, c.oid as part, c.relpages, c.reltuples from pg_catalog.pg_class as c
              where c.relkind in ('r', 'm') and c.relpersistence <> 't'
              union all
             select c.oid, t.oid, t.relpages, 0 from pg_catalog.pg_class as c
               join pg_catalog.pg_class as t on t.oid = c.reltoastrelid
              where c.relkind in ('r', 'm') and c.relpersistence <> 't'
              union all
             select i.indrelid, x.oid, x.relpages, 0 from pg_catalog.pg_index as i
               join pg_catalog.pg_class as x on x.oid = i.indexrelid),
           estimated as (
             select p.oid,
                    pg_catalog.sum(p.relpages::int8) * pg_catalog.current_setting('block_size')::int8 as bytes,
                    pg_catalog.bool_or(p.reltuples < 0) as is_young,
                    pg_catalog.bool_or(p.part in (select h.oid from held as h)) as is_held
               from parts as p
              group by p.oid),
           sized as (
             select e.oid, e.is_held,
                    case when e.is_held or not (e.is_young or e.bytes >= $1::float8 / 8) then e.bytes
                         else coalesce(pg_catalog.pg_total_relation_size(e.oid), 0) end as bytes,
                    (pg_catalog.count(*) over ())::float8 as tables
               from estimated as e
               join pg_catalog.pg_class as c on c.oid = e.oid and c.relkind in ('r', 'm'))
      select n.nspname::text as schema, c.relname::text as name, s.bytes::float8 as bytes,
             (greatest(c.relpages, 0)::int8 * pg_catalog.current_setting('block_size')::int8)::float8 as "heapBytes",
             c.relispartition as "isPartition", s.is_held as "isEstimated", s.tables
        from sized as s
        join pg_catalog.pg_class as c on c.oid = s.oid
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where s.bytes >= $1::float8 or s.bytes = (select pg_catalog.max(m.bytes) from sized as m)
       order by s.bytes desc, 1, 2
       limit 100`,
    values: [least],
  };
}
