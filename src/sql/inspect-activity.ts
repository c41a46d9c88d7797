import type { Db } from '../pg/connection.ts';
import { askQuickly } from './quick.ts';

/** A session that does something, or keeps a transaction open. */
export interface ActivityRow {
  pid: number;
  user: string;
  database: string;
  application: string;
  client: string | null;
  backendType: string;
  state: string;
  /** "Lock: transactionid"; null when it does not wait. */
  waitsFor: string | null;
  transactionSeconds: number | null;
  /** How long the statement runs, or for how long the session has been idle in its transaction. */
  stateSeconds: number | null;
  query: string;
}

/**
 * Sessions of all databases that are not idle, the longest first, without this one. Leaves out walsenders, which are
 * always active, and what may not be seen: see countHiddenSessions. PostgreSQL 14 and later. Privilege:
 * pg_read_all_stats for the sessions of other roles. Locks: none.
 */
export async function listActivity(db: Db, limit: number): Promise<ActivityRow[]> {
  return await askQuickly<ActivityRow>(db, {
    text: `/* dbops:inspect.activity */
      select a.pid, coalesce(a.usename::text, '') as "user", coalesce(a.datname::text, '') as database,
             a.application_name as application, pg_catalog.host(a.client_addr) as client, a.backend_type as "backendType", a.state,
             case when a.wait_event_type in ('Activity', 'Client') and a.state <> 'active' then null
                  else a.wait_event_type || ': ' || a.wait_event end as "waitsFor",
             extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::float8 as "transactionSeconds",
             extract(epoch from pg_catalog.clock_timestamp()
                     - case when a.state = 'active' then a.query_start else a.state_change end)::float8 as "stateSeconds",
             pg_catalog.left(a.query, 2000) as query
        from pg_catalog.pg_stat_activity as a
       where a.pid <> pg_catalog.pg_backend_pid() and a.state <> 'idle' and a.backend_type <> 'walsender'
       order by coalesce(a.xact_start, a.query_start, a.state_change), a.pid
       limit $1`,
    values: [limit],
  });
}

/**
 * How many sessions of others this role sees by number and name only, autovacuum included. Processes without a database,
 * such as the launcher of logical replication, are always there and never do anything of interest. PostgreSQL 14 and later.
 * Privilege: none. Locks: none.
 */
export async function countHiddenSessions(db: Db): Promise<number> {
  if (db.server.isSuperuser) return 0;
  const [row] = await askQuickly<{ hidden: number }>(db, {
    text: `/* dbops:inspect.hidden */
      select pg_catalog.count(*)::int4 as hidden
        from pg_catalog.pg_stat_activity as a
       where a.datid is not null and a.backend_start is null`,
  });
  return row?.hidden ?? 0;
}

/** The sessions of one application of one role. */
export interface ConnectionGroupRow {
  database: string;
  user: string;
  application: string;
  client: string | null;
  sessions: number;
  active: number;
  idle: number;
  idleInTransaction: number;
  /** Sessions whose state this role may not see. */
  hidden: number;
  /** Of the session that has been idle for the longest. */
  longestIdleSeconds: number | null;
}

/**
 * Client sessions by database, role, application and address, most first, this one included: it takes a connection too. What
 * may not be seen counts as a client where it has a role and a database. PostgreSQL 14 and later. Privilege: pg_read_all_stats for the states and addresses of other roles. Locks: none.
 */
export async function listConnectionGroups(db: Db, limit: number): Promise<ConnectionGroupRow[]> {
  return await askQuickly<ConnectionGroupRow>(db, {
    text: `/* dbops:inspect.connections */
      select coalesce(a.datname::text, '') as database, coalesce(a.usename::text, '') as "user",
             a.application_name as application, pg_catalog.host(a.client_addr) as client,
             pg_catalog.count(*)::int4 as sessions,
             (pg_catalog.count(*) filter (where a.state in ('active', 'fastpath function call')))::int4 as active,
             (pg_catalog.count(*) filter (where a.state = 'idle'))::int4 as idle,
             (pg_catalog.count(*) filter (where a.state like 'idle in transaction%'))::int4 as "idleInTransaction",
             (pg_catalog.count(*) filter (where a.backend_start is null))::int4 as hidden,
             extract(epoch from pg_catalog.clock_timestamp()
                     - pg_catalog.min(a.state_change) filter (where a.state like 'idle%'))::float8
               as "longestIdleSeconds"
        from pg_catalog.pg_stat_activity as a
       where a.backend_type = 'client backend'
          or a.backend_start is null and a.usesysid is not null and a.datid is not null
       group by a.datname, a.usename, a.application_name, a.client_addr
       order by pg_catalog.count(*) desc, 1, 2, 3, 4
       limit $1`,
    values: [limit],
  });
}
