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

/** What a limit counts: walsenders, too, before PostgreSQL 18. */
const counts = `(a.backend_type = 'client backend'
              or a.backend_type = 'walsender'
                 and pg_catalog.current_setting('server_version_num')::int4 < 180000)`;

export interface ConnectionLimitRow {
  /** Of the role or the database. */
  name: string;
  used: number;
  limit: number;
}

/**
 * How many connections roles have of those that they are allowed. Left out: superusers, whom no limit binds, and a limit of
 * 0, which shuts a role out on purpose. Walsenders count before PostgreSQL 18. PostgreSQL 14 and later. Privilege:
 * pg_read_all_stats, without which the types of backends are null. Locks: none.
 */
export function connectionsOfRoles(): Query {
  return {
    text: `/* dbops:health.connections-of-roles */
      select r.rolname::text as name, pg_catalog.count(a.pid)::int4 as used, r.rolconnlimit as "limit"
        from pg_catalog.pg_roles as r
        left join pg_catalog.pg_stat_activity as a
          on a.usesysid = r.oid
         and ${counts}
       where r.rolconnlimit > 0 and not r.rolsuper
       group by r.rolname, r.rolconnlimit
       order by r.rolname`,
  };
}

/**
 * How many connections databases have of those that they are allowed. PostgreSQL 14 and later. Privilege:
 * pg_read_all_stats, without which the types of backends are null. Locks: none.
 */
export function connectionsOfDatabases(): Query {
  return {
    text: `/* dbops:health.connections-of-databases */
      select d.datname::text as name, pg_catalog.count(a.pid)::int4 as used, d.datconnlimit as "limit"
        from pg_catalog.pg_database as d
        left join pg_catalog.pg_stat_activity as a
          on a.datid = d.oid
         and ${counts}
       where d.datconnlimit > 0
       group by d.datname, d.datconnlimit
       order by d.datname`,
  };
}
