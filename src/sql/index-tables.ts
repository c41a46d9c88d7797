import type { Db } from '../pg/connection.ts';
import { relation, type RelationName } from './quote.ts';

/** A table that an index is for, or one of its partitions. */
export interface IndexedTableRow {
  oid: number;
  schema: string;
  name: string;
  /** relkind: r, p, m, f ... */
  kind: string;
  /** Null for the table itself. */
  parentOid: number | null;
  columns: string[];
  /** The columns by which it is partitioned, null for an expression; empty for what is not partitioned. */
  partitionKey: (string | null)[];
}

/** A table with all its partitions, parents before their children. Privilege: none. Locks: none on tables. */
export async function listIndexedTables(db: Db, table: RelationName): Promise<IndexedTableRow[]> {
  return await db.query<IndexedTableRow>({
    text: `/* dbops:index-tables.tree */
      with recursive tree(oid, parent, depth) as (
        select c.oid, null::oid, 0
          from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
         where n.nspname = $1 and c.relname = $2
        union all
        select h.inhrelid, h.inhparent, p.depth + 1
          from tree as p
          join pg_catalog.pg_class as c on c.oid = p.oid and c.relkind = 'p'
          join pg_catalog.pg_inherits as h on h.inhparent = p.oid)
      select p.oid::int8::float8 as oid, n.nspname as schema, c.relname as name, c.relkind::text as kind,
             p.parent::int8::float8 as "parentOid",
             array(select a.attname::text from pg_catalog.pg_attribute as a
                    where a.attrelid = p.oid and a.attnum > 0 and not a.attisdropped order by a.attnum) as columns,
             array(select a.attname::text
                     from pg_catalog.unnest(k.partattrs::int2[]) with ordinality as u(attnum, at)
                     left join pg_catalog.pg_attribute as a on a.attrelid = p.oid and a.attnum = u.attnum and u.attnum <> 0
                    order by u.at) as "partitionKey"
        from tree as p
        join pg_catalog.pg_class as c on c.oid = p.oid
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        left join pg_catalog.pg_partitioned_table as k on k.partrelid = p.oid
       order by p.depth, n.nspname, c.relname`,
    values: [table.schema, table.name],
  });
}

/** An index of one table. */
export interface TableIndexRow {
  oid: number;
  tableOid: number;
  schema: string;
  name: string;
  /** As CREATE INDEX has it behind USING, without storage parameters: what makes it this index and not another. */
  shape: string;
  isUnique: boolean;
  isValid: boolean;
  /** The index of the parent that it is attached to. */
  parentOid: number | null;
}

// What stands before the shape is told by its length: names may hold any text. Our temporary schema is written as pg_temp
// by newer servers, and by its own name by older ones.
const shape = `pg_catalog.regexp_replace(
               pg_catalog.substr(pg_catalog.pg_get_indexdef(i.indexrelid), 1 + pg_catalog.length(pg_catalog.concat(
                 'CREATE ', case when i.indisunique then 'UNIQUE ' end, 'INDEX ', pg_catalog.quote_ident(c.relname),
                 ' ON ', case when c.relkind = 'I' then 'ONLY ' end,
                 pg_catalog.format('%I.%I', case when pg_catalog.strpos(pg_catalog.pg_get_indexdef(i.indexrelid), ' ON pg_temp.') > 0
                                                 and n.oid = pg_catalog.pg_my_temp_schema() then 'pg_temp'
                                                else n.nspname end, t.relname), ' USING '))),
               ' WITH \\([a-z_]+=''[^'']*''(, [a-z_]+=''[^'']*'')*\\)', '')`;

/**
 * The indexes of these tables that are in use or being made. Privilege: none. Locks: ACCESS SHARE on each table for an
 * instant, which pg_get_indexdef takes.
 */
export async function listTableIndexes(db: Db, tableOids: number[]): Promise<TableIndexRow[]> {
  return await db.query<TableIndexRow>({
    text: `/* dbops:index-tables.indexes */
      select i.indexrelid::int8::float8 as oid, i.indrelid::int8::float8 as "tableOid", n.nspname as schema,
             c.relname as name, ${shape} as shape, i.indisunique as "isUnique", i.indisvalid as "isValid",
             (select h.inhparent from pg_catalog.pg_inherits as h
               where h.inhrelid = i.indexrelid)::int8::float8 as "parentOid"
        from pg_catalog.pg_index as i
        join pg_catalog.pg_class as c on c.oid = i.indexrelid
        join pg_catalog.pg_class as t on t.oid = i.indrelid
        join pg_catalog.pg_namespace as n on n.oid = t.relnamespace
       where i.indrelid = any ($1::oid[])
       order by i.indexrelid`,
    values: [tableOids],
  });
}

/** No relation of anybody's: it is in pg_temp, and gone with its transaction. */
const draft = 'dbops_index_draft';

/**
 * The shape that an index would have, as the server writes it: the index is made on an empty temporary table of the same
 * columns. Throws what the server says of wrong columns and expressions. Privilege: SELECT on the table, TEMPORARY on the
 * database. Locks: ACCESS SHARE on the table for an instant.
 */
export async function describeShape(
  db: Db,
  table: RelationName,
  { body, isUnique }: { body: string; isUnique: boolean },
): Promise<string> {
  const [row] = await db.transaction(async () => {
    await db.execute(
      `/* dbops:index-tables.draft */ create temporary table ${draft} (like ${relation(table)}) on commit drop`,
    );
    await db.execute(
      `/* dbops:index-tables.draft-index */ create ${isUnique ? 'unique ' : ''}index on pg_temp.${draft} ${body}`,
    );
    return await db.query<{ shape: string }>({
      text: `/* dbops:index-tables.shape */
        select ${shape} as shape
          from pg_catalog.pg_index as i
          join pg_catalog.pg_class as c on c.oid = i.indexrelid
          join pg_catalog.pg_class as t on t.oid = i.indrelid
          join pg_catalog.pg_namespace as n on n.oid = t.relnamespace
         where i.indrelid = 'pg_temp.${draft}'::pg_catalog.regclass`,
    });
  });
  if (row === undefined) throw new Error('the draft of an index is not there');
  return row.shape;
}

/** What is known of an index that is to be dropped. */
export interface IndexDetailRow {
  oid: number;
  tableOid: number;
  schema: string;
  name: string;
  table: string;
  definition: string;
  tablespace: string | null;
  comment: string | null;
  isPartitioned: boolean;
  isReplicaIdentity: boolean;
  isClustered: boolean;
  isValid: boolean;
  constraint: string | null;
  /** The index of the parent that it is attached to. */
  parent: string | null;
  /** A foreign key of another table that leans on it. */
  foreignKey: string | null;
  /** A foreign key of its own table that no other index serves. */
  servedKey: string | null;
  /** schema.table that this key points to. */
  servedTable: string | null;
  /** The extension that it belongs to. */
  extension: string | null;
  sizeBytes: number;
}

/** The index serves the key: without a condition, and beginning with the columns of the key in whatever order. */
const serves = (index: string) => `${index}.indisvalid and ${index}.indpred is null
                 and ${index}.indnkeyatts >= pg_catalog.cardinality(k.conkey)
                 and (${index}.indkey::int2[])[0:pg_catalog.cardinality(k.conkey) - 1] operator(pg_catalog.@>) k.conkey`;

/** Everything that a drop has to know of an index. Privilege: none. Locks: ACCESS SHARE on the table for an instant. */
export async function findIndexDetail(db: Db, index: RelationName): Promise<IndexDetailRow | undefined> {
  const [row] = await db.query<IndexDetailRow>({
    text: `/* dbops:index-tables.detail */
      select i.indexrelid::int8::float8 as oid, i.indrelid::int8::float8 as "tableOid", n.nspname as schema,
             c.relname as name, t.relname as "table", pg_catalog.pg_get_indexdef(i.indexrelid) as definition,
             s.spcname as tablespace, pg_catalog.obj_description(c.oid, 'pg_class') as comment,
             c.relkind = 'I' as "isPartitioned", i.indisreplident as "isReplicaIdentity",
             i.indisclustered as "isClustered", i.indisvalid as "isValid",
             (select k.conname from pg_catalog.pg_constraint as k
               where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x') limit 1) as constraint,
             (select pg_catalog.concat(pn.nspname, '.', pc.relname)
                from pg_catalog.pg_inherits as h
                join pg_catalog.pg_class as pc on pc.oid = h.inhparent
                join pg_catalog.pg_namespace as pn on pn.oid = pc.relnamespace
               where h.inhrelid = i.indexrelid) as parent,
             (select k.conname from pg_catalog.pg_constraint as k
               where k.conindid = i.indexrelid and k.contype = 'f' limit 1) as "foreignKey",
             served.name as "servedKey", served."table" as "servedTable",
             (select e.extname from pg_catalog.pg_depend as d
                join pg_catalog.pg_extension as e on e.oid = d.refobjid
               where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid and d.deptype = 'e'
                 and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass) as extension,
             greatest(c.relpages, 0) * pg_catalog.current_setting('block_size')::float8 as "sizeBytes"
        from pg_catalog.pg_index as i
        join pg_catalog.pg_class as c on c.oid = i.indexrelid
        join pg_catalog.pg_class as t on t.oid = i.indrelid
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        left join pg_catalog.pg_tablespace as s on s.oid = c.reltablespace
        left join lateral (
              select k.conname as name, pg_catalog.concat(fn.nspname, '.', ft.relname) as "table"
                from pg_catalog.pg_constraint as k
                join pg_catalog.pg_class as ft on ft.oid = k.confrelid
                join pg_catalog.pg_namespace as fn on fn.oid = ft.relnamespace
               where k.contype = 'f' and k.conrelid = i.indrelid and ${serves('i')}
                 and not exists (select from pg_catalog.pg_index as o
                                  where o.indrelid = i.indrelid and o.indexrelid <> i.indexrelid and ${serves('o')})
               order by k.conname limit 1) as served on true
       where n.nspname = $1 and c.relname = $2`,
    values: [index.schema, index.name],
  });
  return row;
}

/** What makes an index again. */
export interface DefinitionRow {
  oid: number;
  definition: string;
  tablespace: string | null;
  comment: string | null;
}

/**
 * The definitions of indexes. Leaves out those whose table somebody holds or awaits in ACCESS EXCLUSIVE, behind which
 * pg_get_indexdef would wait. PostgreSQL 14 and later. Privilege: none. Locks: ACCESS SHARE on the tables for an instant.
 */
export async function listDefinitions(db: Db, oids: number[]): Promise<DefinitionRow[]> {
  return await db.query<DefinitionRow>({
    text: `/* dbops:index-tables.definitions */
      with wanted as materialized (
        select i.indexrelid from pg_catalog.pg_index as i
         where i.indexrelid = any ($1::oid[])
           and not exists (select from pg_catalog.pg_locks as l
                            where l.locktype = 'relation' and l.relation = i.indrelid
                              and l.mode = 'AccessExclusiveLock'))
      select c.oid::int8::float8 as oid, pg_catalog.pg_get_indexdef(c.oid) as definition, s.spcname as tablespace,
             pg_catalog.obj_description(c.oid, 'pg_class') as comment
        from wanted as w
        join pg_catalog.pg_class as c on c.oid = w.indexrelid
        left join pg_catalog.pg_tablespace as s on s.oid = c.reltablespace`,
    values: [oids],
  });
}

/** How far the building of an index has come. */
export interface BuildProgressRow {
  /** schema.table; null where it is gone. */
  table: string | null;
  /** In the words of pg_stat_progress_create_index. */
  phase: string;
  doneBytes: number;
  totalBytes: number;
  doneRows: number;
  totalRows: number;
  /** The transaction whose end is waited for. */
  waitsFor: {
    pid: number;
    user: string | null;
    state: string | null;
    seconds: number | null;
    query: string | null;
  } | null;
}

/**
 * What the session of this process id builds at the moment. PostgreSQL 14 and later. Privilege: none for sessions of the same
 * role; pg_read_all_stats for what others do that are waited for. Locks: none.
 */
export async function findBuildProgress(db: Db, pid: number): Promise<BuildProgressRow | undefined> {
  const [row] = await db.query<BuildProgressRow>({
    text: `/* dbops:index-tables.progress */
      select n.nspname || '.' || c.relname as "table", p.phase,
             p.blocks_done * s.block_size as "doneBytes", p.blocks_total * s.block_size as "totalBytes",
             p.tuples_done::float8 as "doneRows", p.tuples_total::float8 as "totalRows",
             case when p.current_locker_pid <> 0 then pg_catalog.json_build_object(
               'pid', p.current_locker_pid, 'user', a.usename, 'state', a.state, 'query', pg_catalog.left(a.query, 200),
               'seconds', extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::float8) end as "waitsFor"
        from pg_catalog.pg_stat_progress_create_index as p
       cross join (select pg_catalog.current_setting('block_size')::float8 as block_size) as s
        left join pg_catalog.pg_class as c on c.oid = p.relid
        left join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        left join pg_catalog.pg_stat_activity as a on a.pid = p.current_locker_pid
       where p.pid = $1`,
    values: [pid],
  });
  return row;
}
