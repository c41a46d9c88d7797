import type { Db } from '../pg/connection.ts';
import type { RelationName } from './quote.ts';
import { readTimeoutMs } from './relations.ts';

/** A table that somebody wants detached, attached or dropped, with its parent if it is a partition. */
export interface MemberRow {
  /** Place in the list that was asked for. */
  ordinal: number;
  oid: number;
  schema: string;
  name: string;
  kind: string;
  comment: string | null;
  parentOid: number | null;
  /** The topmost table of its tree; its own oid when it is in none. dbops locks a set by it. */
  rootOid: number;
  parentSchema: string | null;
  parentName: string | null;
  isOwner: boolean;
  /** Whether this session may act as the owner of the table itself. */
  ownsTable: boolean;
  /** As pg_get_expr prints it, in UTC; null for a table that is no partition. */
  bound: string | null;
  /** The partition's constraint as an expression, its ancestors' included. */
  constraint: string | null;
  isDetachPending: boolean;
  defaultSchema: string | null;
  defaultName: string | null;
  /** How many other partitions the parent has. */
  siblings: number;
}

/**
 * The named tables and their place in a partition tree. No row for a name that does not exist. Privilege: none. Locks:
 * ACCESS SHARE for an instant.
 */
export async function listMembers(db: Db, names: RelationName[]): Promise<MemberRow[]> {
  return await db.query<MemberRow>({
    text: `/* dbops:detach.members */
      select w.ordinal::int4 as ordinal, c.oid::int8::float8 as oid, n.nspname as schema, c.relname as name,
             c.relkind::text as kind, pg_catalog.obj_description(c.oid, 'pg_class') as comment,
             p.oid::int8::float8 as "parentOid",
             coalesce(pg_catalog.pg_partition_root(c.oid)::oid, c.oid)::int8::float8 as "rootOid", pn.nspname as "parentSchema", p.relname as "parentName",
             pg_catalog.pg_has_role(coalesce(p.relowner, c.relowner), 'usage') as "isOwner",
             pg_catalog.pg_has_role(c.relowner, 'usage') as "ownsTable",
             pg_catalog.pg_get_expr(c.relpartbound, c.oid) as bound,
             case when c.relispartition then pg_catalog.pg_get_partition_constraintdef(c.oid) end as constraint,
             coalesce(i.inhdetachpending, false) as "isDetachPending",
             dn.nspname as "defaultSchema", d.relname as "defaultName",
             (select pg_catalog.count(*)::int4 from pg_catalog.pg_inherits as s
               where s.inhparent = i.inhparent and s.inhrelid <> c.oid) as siblings
        from unnest($1::text[], $2::text[]) with ordinality as w(schema, name, ordinal)
        join pg_catalog.pg_namespace as n on n.nspname = w.schema
        join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = w.name and c.relkind in ('r', 'p', 'f')
        left join pg_catalog.pg_inherits as i on i.inhrelid = c.oid and c.relispartition
        left join pg_catalog.pg_class as p on p.oid = i.inhparent
        left join pg_catalog.pg_namespace as pn on pn.oid = p.relnamespace
        left join pg_catalog.pg_partitioned_table as t on t.partrelid = p.oid
        left join pg_catalog.pg_class as d on d.oid = t.partdefid and d.oid <> c.oid
        left join pg_catalog.pg_namespace as dn on dn.oid = d.relnamespace
       order by w.ordinal`,
    values: [names.map((item) => item.schema), names.map((item) => item.name)],
  });
}

/** Whether a concurrent detach of this table was begun and not finished. Privilege: none. Locks: none. */
export async function isDetachPending(db: Db, oid: number): Promise<boolean> {
  const [row] = await db.query<{ pending: boolean }>({
    text: `/* dbops:detach.pending */
      select i.inhdetachpending as pending from pg_catalog.pg_inherits as i where i.inhrelid = $1::oid`,
    values: [oid],
  });
  return row?.pending === true;
}

/** Rows of another table that point into a partition through a foreign key. */
export interface ReferenceRow {
  constraint: string;
  schema: string;
  table: string;
}

/** Foreign keys of other tables that reference the partition's parent, by any level. */
export interface IncomingKeyRow extends ReferenceRow {
  columns: string[];
  referencedColumns: string[];
}

/**
 * Foreign keys of other tables that reference the given partitioned table or an ancestor of it. Privilege: none. Locks:
 * none.
 */
export async function listIncomingKeys(db: Db, parentOid: number): Promise<IncomingKeyRow[]> {
  return await db.query<IncomingKeyRow>({
    text: `/* dbops:detach.incoming-keys */
      select k.conname as constraint, n.nspname as schema, c.relname as "table",
             (select pg_catalog.array_agg(a.attname::text order by x.place)
                from pg_catalog.unnest(k.conkey) with ordinality as x(number, place)
                join pg_catalog.pg_attribute as a on a.attrelid = k.conrelid and a.attnum = x.number) as columns,
             (select pg_catalog.array_agg(a.attname::text order by x.place)
                from pg_catalog.unnest(k.confkey) with ordinality as x(number, place)
                join pg_catalog.pg_attribute as a on a.attrelid = k.confrelid and a.attnum = x.number)
               as "referencedColumns"
        from pg_catalog.pg_constraint as k
        join pg_catalog.pg_class as c on c.oid = k.conrelid
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where k.contype = 'f' and k.conparentid = 0
         and (k.confrelid = $1::oid
              or k.confrelid in (select a.relid::oid from pg_catalog.pg_partition_ancestors($1::oid) as a))
       order by k.conname`,
    values: [parentOid],
  });
}

/**
 * Whether any row of a referencing table points at a row of the partition. Quoted names and columns come from ident().
 * Reads both tables, for a minute at most. Privilege: SELECT on both. Locks: ACCESS SHARE.
 */
export async function hasReferences(
  db: Db,
  referencing: { table: string; columns: string[] },
  partition: { table: string; columns: string[] },
): Promise<boolean> {
  const join = referencing.columns
    .map((column, index) => `r.${column} = p.${partition.columns[index] ?? ''}`)
    .join(' and ');
  const [row] = await db.query<{ found: boolean }>({
    text: `/* dbops:detach.has-references */
      select exists (select from ${referencing.table} as r join only ${partition.table} as p on ${join}) as found`,
    timeoutMs: readTimeoutMs,
  });
  return row?.found === true;
}

/** A validated CHECK of a table, as PostgreSQL prints it in UTC. */
export async function listValidChecks(db: Db, oid: number): Promise<{ name: string; definition: string }[]> {
  return await db.query({
    text: `/* dbops:detach.valid-checks */
      select k.conname as name, pg_catalog.pg_get_constraintdef(k.oid) as definition
        from pg_catalog.pg_constraint as k
       where k.contype = 'c' and k.convalidated and k.conrelid = $1::oid
       order by k.conname`,
    values: [oid],
  });
}
