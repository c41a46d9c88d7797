import type { Query } from '../pg/connection.ts';

/** What pg_stat_statements needs so that it counts, and so that this role sees it. */
export interface StatementsFacts {
  /** Null where the extension is not in this database. */
  extension: { schema: string; version: string; isReachable: boolean } | null;
  /** Its files are on the server: it can be created. */
  isInstalled: boolean;
  /** Its library was loaded when the server started. */
  isLoaded: boolean;
  /** shared_preload_libraries; null where this role may not read it. */
  preloaded: string | null;
  /** compute_query_id. */
  queryIds: string;
  /** pg_stat_statements.track; null where the library is not loaded. */
  track: string | null;
}

/**
 * Whether statements are counted. Its own settings are there only when the library is loaded. PostgreSQL 14 and later.
 * Privilege: none; pg_read_all_settings for shared_preload_libraries. Locks: none beyond those on catalogs.
 */
export function statementsFacts(): Query {
  return {
    text: `/* dbops:statements.facts */
      select (select pg_catalog.json_build_object('schema', n.nspname, 'version', e.extversion,
                       'isReachable', pg_catalog.has_schema_privilege(n.oid, 'usage'))
                from pg_catalog.pg_extension as e
                join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
               where e.extname = 'pg_stat_statements') as extension,
             exists (select from pg_catalog.pg_available_extensions as v where v.name = 'pg_stat_statements')
               as "isInstalled",
             exists (select from pg_catalog.pg_settings as s where s.name = 'pg_stat_statements.max') as "isLoaded",
             (select s.setting from pg_catalog.pg_settings as s where s.name = 'shared_preload_libraries') as preloaded,
             pg_catalog.current_setting('compute_query_id') as "queryIds",
             pg_catalog.current_setting('pg_stat_statements.track', true) as track`,
  };
}
