import type { Db } from '../pg/connection.ts';

/** What several checks ask of the server, read once. */
export interface HealthFacts {
  /** Predefined roles whose rights this session has: pg_monitor, pg_read_all_stats ... */
  roles: string[];
  /** Extensions of this database, with the schema that they are in. */
  extensions: { name: string; schema: string; version: string }[];
  /**
   * Since when the statistics of this database count. After a crash the database has no reset of its own, and its counters
   * begin again with the server.
   */
  countedSince: Date | null;
  startedAt: Date;
  /** Settings by name, in their base units as pg_settings has them; null where they may not be read. */
  parameters: Record<string, string | null>;
}

/** Parameters that checks judge by. */
const parameters = ['autovacuum', 'track_counts'];

/** After a crash the database knows of no reset, and its counters are as old as the server. */
export function countedSince(facts: Pick<HealthFacts, 'countedSince' | 'startedAt'>): Date {
  return facts.countedSince ?? facts.startedAt;
}

/**
 * When all statistics last began anew, which a crash brings about: what every database shares has a time of its own each,
 * and the oldest of them is no single reset. After a shutdown they go on.
 */
export const allStatisticsSince = `(select least(a.stats_reset, b.stats_reset, w.stats_reset)
                from pg_catalog.pg_stat_archiver as a, pg_catalog.pg_stat_bgwriter as b, pg_catalog.pg_stat_wal as w)`;

/** PostgreSQL 14 and later. Privilege: none. Locks: none beyond those on catalogs. */
export async function getHealthFacts(db: Db): Promise<HealthFacts> {
  const [row] = await db.query<HealthFacts>({
    text: `/* dbops:health.facts */
      select coalesce((select pg_catalog.array_agg(r.rolname::text order by r.rolname) from pg_catalog.pg_roles as r
                        where r.rolname like 'pg\\_%' and pg_catalog.pg_has_role(r.oid, 'usage')), '{}') as roles,
             coalesce((select pg_catalog.json_agg(pg_catalog.json_build_object(
                                'name', e.extname, 'schema', n.nspname, 'version', e.extversion) order by e.extname)
                         from pg_catalog.pg_extension as e
                         join pg_catalog.pg_namespace as n on n.oid = e.extnamespace), '[]') as extensions,
             (select greatest(d.stats_reset, ${allStatisticsSince}) from pg_catalog.pg_stat_database as d
               where d.datname = pg_catalog.current_database()) as "countedSince",
             pg_catalog.pg_postmaster_start_time() as "startedAt",
             (select pg_catalog.json_object_agg(p.name, s.setting)
                from pg_catalog.unnest($1::text[]) as p(name)
                left join pg_catalog.pg_settings as s on s.name = p.name) as parameters`,
    values: [parameters],
  });
  if (row === undefined) throw new Error('the server answered with no row');
  return row;
}
