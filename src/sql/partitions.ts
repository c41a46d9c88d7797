import type { Db } from '../pg/connection.ts';
import { relation } from './quote.ts';

/** A relation that the configuration names, as the catalog knows it. */
export interface ConfiguredTableRow {
  /** Place in the list that was asked for. */
  ordinal: number;
  /** Null when there is no such relation. */
  oid: number | null;
  /** pg_class.relkind: p is a partitioned table. */
  kind: string | null;
}

/**
 * Which of the named relations exist and what they are. Leaves out nothing: a row for each name asked. PostgreSQL 14 and
 * later. Privilege: none. Locks: none.
 */
export async function listConfiguredTables(
  db: Db,
  names: { schema: string; name: string }[],
): Promise<ConfiguredTableRow[]> {
  return await db.query<ConfiguredTableRow>({
    text: `/* dbops:partitions.configured */
      select w.ordinal::int4 as ordinal, c.oid::int8::float8 as oid, c.relkind::text as kind
        from unnest($1::text[], $2::text[]) with ordinality as w(schema, name, ordinal)
        left join pg_catalog.pg_namespace as n on n.nspname = w.schema
        left join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = w.name
       order by w.ordinal`,
    values: [names.map((item) => item.schema), names.map((item) => item.name)],
  });
}

/** A partitioned table: a root or a branch of a sub-partitioned set. */
export interface PartitionedTableRow {
  oid: number;
  schema: string;
  name: string;
  /** The topmost ancestor; the table itself when it has none. */
  rootOid: number;
  /** Null for a root. */
  parentOid: number | null;
  strategy: 'r' | 'l' | 'h';
  keyColumns: number;
  /** The first key column; null when the key is an expression. */
  key: string | null;
  /** pg_type.typname of the key, domains resolved. */
  keyType: string | null;
  keyIsNotNull: boolean;
  keyNumber: number;
  /** Its own bound, for a branch. */
  bound: string | null;
}

/**
 * Every partitioned table at or below the given ones (oids or names); with `null`, every one of the database. A name
 * that is no partitioned table gives no row. PostgreSQL 14 and later. Privilege: none. Locks: none.
 */
export async function listPartitionedTables(
  db: Db,
  roots: number[] | { schema: string; name: string }[] | null,
): Promise<PartitionedTableRow[]> {
  const oids = roots?.filter((root) => typeof root === 'number') ?? [];
  const names = roots?.filter((root) => typeof root !== 'number') ?? [];
  return await db.query<PartitionedTableRow>({
    // Begins at pg_partitioned_table, which is small, and not at pg_class: a start with nothing to do waits for this.
    text: `/* dbops:partitions.tables */
      with wanted as materialized (
        select $1::oid[] || array(select pg_catalog.to_regclass(w.name)::oid
                                    from pg_catalog.unnest($2::text[]) as w(name)) as oids)
      select c.oid::int8::float8 as oid, n.nspname as schema, c.relname as name,
             tree.root::int8::float8 as "rootOid",
             (select i.inhparent::int8::float8 from pg_catalog.pg_inherits as i
               where i.inhrelid = c.oid and c.oid <> tree.root) as "parentOid",
             p.partstrat::text as strategy, p.partnatts::int4 as "keyColumns",
             a.attname as key,
             coalesce((select b.typname from pg_catalog.pg_type as b where b.oid = t.typbasetype), t.typname)
               as "keyType",
             coalesce(a.attnotnull, false) as "keyIsNotNull", coalesce(a.attnum, 0)::int4 as "keyNumber",
             case when c.relispartition then pg_catalog.pg_get_expr(c.relpartbound, 0) end as bound
        from pg_catalog.pg_partitioned_table as p
       cross join lateral (
             select r.relid::oid as root from pg_catalog.pg_partition_ancestors(p.partrelid) as r
              where case when $3 then r.relid::oid = pg_catalog.pg_partition_root(p.partrelid)::oid
                         else r.relid::oid = any ((select w.oids from wanted as w)::oid[]) end) as tree
        join pg_catalog.pg_class as c on c.oid = p.partrelid
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        left join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum = p.partattrs[0] and a.attnum > 0
        left join pg_catalog.pg_type as t on t.oid = a.atttypid
       order by n.nspname, c.relname`,
    values: [oids, names.map(relation), roots === null],
  });
}

/** One partition of one parent. */
export interface PartitionRow {
  oid: number;
  parentOid: number;
  schema: string;
  name: string;
  /** r table, p partitioned, f foreign table. */
  kind: string;
  bound: string;
  /** A concurrent detach was begun and not finished. */
  isDetachPending: boolean;
}

/**
 * The partitions of the given parents, their bounds as text in this session's time zone (UTC). Leaves out grandchildren.
 * PostgreSQL 14 and later. Privilege: none. Locks: none: a bound names no column, so pg_get_expr is given no relation,
 * which it would open (and on a table held in ACCESS EXCLUSIVE wait for) one by one.
 */
export async function listPartitions(db: Db, parentOids: number[]): Promise<PartitionRow[]> {
  return await db.query<PartitionRow>({
    text: `/* dbops:partitions.list */
      select c.oid::int8::float8 as oid, i.inhparent::int8::float8 as "parentOid",
             n.nspname as schema, c.relname as name, c.relkind::text as kind,
             coalesce(pg_catalog.pg_get_expr(c.relpartbound, 0), '') as bound,
             i.inhdetachpending as "isDetachPending"
        from pg_catalog.pg_inherits as i
        join pg_catalog.pg_class as c on c.oid = i.inhrelid
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where i.inhparent = any ($1::oid[])`,
    values: [parentOids],
  });
}

/** Size and rows of a partition. */
export interface PartitionSizeRow {
  oid: number;
  /** Planner's estimate; null when the table has pages and was never analyzed or vacuumed. */
  rowEstimate: number | null;
  /** Table with its TOAST and indexes; null while somebody holds it in ACCESS EXCLUSIVE. */
  sizeBytes: number | null;
}

/**
 * Sizes and estimated rows of partitions. Tables that somebody holds in ACCESS EXCLUSIVE get null instead of a wait.
 * Privilege: none. Locks: ACCESS SHARE on each for an instant.
 */
export async function listPartitionSizes(db: Db, oids: number[]): Promise<PartitionSizeRow[]> {
  return await db.query<PartitionSizeRow>({
    text: `/* dbops:partitions.sizes */
      with held as materialized (
        select l.relation from pg_catalog.pg_locks as l
         where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock')
      select c.oid::int8::float8 as oid,
             case when c.reltuples >= 0 then c.reltuples::float8
                  when c.oid not in (select h.relation from held as h where h.relation is not null)
                       and pg_catalog.pg_relation_size(c.oid) = 0 then 0 end as "rowEstimate",
             case when c.oid not in (select h.relation from held as h where h.relation is not null)
                  then pg_catalog.pg_total_relation_size(c.oid)::float8 end as "sizeBytes"
        from pg_catalog.pg_class as c
       where c.oid = any ($1::oid[])`,
    values: [oids],
  });
}

/** How far the ids of a table have come. */
export interface IdPositionRow {
  oid: number;
  /** The position of the sequence behind the key, where it starts when it was never used; null when there is none. */
  position: bigint | null;
}

/**
 * The position of the sequences that feed key columns (identity, serial, or any default with nextval). Leaves out keys
 * without a sequence, and sequences that the role may not read (null). Privilege: SELECT or USAGE on the sequence.
 * Locks: none on tables.
 */
export async function listIdPositions(
  db: Db,
  keys: { oid: number; key: string }[],
): Promise<IdPositionRow[]> {
  return await db.query<IdPositionRow>({
    text: `/* dbops:partitions.id-positions */
      select w.oid::int8::float8 as oid,
             (select pg_catalog.max(case when pg_catalog.has_sequence_privilege(d.seq, 'select, usage')
                                         then coalesce(pg_catalog.pg_sequence_last_value(d.seq), v.seqstart) end)::int8
                from (select s.objid as seq
                        from pg_catalog.pg_depend as s
                        join pg_catalog.pg_class as q on q.oid = s.objid and q.relkind = 'S'
                       where s.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                         and s.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                         and s.refobjid = w.oid and s.refobjsubid = a.attnum
                       union
                      select s.refobjid
                        from pg_catalog.pg_attrdef as f
                        join pg_catalog.pg_depend as s
                          on s.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and s.objid = f.oid
                         and s.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                        join pg_catalog.pg_class as q on q.oid = s.refobjid and q.relkind = 'S'
                       where f.adrelid = w.oid and f.adnum = a.attnum) as d
                join pg_catalog.pg_sequence as v on v.seqrelid = d.seq) as position
        from unnest($1::oid[], $2::text[]) as w(oid, key)
        join pg_catalog.pg_attribute as a on a.attrelid = w.oid and a.attname = w.key`,
    values: [keys.map((item) => item.oid), keys.map((item) => item.key)],
  });
}
