import type { Db, Query } from '../pg/connection.ts';

/** An index by its names, as they stand in the catalog. */
export interface IndexNameRow {
  oid: number;
  schema: string;
  table: string;
  name: string;
}

// What other sessions keep in temporary tables is their affair.
const isOurs = `n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and t.relpersistence <> 't'`;

/** pg_relation_size would wait behind ACCESS EXCLUSIVE; relpages is what VACUUM, ANALYZE and the build wrote. */
export const pageBytes = `pg_catalog.current_setting('block_size')::float8`;

/** A partitioned index has neither pages nor scans of its own: those of its partitions, added up. */
const partsOf = (versionNum: number) => `parts as materialized (
        select pg_catalog.pg_partition_root(c.oid)::oid as root, pg_catalog.sum(greatest(c.relpages, 0)) as pages,
               pg_catalog.sum(pg_catalog.pg_stat_get_numscans(c.oid)) as scans,
               ${versionNum < 160_000 ? 'null::timestamptz' : 'pg_catalog.max(pg_catalog.pg_stat_get_lastscan(c.oid))'} as last_scan
          from pg_catalog.pg_class as c where c.relkind = 'i' and c.relispartition group by 1)`;

/** What one index has, of its parts together where it is partitioned. */
const summed = (own: string, ofParts: string) =>
  `case when c.relkind = 'I' then coalesce(p.${ofParts}, 0) else ${own} end::float8`;
const bytes = `${summed('greatest(c.relpages, 0)', 'pages')} * ${pageBytes}`;

/** The constraint that index `i` belongs to, of which there is one at most. */
const constraintOf = `left join pg_catalog.pg_constraint as k
            on k.conrelid = i.indrelid and k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x')`;

/** Unique indexes that foreign keys of other tables lean on: those keys would have to go first. */
const leanedOn = `leaned_on as materialized (
        select distinct k.conindid as oid from pg_catalog.pg_constraint as k where k.contype = 'f')`;

export interface IndexRow extends IndexNameRow {
  method: string;
  columns: string[];
  /** Of its partitions together, as of the last VACUUM or ANALYZE. */
  sizeBytes: number;
  scans: number;
  /** Null: never, or before PostgreSQL 16, where nobody knows. */
  lastScan: Date | null;
  isUnique: boolean;
  isPartitioned: boolean;
  isReplicaIdentity: boolean;
  isClustered: boolean;
  isValid: boolean;
  /** It has a condition. */
  isPartial: boolean;
  /** The constraint that it belongs to. */
  constraint: string | null;
  /** A foreign key of its table whose columns it leads with. */
  foreignKey: string | null;
}

/**
 * Every index of the database that people made, with its use: one query for all tables. Indexes of partitions count with
 * the one of their parent. Leaves out system catalogs, TOAST and temporary tables. PostgreSQL 14 and later (the last scan:
 * 16). Privilege: none. Locks: none on tables.
 */
export function indexUsage(versionNum: number): Query {
  const lastScan = versionNum < 160_000 ? 'null::timestamptz' : 'pg_catalog.pg_stat_get_lastscan(c.oid)';
  return {
    text: `/* dbops:health.indexes-usage */
      with ${partsOf(versionNum)}
      select i.indexrelid::int8::float8 as oid, n.nspname as schema, t.relname as "table", c.relname as name,
             m.amname as method, i.indisunique as "isUnique", c.relkind = 'I' as "isPartitioned",
             i.indisreplident as "isReplicaIdentity", i.indisclustered as "isClustered", i.indisvalid as "isValid",
             i.indpred is not null as "isPartial",
             array(select coalesce((select a.attname::text from pg_catalog.pg_attribute as a
                                     where a.attrelid = i.indrelid and a.attnum = u.attnum and u.attnum <> 0), 'expression')
                     from pg_catalog.unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) as u(attnum)) as columns,
             ${bytes} as "sizeBytes", ${summed('pg_catalog.pg_stat_get_numscans(c.oid)', 'scans')} as scans,
             case when c.relkind = 'I' then p.last_scan else ${lastScan} end as "lastScan", k.conname as constraint,
             case when i.indrelid in (select r.conrelid from pg_catalog.pg_constraint as r where r.contype = 'f') then
               (select f.conname from pg_catalog.pg_constraint as f
                 where f.contype = 'f' and f.conrelid = i.indrelid
                   and (i.indkey::int2[])[0:pg_catalog.cardinality(f.conkey) - 1] operator(pg_catalog.@>) f.conkey
                 limit 1) end as "foreignKey"
        from pg_catalog.pg_index as i
        join pg_catalog.pg_class as c on c.oid = i.indexrelid and not c.relispartition
        join pg_catalog.pg_class as t on t.oid = i.indrelid
        join pg_catalog.pg_namespace as n on n.oid = t.relnamespace
        join pg_catalog.pg_am as m on m.oid = c.relam
        ${constraintOf}
        left join parts as p on p.root = i.indexrelid
       where ${isOurs}
       order by n.nspname, t.relname, c.relname`,
  };
}

/** An index that another one does the work of. */
export interface CoveredRow extends IndexNameRow {
  /** What does its work. */
  keeper: string;
  sizeBytes: number;
  constraint: string | null;
  isReplicaIdentity: boolean;
}

// Node trees carry where in the statement something stood, which makes no difference. pg_get_expr would lock the table.
const tree = (column: string) =>
  `coalesce(pg_catalog.regexp_replace(${column}::text, ':location -?[0-9]+', '', 'g'), '')`;

/**
 * Valid indexes whose table has another one that begins with the same column, or with an expression as well: nothing else
 * can be the same or the beginning of another, and of thousands of tables few have any.
 */
const candidates = (versionNum: number) => `${partsOf(versionNum)}, ${leanedOn},
      shared as materialized (
        select i.indrelid, i.indkey[0] as first_key
          from pg_catalog.pg_index as i where i.indisvalid and i.indisready and i.indislive
         group by i.indrelid, i.indkey[0] having pg_catalog.count(*) > 1),
      candidates as materialized (
        select i.indexrelid, i.indrelid, i.indisunique, i.indimmediate, i.indisreplident, i.indisclustered,
               i.indnkeyatts, i.indnatts, n.nspname, t.relname as table_name, c.relname, c.relam, c.relispartition,
               k.conname as constraint_name, f.oid is not null as is_leaned_on, ${bytes} as bytes,
               ${versionNum < 150_000 ? 'false' : 'i.indnullsnotdistinct'} as nulls_not_distinct,
               i.indkey::int2[] as keys, i.indclass::oid[] as classes, i.indcollation::oid[] as collations,
               i.indoption::int2[] as options, ${tree('i.indexprs')} as expressions, ${tree('i.indpred')} as predicate,
               -- Computed here: the planner takes a comparison of a column of this for one row in two hundred, each
               -- time, and loops over all indexes for each.
               m.amname = 'btree' and i.indexprs is null as is_plain,
               i.indnkeyatts = i.indnatts and not c.relispartition and not i.indisunique and k.conname is null
                 and not i.indisreplident and not i.indisclustered as is_spare
          from shared as h
          join pg_catalog.pg_index as i on i.indrelid = h.indrelid and i.indkey[0] = h.first_key
          join pg_catalog.pg_class as c on c.oid = i.indexrelid
          join pg_catalog.pg_class as t on t.oid = i.indrelid
          join pg_catalog.pg_namespace as n on n.oid = t.relnamespace
          join pg_catalog.pg_am as m on m.oid = c.relam
          ${constraintOf}
          left join parts as p on p.root = i.indexrelid
          left join leaned_on as f on f.oid = i.indexrelid
         where i.indisvalid and i.indisready and i.indislive and ${isOurs})`;

const coveredColumns = `s.indexrelid::int8::float8 as oid, s.nspname as schema, s.table_name as "table", s.relname as name,
             l.relname as keeper, s.bytes as "sizeBytes", s.constraint_name as constraint,
             s.indisreplident as "isReplicaIdentity"`;

/**
 * Indexes that are the same as another one of their table: method, columns, included columns, operator classes, collations,
 * options, expressions and predicate. Of each group the one that most depends on is kept; a unique one is never told to be
 * covered by one that is not, and none that a foreign key of another table leans on. PostgreSQL 14 and later. Privilege: none. Locks: none
 * on tables.
 */
export function duplicateIndexes(versionNum: number): Query {
  return {
    text: `/* dbops:health.indexes-duplicate */
      with ${candidates(versionNum)},
      ranked as (
        select c.*, pg_catalog.first_value(c.indexrelid) over same as keeper_oid
          from candidates as c
        window same as (partition by c.indrelid, c.relam, c.keys, c.classes, c.collations, c.options, c.indnkeyatts,
                                     c.expressions, c.predicate
                        order by c.constraint_name is not null desc, c.is_leaned_on desc, c.relispartition desc,
                                 c.indisreplident desc,
                                 c.indisunique desc, c.indimmediate desc, c.indisclustered desc, c.indexrelid))
      select ${coveredColumns}
        from ranked as s
        join candidates as l on l.indexrelid = s.keeper_oid
       where s.indexrelid <> l.indexrelid and not s.relispartition and not s.is_leaned_on
         and (not s.indisunique
              or (l.indisunique and l.indimmediate and l.nulls_not_distinct = s.nulls_not_distinct))
       order by s.nspname, s.table_name, s.relname`,
  };
}

/**
 * B-tree indexes whose columns another one of their table begins with, or has the same and includes more: same operator
 * classes, collations, options and predicate. Leaves out unique indexes, those of constraints, replica identities, what a
 * table is clustered by, and indexes on expressions. PostgreSQL 14 and later. Privilege: none. Locks: none on tables.
 */
export function redundantIndexes(versionNum: number): Query {
  const prefix = (column: string) => `l.${column}[0:s.indnkeyatts - 1] = s.${column}[0:s.indnkeyatts - 1]`;
  return {
    text: `/* dbops:health.indexes-redundant */
      with ${candidates(versionNum)}
      select distinct on (s.nspname, s.table_name, s.relname) ${coveredColumns}
        from candidates as s
        join candidates as l on l.indrelid = s.indrelid and l.indexrelid <> s.indexrelid and l.is_plain
         and (l.indnkeyatts > s.indnkeyatts or (l.indnkeyatts = s.indnkeyatts and l.indnatts > s.indnatts))
         and ${prefix('keys')} and ${prefix('classes')} and ${prefix('collations')} and ${prefix('options')}
         and l.predicate = s.predicate
       where s.is_plain and s.is_spare
       order by s.nspname, s.table_name, s.relname, l.indnkeyatts desc, l.indnatts desc, l.indexrelid`,
  };
}

export interface MissingRow {
  schema: string;
  table: string;
  constraint: string;
  columns: string[];
  /** schema.table that the foreign key points to. */
  target: string;
  /** Of the table with its partitions, as of the last VACUUM or ANALYZE. */
  sizeBytes: number;
}

/**
 * Foreign keys whose columns no valid index without a predicate leads with, in whatever order. Those that partitions have
 * from their parent count there. PostgreSQL 14 and later. Privilege: none. Locks: none on tables.
 */
export function foreignKeysWithoutIndex(): Query {
  return {
    text: `/* dbops:health.indexes-missing */
      with recursive keys as materialized (
        select k.oid, k.conrelid, k.confrelid, k.conname, k.conkey
          from pg_catalog.pg_constraint as k
         where k.contype = 'f' and k.conparentid = 0
           and not exists (
                 select from pg_catalog.pg_index as i
                  where i.indrelid = k.conrelid and i.indisvalid and i.indpred is null
                    and i.indnkeyatts >= pg_catalog.cardinality(k.conkey)
                    and (i.indkey::int2[])[0:pg_catalog.cardinality(k.conkey) - 1]
                        operator(pg_catalog.@>) k.conkey)),
      tree(root, oid) as (
        select distinct k.conrelid, k.conrelid from keys as k
        union
        select p.root, h.inhrelid from tree as p join pg_catalog.pg_inherits as h on h.inhparent = p.oid)
      select n.nspname as schema, t.relname as "table", k.conname as constraint,
             array(select a.attname::text
                     from pg_catalog.unnest(k.conkey) with ordinality as u(attnum, at)
                     join pg_catalog.pg_attribute as a on a.attrelid = k.conrelid and a.attnum = u.attnum
                    order by u.at) as columns,
             pg_catalog.concat(fn.nspname, '.', ft.relname) as target,
             (select coalesce(pg_catalog.sum(greatest(c.relpages, 0)), 0)
                from tree as p join pg_catalog.pg_class as c on c.oid = p.oid
               where p.root = k.conrelid)::float8 * ${pageBytes} as "sizeBytes"
        from keys as k
        join pg_catalog.pg_class as t on t.oid = k.conrelid
        join pg_catalog.pg_namespace as n on n.oid = t.relnamespace
        join pg_catalog.pg_class as ft on ft.oid = k.confrelid
        join pg_catalog.pg_namespace as fn on fn.oid = ft.relnamespace
       where ${isOurs}
       order by n.nspname, t.relname, k.conname`,
  };
}

/**
 * How many standbys receive WAL from here: what they read, idx_scan of this server does not count. Programs that stream WAL
 * without answering queries are among them. PostgreSQL 14 and later. Privilege: none. Locks: none.
 */
export async function countStandbys(db: Db): Promise<number> {
  const [row] = await db.query<{ standbys: number }>({
    text: `/* dbops:indexes.standbys */
      select pg_catalog.count(*)::int4 as standbys from pg_catalog.pg_stat_replication as r
       where not exists (select from pg_catalog.pg_replication_slots as s
                          where s.active_pid = r.pid and s.slot_type = 'logical')`,
  });
  return row?.standbys ?? 0;
}
