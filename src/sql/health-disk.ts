import type { Db } from '../pg/connection.ts';

export interface ServerPlacesRow {
  /** Null for a socket. */
  serverAddress: string | null;
  /** Null where it may not be read. */
  dataDirectory: string | null;
  /** Tablespaces outside of the data directory. */
  tablespaces: { name: string; location: string }[];
}

/**
 * Where the files of the server lie. Privilege: pg_read_all_settings for the data directory, which is null without it.
 * Locks: ACCESS SHARE on pg_tablespace.
 */
export async function getServerPlaces(db: Db): Promise<ServerPlacesRow> {
  const [row] = await db.query<ServerPlacesRow>({
    text: `/* dbops:health.places */
      select pg_catalog.host(pg_catalog.inet_server_addr()) as "serverAddress",
             (select s.setting from pg_catalog.pg_settings as s where s.name = 'data_directory') as "dataDirectory",
             coalesce((select pg_catalog.json_agg(pg_catalog.json_build_object(
                                'name', t.spcname, 'location', pg_catalog.pg_tablespace_location(t.oid)) order by t.spcname)
                         from pg_catalog.pg_tablespace as t
                        where t.spcname not in ('pg_default', 'pg_global')), '[]') as tablespaces`,
  });
  if (row === undefined) throw new Error('the server answered with no row');
  return row;
}
