import type { Query } from '../pg/connection.ts';

/** A session with an open transaction. */
export interface OpenTransactionRow {
  pid: number;
  user: string | null;
  application: string | null;
  database: string | null;
  state: string | null;
  /** Null where the session does not say what it does: track_activities is off for it. */
  ageSeconds: number | null;
  /** The last statement, cut short. */
  query: string;
}

/** What the questions about open transactions show of each. */
const openTransaction = `a.pid, a.usename::text as "user", a.application_name as application,
             a.datname::text as database, a.state, pg_catalog.left(a.query, 200) as query`;

/**
 * Sessions with an open transaction by its age, oldest first, without our own. Left out: autovacuum workers and walsenders,
 * which are theirs to be long. PostgreSQL 14 and later. Privilege: pg_read_all_stats, without which the sessions of others
 * show no transaction. Locks: none.
 */
export function openTransactions(): Query {
  return {
    text: `/* dbops:health.transactions */
      select ${openTransaction},
             case when a.xact_start is not null
                  then greatest(0, extract(epoch from pg_catalog.clock_timestamp() - a.xact_start))::float8
              end as "ageSeconds"
        from pg_catalog.pg_stat_activity as a
       where a.backend_type = 'client backend' and a.pid <> pg_catalog.pg_backend_pid()
         and (a.xact_start is not null or a.state = 'disabled')
       order by a.xact_start nulls last, a.pid`,
  };
}

/**
 * Sessions that do nothing in an open transaction by how long they have done nothing, longest first. PostgreSQL 14 and later.
 * Privilege: pg_read_all_stats, without which the states of others are null. Locks: none.
 */
export function idleTransactions(): Query {
  return {
    text: `/* dbops:health.idle-transactions */
      select ${openTransaction},
             case when a.state <> 'disabled'
                  then greatest(0, extract(epoch from pg_catalog.clock_timestamp() - a.state_change))::float8
              end as "ageSeconds"
        from pg_catalog.pg_stat_activity as a
       where a.backend_type = 'client backend' and a.pid <> pg_catalog.pg_backend_pid()
         and (a.state like 'idle in transaction%' or a.state = 'disabled')
       order by "ageSeconds" desc nulls last, a.pid`,
  };
}

export interface PreparedTransactionRow {
  gid: string;
  owner: string;
  database: string;
  ageSeconds: number;
}

/** Prepared transactions, oldest first. PostgreSQL 14 and later, a primary. Privilege: none. Locks: none. */
export function preparedTransactions(): Query {
  return {
    text: `/* dbops:health.prepared-transactions */
      select p.gid, p.owner::text as owner, p.database::text as database,
             greatest(0, extract(epoch from pg_catalog.clock_timestamp() - p.prepared))::float8 as "ageSeconds"
        from pg_catalog.pg_prepared_xacts as p
       order by p.prepared, p.gid`,
  };
}

/** Something that keeps rows from being vacuumed. */
export interface XminHolderRow {
  kind: 'session' | 'prepared transaction' | 'slot' | 'standby';
  /** Of a session: role/application/process id. */
  name: string;
  pid: number | null;
  database: string | null;
  /** How many transactions have begun since the oldest that it still sees. */
  age: number;
  /** Only rows of system catalogs are kept. */
  isCatalogOnly: boolean;
}

/**
 * Who holds the xmin horizon back, oldest first: sessions (also by their own transaction id, which is in every later
 * snapshot), prepared transactions, slots and standbys with hot_standby_feedback. Left out: our own session, running VACUUMs,
 * which the horizon leaves out too, and slots that have been invalidated. PostgreSQL 14 and later. Privilege:
 * pg_read_all_stats, without which the xmin of others is null. Locks: none.
 */
export function xminHolders(): Query {
  return {
    text: `/* dbops:health.xmin-holders */
      select h.kind, h.name, h.pid, h.database::text as database, h.age::float8 as age, h."isCatalogOnly"
        from (select case a.backend_type when 'walsender' then 'standby' else 'session' end as kind,
                     case a.backend_type when 'walsender' then a.application_name
                          else pg_catalog.concat(coalesce(a.usename, a.backend_type), '/', a.application_name, '/', a.pid)
                      end as name,
                     a.pid, a.datname as database,
                     greatest(pg_catalog.age(a.backend_xid), pg_catalog.age(a.backend_xmin)) as age,
                     false as "isCatalogOnly"
                from pg_catalog.pg_stat_activity as a
               where a.pid <> pg_catalog.pg_backend_pid()
                 and not exists (select from pg_catalog.pg_stat_progress_vacuum as v where v.pid = a.pid)
               union all
              select 'prepared transaction', p.gid, null, p.database, pg_catalog.age(p.transaction), false
                from pg_catalog.pg_prepared_xacts as p
               union all
              select 'slot', s.slot_name, s.active_pid, s.database,
                     greatest(pg_catalog.age(s.xmin), pg_catalog.age(s.catalog_xmin)),
                     coalesce(pg_catalog.age(s.xmin) < pg_catalog.age(s.catalog_xmin), true)
                from pg_catalog.pg_replication_slots as s
               where s.wal_status is distinct from 'lost') as h
       where h.age is not null
       order by h.age desc, h.name`,
  };
}
