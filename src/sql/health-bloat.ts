import type { Query } from '../pg/connection.ts';
import { mayReadStatistics } from './vacuum-need.ts';

/** How much of a table or of a btree index is air. */
export interface BloatRow {
  oid: number;
  schema: string;
  name: string;
  /** The table of an index; of a table its own name. */
  table: string;
  /** As of the last VACUUM or ANALYZE, without TOAST. */
  sizeBytes: number;
  /** What it would be smaller by, made anew. Null where that cannot be estimated. */
  wastedBytes: number | null;
  /** Why it cannot: this role may not see the statistics of a column, or there are none. */
  obstacle: 'privilege' | 'statistics' | null;
  user: string;
}

/** Room on a page behind its header; a btree page keeps 16 bytes for its links as well. */
const pageHeader = 24;
const btreeSpecial = 16;

/** A length as it is stored: in steps of 8 bytes. */
const aligned = (bytes: string) => `(pg_catalog.ceil((${bytes}) / 8.0) * 8)`;

/** Rows that are estimated to waste so much, the worst first, and those of that size that cannot be estimated. */
const rows = `
      select e.oid::int8::float8 as oid, e.schema, e.name, e."table", e.size as "sizeBytes", current_user::text as "user",
             case when e.obstacle is null then greatest(0, e.size - e.expected) end::float8 as "wastedBytes", e.obstacle
        from estimated as e
       where e.obstacle is not null or e.size - e.expected >= $1
       order by e.size - e.expected desc nulls last, e.schema, e.name`;

/**
 * The statistics of column `a` of relation `of`. pg_stats leaves out silently what this role may not see; whoever may read
 * all goes to the table behind it, which is faster.
 */
function statisticsOf(of: string, column: string, number: string, mayReadAll: boolean): string {
  return mayReadAll
    ? `select s.stawidth as width, s.stanullfrac as nulls, s.stadistinct as distinct_values
                           from pg_catalog.pg_statistic as s
                          where s.starelid = ${of}.oid and s.staattnum = ${number} and not s.stainherit`
    : `select s.avg_width as width, s.null_frac as nulls, s.n_distinct as distinct_values
                           from pg_catalog.pg_stats as s
                          where s.schemaname = ${of}.schema and s.tablename = ${of}.name and s.attname = ${column}
                            and not s.inherited`;
}

function obstacle(readable: string): string {
  return `case when k.known = k.columns then null when ${readable} then 'statistics' else 'privilege' end as obstacle`;
}

/**
 * How much of each table and materialized view is air: its pages against those that its rows would fill by the mean width
 * of their columns. Padding between columns is not seen, so a few percent may be none. Leaves out TOAST and temporary tables,
 * catalogs, and what is smaller than what is asked for. PostgreSQL 14 and later. Privilege: SELECT on the tables.
 * Locks: none.
 */
export function tableBloat(minWastedBytes: number, mayReadAll: boolean): Query {
  return {
    text: `/* dbops:health-bloat.tables */
      with tables as materialized (
             select c.oid, n.nspname as schema, c.relname as name, c.reltuples, b.block_size,
                    c.relpages * b.block_size as size,
                    coalesce((select o.option_value::float8 from pg_catalog.pg_options_to_table(c.reloptions) as o
                               where o.option_name = 'fillfactor'), 100) / 100 as fill
               from (select pg_catalog.current_setting('block_size')::float8 as block_size) as b, pg_catalog.pg_class as c
               join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
              where c.relkind in ('r', 'm') and c.relpersistence <> 't' and c.relpages > 0
                and n.nspname not in ('pg_catalog', 'information_schema') and c.relpages * b.block_size >= $1),
           estimated as (
             select t.oid, t.schema, t.name, t.name as "table", t.size,
                    pg_catalog.ceil(greatest(t.reltuples, 0) / greatest(1, pg_catalog.floor(
                      (t.block_size - ${String(pageHeader)}) * t.fill
                      / (4 + ${aligned('23 + case when k.has_nulls then (k.columns + 7) / 8 else 0 end')}
                         + ${aligned('k.width')})))) * t.block_size as expected,
                    ${obstacle(mayReadAll ? 'true' : mayReadStatistics('t.oid'))}
               from tables as t
              cross join lateral (
                     select pg_catalog.count(*) as columns, pg_catalog.count(s.width) as known,
                            coalesce(pg_catalog.sum(s.width * (1 - s.nulls)), 0) as width,
                            coalesce(pg_catalog.bool_or(s.nulls > 0), false) as has_nulls
                       from pg_catalog.pg_attribute as a
                       left join lateral (${statisticsOf('t', 'a.attname', 'a.attnum', mayReadAll)}) as s on true
                      where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped) as k)
      ${rows}`,
    values: [minWastedBytes],
  };
}

/**
 * How much of each valid btree index is air, pages that were deleted counted too. Equal keys share one tuple where the
 * index can (btree deduplication): then 6 bytes a row, and the key once for as many as fit into 812 bytes, which is what
 * CREATE INDEX does (_bt_load() of src/backend/access/nbtree). Leaves out catalogs, temporary tables and what is smaller than
 * what is asked for. PostgreSQL 14 and later. Privilege: SELECT on the tables; for keys that are expressions
 * pg_read_all_data, or to own them. Locks: none.
 */
export function indexBloat(minWastedBytes: number, mayReadAll: boolean): Query {
  return {
    text: `/* dbops:health-bloat.indexes */
      with indexes as materialized (
             select c.oid, n.nspname as schema, c.relname as name, r.oid as table_oid, r.relname as "table",
                    c.reltuples, greatest(r.reltuples, 1) as table_rows, b.block_size, c.relpages * b.block_size as size,
                    x.indkey, x.indisunique, x.indnkeyatts = x.indnatts as has_keys_only, x.indclass,
                    coalesce((select o.option_value::float8 from pg_catalog.pg_options_to_table(c.reloptions) as o
                               where o.option_name = 'fillfactor'), 90) / 100 as fill,
                    coalesce((select o.option_value::boolean from pg_catalog.pg_options_to_table(c.reloptions) as o
                               where o.option_name = 'deduplicate_items'), true) as deduplicates
               from (select pg_catalog.current_setting('block_size')::float8 as block_size) as b, pg_catalog.pg_index as x
               join pg_catalog.pg_class as c on c.oid = x.indexrelid and c.relkind = 'i'
               join pg_catalog.pg_am as m on m.oid = c.relam and m.amname = 'btree'
               join pg_catalog.pg_class as r on r.oid = x.indrelid
               join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
              where x.indisvalid and c.relpersistence <> 't' and c.relpages > 1
                and n.nspname not in ('pg_catalog', 'information_schema') and c.relpages * b.block_size >= $1),
           measured as (
             select i.*, k.columns, k.known,
                    ${aligned('8 + case when k.has_nulls then 4 else 0 end')} + ${aligned('k.width')} as tuple,
                    -- How many rows have the same key, when the columns have nothing to do with one another.
                    greatest(1, i.reltuples / greatest(1, pg_catalog.exp(least(k.distinct_log, 100)))) as same_key,
                    i.deduplicates and not i.indisunique and i.has_keys_only and k.equal_is_same as shares_keys
               from indexes as i
              cross join lateral (
                     select pg_catalog.count(*) as columns, pg_catalog.count(s.width) as known,
                            coalesce(pg_catalog.sum(s.width * (1 - s.nulls)), 0) as width,
                            coalesce(pg_catalog.bool_or(s.nulls > 0), false) as has_nulls,
                            coalesce(pg_catalog.sum(pg_catalog.ln(greatest(1, case when s.distinct_values < 0
                              then -s.distinct_values * i.table_rows else s.distinct_values end)::float8)), 0) as distinct_log,
                            -- Types such as numeric have equal values that look different, and no such function.
                            pg_catalog.bool_and(exists (
                              select from pg_catalog.pg_opclass as o
                                join pg_catalog.pg_amproc as p on p.amprocfamily = o.opcfamily and p.amprocnum = 4
                                 and p.amproclefttype = o.opcintype and p.amprocrighttype = o.opcintype
                               where o.oid = i.indclass[a.attnum - 1])) as equal_is_same
                       from pg_catalog.pg_attribute as a
                       left join pg_catalog.pg_attribute as ta
                         on ta.attrelid = i.table_oid and ta.attnum = i.indkey[a.attnum - 1] and ta.attnum <> 0
                      cross join lateral (
                             select case when ta.attnum is null then i.oid else i.table_oid end as oid, i.schema,
                                    case when ta.attnum is null then i.name else i."table" end as name,
                                    case when ta.attnum is null then a.attname else ta.attname end as attname,
                                    case when ta.attnum is null then a.attnum else ta.attnum end as attnum) as w
                       left join lateral (${statisticsOf('w', 'w.attname', 'w.attnum', mayReadAll)}) as s on true
                      where a.attrelid = i.oid and a.attnum > 0 and not a.attisdropped) as k),
           leaves as (
             select k.*, k.block_size - ${String(pageHeader + btreeSpecial)} as room,
                    greatest(k.reltuples, 0) * case
                      when k.shares_keys and k.same_key >= 2
                      then 6 + (k.tuple + 4) / least(k.same_key, greatest(1, pg_catalog.floor((812 - k.tuple) / 6)))
                      else k.tuple + 4 end as bytes
               from measured as k),
           estimated as (
             select k.oid, k.schema, k.name, k."table", k.size,
                    -- The first page describes the index; pages above the leaves are filled to 70 %.
                    (1 + pg_catalog.ceil(k.bytes / (k.room * k.fill) * (1 + (k.tuple + 4) / (k.room * 0.7)))) * k.block_size
                      as expected,
                    ${obstacle(mayReadAll ? 'true' : `(${mayReadStatistics('k.table_oid')} and 0 <> all (k.indkey::int2[]))`)}
               from leaves as k)
      ${rows}`,
    values: [minWastedBytes],
  };
}
