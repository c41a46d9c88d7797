import type { Db } from '../pg/connection.ts';
import { ident, relation, type RelationName } from './quote.ts';

/** A materialized view, with what a concurrent refresh asks of it. */
export interface ViewRow {
  schema: string;
  name: string;
  oid: number;
  isPopulated: boolean;
  /** A valid unique index on plain columns that covers all rows. */
  hasUniqueIndex: boolean;
}

/**
 * These materialized views; those that are not there have no row. What a concurrent refresh takes: is_usable_unique_index()
 * of src/backend/commands/matview.c. PostgreSQL 14 and later. Privilege: none. Locks: none.
 */
export async function listViews(db: Db, views: RelationName[]): Promise<ViewRow[]> {
  return await db.query<ViewRow>({
    text: `/* dbops:maintenance-views.list */
      select n.nspname as schema, c.relname as name, c.oid::int8::float8 as oid, c.relispopulated as "isPopulated",
             exists (select from pg_catalog.pg_index as i
                      where i.indrelid = c.oid and i.indisunique and i.indimmediate and i.indisvalid
                        and i.indpred is null and i.indexprs is null) as "hasUniqueIndex"
        from unnest($1::text[], $2::text[]) as w(schema, name)
        join pg_catalog.pg_namespace as n on n.nspname = w.schema
        join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = w.name
       where c.relkind = 'm'`,
    values: [views.map((view) => view.schema), views.map((view) => view.name)],
  });
}

/** Locks: EXCLUSIVE, which readers pass; plain: ACCESS EXCLUSIVE from beginning to end. */
export function refreshSql(view: RelationName, isConcurrent: boolean): string {
  return `/* dbops:maintenance-views.refresh */ refresh materialized view ${isConcurrent ? 'concurrently ' : ''}${relation(view)}`;
}

/** When each view was last refreshed by dbops. */
export interface RefreshedRow {
  object: string;
  at: Date;
}

/**
 * The last refresh of each view that a run of dbops tells of; none where there is no history. Privilege: SELECT on job.
 * Locks: ACCESS SHARE on job.
 */
export async function listRefreshed(db: Db, schema: string): Promise<RefreshedRow[]> {
  const [there] = await db.query<{ found: boolean }>({
    text: '/* dbops:maintenance-views.history */ select pg_catalog.to_regclass($1) is not null as found',
    values: [`${ident(schema)}.job`],
  });
  if (there?.found !== true) return [];
  return await db.query<RefreshedRow>({
    text: `/* dbops:maintenance-views.refreshed */
      select pg_catalog.substr(j.name, 9) as object, j.changed_at as at
        from ${ident(schema)}.job as j where pg_catalog.starts_with(j.name, 'refresh ')`,
  });
}
