import type { Db } from '../pg/connection.ts';

/** An extension of this database and the schema that it is in. Privilege: none. Locks: none. */
export async function findExtension(
  db: Db,
  name: string,
): Promise<{ schema: string; version: string } | undefined> {
  const [row] = await db.query<{ schema: string; version: string }>({
    text: `/* dbops:inspect.extension */
      select n.nspname as schema, e.extversion as version
        from pg_catalog.pg_extension as e
        join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
       where e.extname = $1`,
    values: [name],
  });
  return row;
}
