import type { Query } from '../pg/connection.ts';

export interface ConnectionsRow {
  used: number;
  active: number;
  idle: number;
  idleInTransaction: number;
  /** max_connections without those that are kept for superusers. */
  available: number;
}

/**
 * How many of the connections that ordinary roles can have are taken. Walsenders and background processes have slots of
 * their own. PostgreSQL 14 and later. Privilege: pg_read_all_stats, without which the states of others are null. Locks: none.
 */
export function connectionsUsed(): Query {
  return {
    text: `/* dbops:health.connections */
      select pg_catalog.count(*)::int4 as used,
             (pg_catalog.count(*) filter (where a.state = 'active'))::int4 as active,
             (pg_catalog.count(*) filter (where a.state = 'idle'))::int4 as idle,
             (pg_catalog.count(*) filter (where a.state like 'idle in transaction%'))::int4 as "idleInTransaction",
             pg_catalog.current_setting('max_connections')::int4
               - pg_catalog.current_setting('superuser_reserved_connections')::int4
               - coalesce(pg_catalog.current_setting('reserved_connections', true), '0')::int4 as available
        from pg_catalog.pg_stat_activity as a
       where a.backend_type = 'client backend'`,
  };
}
