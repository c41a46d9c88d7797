import type { Db } from '../pg/connection.ts';
import { ident, relation, type RelationName } from './quote.ts';

/** A column of a table whose rows are worked on. */
export interface RowsColumn {
  name: string;
  /** As SQL writes it, with its schema where it needs one and its modifier. */
  type: string;
  /** The same without a modifier, for casts of text: "character(3)" would cut off. */
  castType: string;
  notNull: boolean;
  hasDefault: boolean;
  /** s stored, v virtual, empty when the column is not generated. */
  generated: string;
  /** a always, d by default, empty when the column is no identity. */
  identity: string;
  /** It has a collation: two texts may be equal by it and not the same. */
  isCollated: boolean;
  /** Values may be compressed or stored out of line. */
  isToasted: boolean;
}

export interface RowsTrigger {
  name: string;
  /** schema.function, as pg_proc has them. */
  calls: string;
  timing: 'before' | 'after' | 'instead of';
  level: 'row' | 'statement';
  events: ('insert' | 'update' | 'delete')[];
}

/** A unique index, with the columns that it names; expressions and conditions are told apart. */
export interface RowsUnique {
  name: string;
  isPrimary: boolean;
  columns: string[];
  /** Of columns and expressions together. */
  keys: number;
  isPartial: boolean;
  /** Its order is one of an extension or of somebody's own: operators outside of pg_catalog. */
  hasOwnOrder: boolean;
  nullsNotDistinct: boolean;
}

/** What must be known of a table before its rows are deleted, moved or changed. */
export interface RowsTableRow extends RelationName {
  oid: number;
  /** As in pg_class.relkind. */
  kind: string;
  isSystem: boolean;
  isTemporary: boolean;
  /** A crash empties it. */
  isUnlogged: boolean;
  /** The table at the top of its partitions; itself where there is none. */
  rootOid: number;
  /** Inheritance of the old kind: rows of children are not in the table itself. */
  hasChildren: boolean;
  /** Row security would hide rows from this role. */
  isRowSecurityActive: boolean;
  /** INSERT, UPDATE or DELETE, of those that a rule rewrites. */
  ruleEvents: ('insert' | 'update' | 'delete')[];
  columns: RowsColumn[];
  triggers: RowsTrigger[];
  uniques: RowsUnique[];
  publications: { name: string; deletes: boolean; updates: boolean; inserts: boolean }[];
  /** An UPDATE of a published table needs it: a primary key, an index or FULL. */
  hasReplicaIdentity: boolean;
}

/** The events that rules of pg_class as c rewrite, as JSON. */
export const ruleEventsSql = `(select coalesce(pg_catalog.json_agg(distinct
            case r.ev_type when '2' then 'update' when '3' then 'insert' else 'delete' end), '[]')
     from pg_catalog.pg_rewrite as r
    where r.ev_class = c.oid and r.ev_type in ('2', '3', '4') and r.ev_enabled <> 'D')`;

/** The enabled triggers of pg_class as c, without those of foreign keys, as JSON. */
export const triggersSql = `(select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', t.tgname, 'calls', f.nspname || '.' || p.proname,
            'timing', case when t.tgtype::int4 & 2 > 0 then 'before'
                           when t.tgtype::int4 & 64 > 0 then 'instead of' else 'after' end,
            'level', case when t.tgtype::int4 & 1 > 0 then 'row' else 'statement' end,
            'events', pg_catalog.array_remove(array[
              case when t.tgtype::int4 & 4 > 0 then 'insert' end,
              case when t.tgtype::int4 & 8 > 0 then 'delete' end,
              case when t.tgtype::int4 & 16 > 0 then 'update' end], null)) order by t.tgname), '[]')
     from pg_catalog.pg_trigger as t
     join pg_catalog.pg_proc as p on p.oid = t.tgfoid
     join pg_catalog.pg_namespace as f on f.oid = p.pronamespace
    where t.tgrelid = c.oid and t.tgenabled in ('O', 'A')
      and not exists (select from pg_catalog.pg_constraint as k
                       where k.oid = t.tgconstraint and k.contype = 'f'))`;

/**
 * Everything about one table that decides whether and how its rows can be worked on; undefined when there is none of
 * that name. Leaves out disabled triggers and those of foreign keys (see listReferences). Partitions are asked about
 * with their ancestors' publications. Privilege: none. Locks: none. PostgreSQL 14 and later.
 */
export async function findRowsTable(db: Db, table: RelationName): Promise<RowsTableRow | undefined> {
  const nullsNotDistinct = db.server.versionNum >= 150_000 ? 'i.indnullsnotdistinct' : 'false';
  const [row] = await db.query<RowsTableRow>({
    text: `/* dbops:rows-table.find */
      select c.oid::int8::float8 as oid, n.nspname as schema, c.relname as name, c.relkind::text as kind,
             n.nspname in ('pg_catalog', 'information_schema') or n.nspname like 'pg\\_toast%' as "isSystem",
             c.relpersistence = 't' as "isTemporary", c.relpersistence = 'u' as "isUnlogged",
             coalesce(pg_catalog.pg_partition_root(c.oid)::oid, c.oid)::int8::float8 as "rootOid",
             c.relkind = 'r' and exists (select from pg_catalog.pg_inherits as h where h.inhparent = c.oid)
               as "hasChildren",
             c.relkind in ('r', 'p') and pg_catalog.row_security_active(c.oid) as "isRowSecurityActive",
             ${ruleEventsSql} as "ruleEvents",
             (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                       'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
                       'castType', pg_catalog.format_type(a.atttypid, -1), 'notNull', a.attnotnull,
                       'hasDefault', a.atthasdef and a.attgenerated = '' or a.attidentity <> '',
                       'generated', a.attgenerated, 'identity', a.attidentity, 'isCollated', a.attcollation <> 0,
                       'isToasted', a.attstorage in ('x', 'm') and a.attgenerated <> 'v') order by a.attnum), '[]')
                from pg_catalog.pg_attribute as a
               where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
             ${triggersSql} as triggers,
             (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                       'name', x.relname, 'isPrimary', i.indisprimary, 'keys', i.indnkeyatts,
                       'isPartial', i.indpred is not null, 'hasOwnOrder', exists (
                         select from pg_catalog.pg_opclass as o
                          where o.oid = any (i.indclass::oid[]) and o.opcnamespace <> 'pg_catalog'::regnamespace),
                       'nullsNotDistinct', ${nullsNotDistinct},
                       'columns', (select coalesce(pg_catalog.json_agg(a.attname order by w.place), '[]')
                                     from pg_catalog.unnest(i.indkey::int2[]) with ordinality as w(number, place)
                                     join pg_catalog.pg_attribute as a
                                       on a.attrelid = c.oid and a.attnum = w.number
                                    where w.place <= i.indnkeyatts)) order by i.indisprimary desc, x.relname), '[]')
                from pg_catalog.pg_index as i
                join pg_catalog.pg_class as x on x.oid = i.indexrelid
               where i.indrelid = c.oid and i.indisunique and i.indisvalid) as uniques,
             (select coalesce(pg_catalog.json_agg(distinct pg_catalog.jsonb_build_object(
                       'name', u.pubname, 'deletes', u.pubdelete, 'updates', u.pubupdate, 'inserts', u.pubinsert)), '[]')
                from pg_catalog.pg_publication as u
               where exists (select from pg_catalog.pg_get_publication_tables(u.pubname::text) as g
                              where g.relid = c.oid
                                 or g.relid in (select a.relid from pg_catalog.pg_partition_ancestors(c.oid) as a)
                                 or g.relid in (select a.relid from pg_catalog.pg_partition_tree(c.oid) as a)))
               as publications,
             c.relreplident = 'f' or c.relreplident in ('d', 'i') and exists (
               select from pg_catalog.pg_index as i
                where i.indrelid = c.oid
                  and case c.relreplident when 'd' then i.indisprimary else i.indisreplident end)
               as "hasReplicaIdentity"
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where n.nspname = $1 and c.relname = $2`,
    values: [table.schema, table.name],
  });
  return row;
}

/** A table that holds rows itself. */
export interface RowsLeaf extends RelationName {
  oid: number;
  /** Blocks of the heap. */
  blocks: number;
  /** Changes when the table is rewritten: places of rows then mean nothing any more. */
  file: number;
  /** Row security would hide rows from this role: a partition has its own. */
  isRowSecurityActive: boolean;
}

/**
 * The tables that hold the rows of a table, by name: its partitions at the lowest level, or itself. Privilege: none.
 * Locks: ACCESS SHARE for an instant (for the size).
 */
export async function listRowsLeaves(db: Db, oid: number): Promise<RowsLeaf[]> {
  return await db.query<RowsLeaf>({
    text: `/* dbops:rows-table.leaves */
      select c.oid::int8::float8 as oid, n.nspname as schema, c.relname as name,
             (pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8)::float8 as blocks,
             pg_catalog.pg_relation_filenode(c.oid)::int8::float8 as file,
             pg_catalog.row_security_active(c.oid) as "isRowSecurityActive"
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where c.relkind = 'r' and (c.oid = $1 or c.oid in (select p.relid from pg_catalog.pg_partition_tree($1) as p))
       order by n.nspname, c.relname`,
    values: [oid],
  });
}

/** A foreign key that points at a table, at a partitioned table above it, or at a partition of it. */
export interface ReferenceRow {
  constraint: string;
  referencing: RelationName;
  /** What it points at: the table, what it is a partition of, or a partition of it. */
  target: RelationName;
  /** It points at a partition: only the rows of that one are concerned. */
  isBelow: boolean;
  columns: string[];
  referenced: string[];
  /** a no action, r restrict, c cascade, n set null, d set default. */
  onDelete: string;
  onUpdate: string;
  /** An index of the referencing table begins with its columns: else each deleted row scans that table. */
  isIndexed: boolean;
}

/** Foreign keys that point at a table, at what it is a partition of, or at its partitions. Privilege: none. Locks: none. */
export async function listReferences(db: Db, oid: number): Promise<ReferenceRow[]> {
  return await db.query<ReferenceRow>({
    text: `/* dbops:rows-table.references */
      select k.conname as constraint, pg_catalog.json_build_object('schema', n.nspname, 'name', c.relname) as referencing,
             pg_catalog.json_build_object('schema', o.nspname, 'name', r.relname) as target,
             k.confrelid <> $1 and k.confrelid in (select p.relid from pg_catalog.pg_partition_tree($1) as p) as "isBelow",
             (select pg_catalog.json_agg(a.attname order by x.place)
                from pg_catalog.unnest(k.conkey) with ordinality as x(number, place)
                join pg_catalog.pg_attribute as a on a.attrelid = k.conrelid and a.attnum = x.number) as columns,
             (select pg_catalog.json_agg(a.attname order by x.place)
                from pg_catalog.unnest(k.confkey) with ordinality as x(number, place)
                join pg_catalog.pg_attribute as a on a.attrelid = k.confrelid and a.attnum = x.number) as referenced,
             k.confdeltype::text as "onDelete", k.confupdtype::text as "onUpdate",
             exists (select from pg_catalog.pg_index as i
                      where i.indrelid = k.conrelid and i.indisvalid and i.indpred is null
                        and (i.indkey::int2[])[0:pg_catalog.cardinality(k.conkey) - 1] @> k.conkey) as "isIndexed"
        from pg_catalog.pg_constraint as k
        join pg_catalog.pg_class as c on c.oid = k.conrelid
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        join pg_catalog.pg_class as r on r.oid = k.confrelid
        join pg_catalog.pg_namespace as o on o.oid = r.relnamespace
       where k.contype = 'f' and k.conparentid = 0
         and (k.confrelid = $1 or k.confrelid in (select a.relid from pg_catalog.pg_partition_ancestors($1) as a)
              or k.confrelid in (select p.relid from pg_catalog.pg_partition_tree($1) as p))
       order by k.conname`,
    values: [oid],
  });
}

/** Whether the server compresses long values with lz4: it is a choice of its build. Privilege: none. */
export async function hasLz4(db: Db): Promise<boolean> {
  const [row] = await db.query<{ has: boolean }>({
    text: `/* dbops:rows-table.lz4 */
      select 'lz4' = any (s.enumvals) as has from pg_catalog.pg_settings as s
       where s.name = 'default_toast_compression'`,
  });
  return row?.has === true;
}

/**
 * Whether a foreign key points at a row that fits a condition on t. May read much where few rows are pointed at, hence
 * the time limit. Privilege: SELECT on both. Locks: ACCESS SHARE. Throws statement_timeout.
 */
export async function findReferencedRow(
  db: Db,
  table: RelationName,
  reference: ReferenceRow,
  condition: string,
  timeoutMs: number,
): Promise<boolean> {
  const equal = reference.columns
    .map((column, index) => `f.${ident(column)} = t.${ident(reference.referenced[index] ?? '')}`)
    .join(' and ');
  const [row] = await db.query<{ found: boolean }>({
    text: `/* dbops:rows-table.referenced */
      select exists (select from (select t.* from ${relation(reference.isBelow ? reference.target : table)} as t where (${condition}\n)) as t
                       join ${relation(reference.referencing)} as f on ${equal}) as found`,
    timeoutMs,
  });
  return row?.found === true;
}

/**
 * Whether two rows that fit a condition would have the same values in some columns after a mask. Leaves out rows with a
 * null in them. Privilege: SELECT. Locks: ACCESS SHARE. Throws statement_timeout.
 */
export async function findDoubleAfterMask(
  db: Db,
  table: RelationName,
  columns: string[],
  set: Record<string, string>,
  condition: string,
  timeoutMs: number,
): Promise<boolean> {
  const values = columns.map((column) =>
    Object.hasOwn(set, column) ? `(${set[column] ?? ''}\n)` : `t.${ident(column)}`,
  );
  const list = values.map((value, index) => `${value} as v${String(index)}`).join(', ');
  const names = values.map((_, index) => `m.v${String(index)}`);
  const [row] = await db.query<{ found: boolean }>({
    text: `/* dbops:rows-table.double-after-mask */
      select exists (select from (select ${list} from ${relation(table)} as t where (${condition}\n)) as m
                      where ${names.map((name) => `${name} is not null`).join(' and ')}
                      group by ${names.join(', ')} having pg_catalog.count(*) > 1) as found`,
    timeoutMs,
  });
  return row?.found === true;
}
