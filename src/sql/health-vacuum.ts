import type { Query } from '../pg/connection.ts';
import { describedRelations, mayReadStatistics, vacuumLines } from './vacuum-need.ts';

/** Below so many rows nothing is worth a finding. */
export const fewRows = 1000;

/** A table as messages name it, and how many there are of its kind; at most 20 come back. */
interface NamedRow {
  schema: string;
  table: string;
  total: number;
}

const named = `l.schema, l.name as "table", (pg_catalog.count(*) over ())::int4 as total`;

export interface DeadRowsRow extends NamedRow {
  deadRows: number;
  liveRows: number;
}

/**
 * The 20 tables with most dead rows, of those where they are a share in percent of all rows. PostgreSQL 14 and later.
 * Privilege: none. Locks: none.
 */
export function deadRows(versionNum: number, leastPercent: number): Query {
  return {
    text: `/* dbops:health-vacuum.dead-rows */
      with ${vacuumLines(versionNum)},
           counted as (
             select l.* from lines as l where l.dead >= $2 and not l.is_temporary)
      select ${named}, l.dead as "deadRows", l.live as "liveRows"
        from counted as l
       where l.dead * 100 >= $1 * (l.dead + l.live)
       order by l.dead desc, l.schema, l.name
       limit 20`,
    values: [leastPercent, fewRows],
  };
}

export interface OverdueRow extends NamedRow {
  /** What is furthest beyond its line. */
  of: 'dead rows' | 'inserted rows' | 'dead rows in TOAST' | 'changed rows';
  rows: number;
  trigger: number;
  isAutovacuumOff: boolean;
  lastDone: Date | null;
}

/** What autovacuum does, and by which counters. */
const works = {
  vacuum: `('dead rows', l.dead, l.vacuum_trigger), ('inserted rows', l.inserted, l.insert_trigger),
                       ('dead rows in TOAST', l.toast_dead, l.toast_vacuum_trigger)`,
  analyze: `('changed rows', l.modified, l.analyze_trigger)`,
};
const counters = { vacuum: 'l.dead, l.inserted, l.toast_dead', analyze: 'l.modified' };

/**
 * The 20 tables that are furthest beyond the line at which autovacuum vacuums or analyzes them, from a share of that line in
 * percent on. PostgreSQL 14 and later. Privilege: none. Locks: none.
 */
export function overdue(work: keyof typeof works, versionNum: number, leastPercent: number): Query {
  const last = `pg_catalog.pg_stat_get_last_${work}_time(l.oid), pg_catalog.pg_stat_get_last_auto${work}_time(l.oid)`;
  return {
    text: `/* dbops:health-vacuum.${work}-overdue */
      with ${vacuumLines(versionNum)}
      select ${named}, w.counter as of, w.rows, w.line as trigger, l.is_autovacuum_off as "isAutovacuumOff",
             greatest(${last}) as "lastDone"
        from lines as l
       cross join lateral (
               select v.counter, v.rows, v.line
                 from (values ${works[work]}) as v(counter, rows, line)
                where v.rows >= $2 and v.rows * 100 >= $1 * v.line
                order by v.rows / nullif(v.line, 0) desc nulls first limit 1) as w
       where l.kind <> 'p' and not l.is_temporary
         -- Of thousands of tables few have so many: the others need no line.
         and greatest(${counters[work]}) >= $2
       order by w.rows / nullif(w.line, 0) desc nulls first, l.schema, l.name
       limit 20`,
    values: [leastPercent, fewRows],
  };
}

export interface MissingStatisticsRow {
  /** Tables of some rows that were looked at. */
  tables: number;
  /** Of which this role may not see the statistics: for want of SELECT, or for row security. */
  withoutSelect: number;
  behindPolicies: number;
  user: string;
  missing: { schema: string; table: string; kind: string; rows: number }[];
}

/**
 * Tables of 1,000 rows and more without column statistics, the 20 largest; of partitioned tables those over the whole tree,
 * which autovacuum never makes. Leaves out catalogs. PostgreSQL 14 and later. Privilege: SELECT on the tables; those without
 * are counted. Locks: none.
 */
export function missingStatistics(versionNum: number, mayReadAll: boolean): Query {
  return {
    text: `/* dbops:health-vacuum.missing-statistics */
      with recursive ${vacuumLines(versionNum)},
           below as (
             select i.inhparent as root, i.inhrelid as oid from pg_catalog.pg_inherits as i
              where i.inhparent in (select c.oid from pg_catalog.pg_class as c where c.relkind = 'p')
              union all
             select b.root, i.inhrelid from below as b join pg_catalog.pg_inherits as i on i.inhparent = b.oid),
           sizes as (
             select l.oid, l.schema, l.name, l.kind, greatest(l.reltuples, l.live, 0) as rows
               from lines as l
              where not l.is_temporary and l.schema not in ('pg_catalog', 'information_schema')),
           trees as (
             select b.root, pg_catalog.sum(s.rows) as rows
               from below as b join sizes as s on s.oid = b.oid and s.kind <> 'p' group by b.root),
           described as materialized (${describedRelations(mayReadAll)}),
           judged as (
             select s.oid, s.schema, s.name, s.kind, coalesce(t.rows, s.rows) as rows,
                    coalesce(case when s.kind = 'p' then d.of_tree else d.of_itself end, false) as is_described,
                    ${mayReadAll ? 'true' : mayReadStatistics('s.oid')} as is_readable,
                    pg_catalog.has_table_privilege(s.oid, 'select') as may_select
               from sizes as s
               left join trees as t on t.root = s.oid and s.kind = 'p'
               left join described as d on d.schema = s.schema and d.name = s.name
              where coalesce(t.rows, s.rows) >= $1)
      select pg_catalog.count(*)::int4 as tables, current_user::text as "user",
             (pg_catalog.count(*) filter (where not is_described and not is_readable and not may_select))::int4
               as "withoutSelect",
             (pg_catalog.count(*) filter (where not is_described and not is_readable and may_select))::int4
               as "behindPolicies",
             coalesce((select pg_catalog.json_agg(m) from (
                         select j.schema, j.name as "table", j.kind, j.rows from judged as j
                          where not j.is_described and j.is_readable
                          order by j.rows desc, j.schema, j.name limit 20) as m), '[]') as missing
        from judged`,
    values: [fewRows],
  };
}

export interface AutovacuumOffRow extends NamedRow {
  /** 'table' or 'TOAST'. */
  of: string;
}

/** Tables for which autovacuum is turned off. PostgreSQL 14 and later. Privilege: none. Locks: none. */
export function autovacuumOff(): Query {
  return {
    text: `/* dbops:health-vacuum.autovacuum-off */
      select n.nspname as schema, l.relname as "table",
             case when c.oid = l.oid then 'table' else 'TOAST' end as of, (pg_catalog.count(*) over ())::int4 as total
        from pg_catalog.pg_class as c
       cross join lateral pg_catalog.pg_options_to_table(c.reloptions) as o
        join pg_catalog.pg_class as l
          on l.oid = c.oid and c.relkind in ('r', 'm') or l.reltoastrelid = c.oid and c.relkind = 't'
        join pg_catalog.pg_namespace as n on n.oid = l.relnamespace
       where c.reloptions is not null and c.relpersistence <> 't'
         and o.option_name = 'autovacuum_enabled' and not o.option_value::boolean
       order by l.relpages desc, n.nspname, l.relname
       limit 20`,
  };
}
