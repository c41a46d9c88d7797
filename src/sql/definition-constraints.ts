import type { Db } from '../pg/connection.ts';

export interface DefinitionConstraintRow {
  name: string;
  kind: 'check' | 'primary key' | 'unique' | 'exclusion' | 'foreign key';
  definition: string;
  columns: string[];
  deferral: string;
  isPeriod: boolean;
  isValidated: boolean;
  comment: string | null;
}

/**
 * Constraints of a table, NOT NULL left out, which belongs to its column. A foreign key to a partitioned table has a
 * further row for each of that table's partitions; those are left out. PostgreSQL 14 and later (conperiod: 18).
 * Privilege: none. Locks: none.
 */
export async function listDefinitionConstraints(db: Db, oid: number): Promise<DefinitionConstraintRow[]> {
  return await db.query<DefinitionConstraintRow>({
    text: `/* dbops:definition.constraints */
      select k.conname as name,
             case k.contype when 'c' then 'check' when 'p' then 'primary key' when 'u' then 'unique'
                            when 'x' then 'exclusion' else 'foreign key' end as kind,
             pg_catalog.pg_get_constraintdef(k.oid) as definition,
             array(select a.attname::text
                     from pg_catalog.unnest(k.conkey) with ordinality as x(number, place)
                     join pg_catalog.pg_attribute as a on a.attrelid = k.conrelid and a.attnum = x.number
                    order by x.place) as columns,
             case when not k.condeferrable then '' when k.condeferred then 'deferrable initially deferred'
                  else 'deferrable' end as deferral,
             coalesce((pg_catalog.to_jsonb(k) ->> 'conperiod')::boolean, false) as "isPeriod",
             k.convalidated as "isValidated", pg_catalog.obj_description(k.oid, 'pg_constraint') as comment
        from pg_catalog.pg_constraint as k
       where k.conrelid = $1 and k.contype in ('c', 'p', 'u', 'x', 'f')
         and not exists (select from pg_catalog.pg_constraint as p
                          where p.oid = k.conparentid and p.conrelid = k.conrelid)
       order by k.contype, k.conname`,
    values: [oid],
  });
}

export interface DefinitionIndexRow {
  name: string;
  isUnique: boolean;
  isValid: boolean;
  /** What stands behind USING; null when the text has an unexpected beginning. */
  definition: string | null;
  columns: string[];
  constraint: string | null;
  options: string[];
  statistics: { column: number; target: number }[];
  isClustered: boolean;
  tablespace: string | null;
  comment: string | null;
}

/** Indexes of a table by name. Privilege: none. Locks: ACCESS SHARE for an instant (pg_get_indexdef). */
export async function listDefinitionIndexes(db: Db, oid: number): Promise<DefinitionIndexRow[]> {
  return await db.query<DefinitionIndexRow>({
    text: `/* dbops:definition.indexes */
      with listed as (
        select i.*, c.relname, c.reloptions, c.reltablespace, pg_catalog.pg_get_indexdef(i.indexrelid) as def,
               pg_catalog.concat('CREATE ', case when i.indisunique then 'UNIQUE ' end, 'INDEX ',
                 pg_catalog.quote_ident(c.relname), ' ON ', case when t.relkind = 'p' then 'ONLY ' end,
                 pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(t.relname), ' USING ') as head
          from pg_catalog.pg_index as i
          join pg_catalog.pg_class as c on c.oid = i.indexrelid
          join pg_catalog.pg_class as t on t.oid = i.indrelid
          join pg_catalog.pg_namespace as n on n.oid = t.relnamespace
         where i.indrelid = $1)
      select l.relname as name, l.indisunique as "isUnique",
             l.indisvalid and l.indisready and l.indislive as "isValid",
             case when pg_catalog.starts_with(l.def, l.head)
                  then pg_catalog.substr(l.def, pg_catalog.length(l.head) + 1) end as definition,
             array(select a.attname::text from pg_catalog.pg_attribute as a
                    where a.attrelid = l.indrelid and a.attnum > 0
                      and (a.attnum = any (l.indkey::int2[])
                           or exists (select from pg_catalog.pg_depend as d
                                       where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                                         and d.objid = l.indexrelid and d.refobjid = l.indrelid
                                         and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                                         and d.refobjsubid = a.attnum))
                    order by a.attnum) as columns,
             (select k.conname from pg_catalog.pg_constraint as k
               where k.conindid = l.indexrelid and k.conrelid = l.indrelid and k.contype in ('p', 'u', 'x'))
               as constraint,
             coalesce(l.reloptions, '{}') as options,
             (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                       'column', a.attnum, 'target', a.attstattarget) order by a.attnum), '[]')
                from pg_catalog.pg_attribute as a
               where a.attrelid = l.indexrelid and a.attstattarget >= 0) as statistics,
             l.indisclustered as "isClustered",
             (select s.spcname from pg_catalog.pg_tablespace as s where s.oid = l.reltablespace) as tablespace,
             pg_catalog.obj_description(l.indexrelid, 'pg_class') as comment
        from listed as l
       order by l.relname`,
    values: [oid],
  });
}

export interface DefinitionStatisticsRow {
  schema: string;
  name: string;
  kinds: string[];
  columns: string;
  target: number | null;
  comment: string | null;
}

/** Extended statistics of a table. PostgreSQL 14 and later. Privilege: none. Locks: none. */
export async function listDefinitionStatistics(db: Db, oid: number): Promise<DefinitionStatisticsRow[]> {
  return await db.query<DefinitionStatisticsRow>({
    text: `/* dbops:definition.statistics */
      select n.nspname as schema, s.stxname as name,
             array(select case k when 'd' then 'ndistinct' when 'f' then 'dependencies' else 'mcv' end
                     from pg_catalog.unnest(s.stxkind) as k where k in ('d', 'f', 'm') order by 1) as kinds,
             pg_catalog.pg_get_statisticsobjdef_columns(s.oid) as columns,
             case when s.stxstattarget >= 0 then s.stxstattarget::int4 end as target,
             pg_catalog.obj_description(s.oid, 'pg_statistic_ext') as comment
        from pg_catalog.pg_statistic_ext as s
        join pg_catalog.pg_namespace as n on n.oid = s.stxnamespace
       where s.stxrelid = $1
       order by 1, 2`,
    values: [oid],
  });
}
