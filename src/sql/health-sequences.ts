import type { Query } from '../pg/connection.ts';

/** A sequence and where it ends. */
export interface Sequence {
  oid: number;
  schema: string;
  name: string;
  /** The column that is filled from it, with its type; the narrowest where there are several. */
  column: string | null;
  columnType: string | null;
  /** The first and the last value that it can give, by its own bounds and by the column's type. */
  firstValue: number;
  endValue: number;
  isAscending: boolean;
  mayRead: boolean;
  /** Somebody holds it in a way that a look at its value would wait for. */
  isLocked: boolean;
  user: string;
}

export interface SequencesRow {
  sequences: Sequence[];
}

/**
 * Sequences that come to an end, identity columns too: at their own maximum or at that of the type of the column that they
 * fill, whether the column owns the sequence or only has it as its default. Leaves out temporary ones, those that cycle
 * within the type of their column, and unlogged ones on a standby, which has none of their values. One row with all of them:
 * to read ten thousand rows takes longer than to write them. PostgreSQL 14 and later. Privilege: none. Locks: none.
 */
export function listSequences(): Query {
  return {
    text: `/* dbops:health-sequences.list */
      with filled as (
             select d.objid as sequence, d.refobjid as relation, d.refobjsubid as attnum
               from pg_catalog.pg_sequence as s
               join pg_catalog.pg_depend as d on d.objid = s.seqrelid
              where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                and d.refobjsubid > 0 and d.deptype in ('a', 'i')
              union all
             select d.refobjid, f.adrelid, f.adnum
               from pg_catalog.pg_depend as d
               join pg_catalog.pg_attrdef as f on f.oid = d.objid
              where d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
                and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.deptype = 'n'),
           columns as (
             select distinct on (f.sequence) f.sequence, a.atttypid, a.attname,
                    (select r.relname from pg_catalog.pg_class as r where r.oid = f.relation) as relname,
                    case a.atttypid when 'pg_catalog.int2'::pg_catalog.regtype then 32767
                                    when 'pg_catalog.int4'::pg_catalog.regtype then 2147483647 end::int8 as most
               from filled as f
               join pg_catalog.pg_attribute as a on a.attrelid = f.relation and a.attnum = f.attnum
              order by f.sequence, most nulls last, relname, a.attname),
           ending as (
             select c.oid::int8 as oid, n.nspname as schema, c.relname as name, k.relname || '.' || k.attname as "column",
                    pg_catalog.format_type(k.atttypid, null) as "columnType",
                    case when s.seqincrement > 0 then s.seqmin else s.seqmax end as "firstValue",
                    case when s.seqincrement > 0 then least(s.seqmax, k.most)
                         else greatest(s.seqmin, -k.most - 1) end as "endValue",
                    s.seqincrement > 0 as "isAscending", current_user::text as "user",
                    pg_catalog.has_sequence_privilege(c.oid, 'select, usage') as "mayRead",
                    c.oid in (select l.relation from pg_catalog.pg_locks as l
                               where l.locktype = 'relation'
                                 and l.database = (select d.oid from pg_catalog.pg_database as d
                                                    where d.datname = pg_catalog.current_database())
                                 and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                                                'AccessExclusiveLock')) as "isLocked"
               from pg_catalog.pg_sequence as s
               join pg_catalog.pg_class as c on c.oid = s.seqrelid
               join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
               left join columns as k on k.sequence = c.oid
              where c.relpersistence <> 't'
                and not (c.relpersistence = 'u' and pg_catalog.pg_is_in_recovery())
                and not (s.seqcycle and s.seqmax <= coalesce(k.most, s.seqmax)
                         and s.seqmin >= coalesce(-k.most - 1, s.seqmin)))
      select coalesce(pg_catalog.json_agg(e order by e.schema, e.name), '[]') as sequences from ending as e`,
  };
}

export interface SequenceValuesRow {
  /** By oid; null where it was never used. One that was dropped meanwhile is not there. */
  lastValues: Record<string, number | null>;
}

/**
 * The last values of some sequences. PostgreSQL 14 and later. Privilege: SELECT or USAGE on each. Locks: ROW EXCLUSIVE on
 * each until the statement ends, hence not of thousands at once: there is room for a few thousand locks in all.
 */
export function listSequenceValues(oids: number[]): Query {
  return {
    text: `/* dbops:health-sequences.values */
      select coalesce(pg_catalog.json_object_agg(s.seqrelid, pg_catalog.pg_sequence_last_value(s.seqrelid)), '{}')
               as "lastValues"
        from pg_catalog.pg_sequence as s
       where s.seqrelid = any ($1::oid[])`,
    values: [oids],
  };
}
