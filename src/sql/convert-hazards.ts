import type { Db } from '../pg/connection.ts';

/** Of the given tables, those whose policies hide rows from this role. Privilege: none. Locks: none. */
export async function listRowSecured(db: Db, oids: number[]): Promise<number[]> {
  const rows = await db.query<{ oid: number }>({
    text: `/* dbops:convert.row-secured */
      select w.oid::int8::float8 as oid from pg_catalog.unnest($1::oid[]) as w(oid)
       where pg_catalog.row_security_active(w.oid)`,
    values: [oids],
  });
  return rows.map((row) => row.oid);
}

/** Names of the subscriptions of this database that feed a table. Privilege: none. Locks: none. */
export async function listSubscriptions(db: Db, oid: number): Promise<string[]> {
  const rows = await db.query<{ name: string }>({
    text: `/* dbops:convert.subscriptions */
      select s.subname as name
        from pg_catalog.pg_subscription_rel as r
        join pg_catalog.pg_subscription as s on s.oid = r.srsubid
       where r.srrelid = $1
       order by 1`,
    values: [oid],
  });
  return rows.map((row) => row.name);
}

/** A table that a foreign key came from, by the quoted name that was kept. */
export interface ReferencingTableRow {
  /** As it was asked for. */
  table: string;
  /** Null when there is no such table any more. */
  oid: number | null;
  kind: string | null;
  isOwner: boolean;
}

/** What the tables of these quoted names are now: a row for each name. Privilege: none. Locks: none. */
export async function listReferencingTables(db: Db, quotedNames: string[]): Promise<ReferencingTableRow[]> {
  if (quotedNames.length === 0) return [];
  return await db.query<ReferencingTableRow>({
    text: `/* dbops:convert.referencing-tables */
      select w.name as "table", c.oid::int8::float8 as oid, c.relkind::text as kind,
             coalesce(pg_catalog.pg_has_role(c.relowner, 'usage'), false) as "isOwner"
        from pg_catalog.unnest($1::text[]) as w(name)
        left join pg_catalog.pg_class as c on c.oid = pg_catalog.to_regclass(w.name)::oid`,
    values: [[...new Set(quotedNames)]],
  });
}
