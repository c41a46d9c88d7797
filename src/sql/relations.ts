import type { Db } from '../pg/connection.ts';
import type { RelationName } from './quote.ts';

/** A relation that stands where another is wanted, or that carries a marker of ours. */
export interface RelationRow {
  oid: number;
  schema: string;
  name: string;
  kind: string;
  isPartition: boolean;
  comment: string | null;
}

const columns = `c.oid::int8::float8 as oid, n.nspname as schema, c.relname as name, c.relkind::text as kind,
             c.relispartition as "isPartition", pg_catalog.obj_description(c.oid, 'pg_class') as comment`;

/** Which relations have one of these names. Privilege: none. Locks: none. */
export async function listRelationsNamed(db: Db, names: RelationName[]): Promise<RelationRow[]> {
  if (names.length === 0) return [];
  return await db.query<RelationRow>({
    text: `/* dbops:relations.named */
      select ${columns}
        from unnest($1::text[], $2::text[]) as w(schema, name)
        join pg_catalog.pg_namespace as n on n.nspname = w.schema
        join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = w.name`,
    values: [names.map((item) => item.schema), names.map((item) => item.name)],
  });
}

/** Tables whose comment begins with a marker of ours. Privilege: none. Locks: none. */
export async function listMarkedTables(db: Db, marker: string): Promise<RelationRow[]> {
  return await db.query<RelationRow>({
    text: `/* dbops:relations.marked */
      select ${columns}
        from pg_catalog.pg_description as d
        join pg_catalog.pg_class as c on c.oid = d.objoid and c.relkind in ('r', 'p')
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objsubid = 0
         and pg_catalog.starts_with(d.description, $1)
       order by n.nspname, c.relname`,
    values: [marker],
  });
}

/** A constraint that dbops added for a while and marked by its comment. */
export interface MarkedConstraintRow {
  tableOid: number;
  schema: string;
  table: string;
  constraint: string;
  comment: string;
}

/** Constraints whose comment begins with a marker of ours. Privilege: none. Locks: none. */
export async function listMarkedConstraints(db: Db, marker: string): Promise<MarkedConstraintRow[]> {
  return await db.query<MarkedConstraintRow>({
    text: `/* dbops:relations.marked-constraints */
      select c.oid::int8::float8 as "tableOid", n.nspname as schema, c.relname as "table",
             k.conname as constraint, d.description as comment
        from pg_catalog.pg_description as d
        join pg_catalog.pg_constraint as k on k.oid = d.objoid
        join pg_catalog.pg_class as c on c.oid = k.conrelid
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where d.classoid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
         and pg_catalog.starts_with(d.description, $1)
       order by n.nspname, c.relname, k.conname`,
    values: [marker],
  });
}

/** What a look into a table may take; it is an answer that is wanted, not a scan of hours. */
export const readTimeoutMs = 60_000;

/** Whether a table holds any row. Privilege: SELECT. Locks: ACCESS SHARE. */
export async function hasRows(db: Db, quotedTable: string): Promise<boolean> {
  const [row] = await db.query<{ found: boolean }>({
    text: `/* dbops:relations.has-rows */ select exists (select from only ${quotedTable}) as found`,
    timeoutMs: readTimeoutMs,
  });
  return row?.found === true;
}

/** How many rows of a table have a key in a range; ends are literals made by the caller. Privilege: SELECT. */
export async function countInRange(
  db: Db,
  quotedTable: string,
  quotedKey: string,
  fromLiteral: string,
  toLiteral: string,
): Promise<number> {
  const [row] = await db.query<{ rows: bigint }>({
    text: `/* dbops:relations.count-in-range */
      select pg_catalog.count(*) as rows from only ${quotedTable}
       where ${quotedKey} >= ${fromLiteral} and ${quotedKey} < ${toLiteral}`,
    timeoutMs: readTimeoutMs,
  });
  return Number(row?.rows ?? 0n);
}
