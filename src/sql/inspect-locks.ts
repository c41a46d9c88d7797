import type { Db } from '../pg/connection.ts';
import { askQuickly } from './quick.ts';

/** A session that waits for a lock, or that others wait for. */
export interface LockSessionRow {
  /** 0 stands for prepared transactions: see listBlockingPrepared. */
  pid: number;
  user: string;
  application: string;
  client: string | null;
  state: string | null;
  transactionSeconds: number | null;
  stateSeconds: number | null;
  /** It has a transaction id: ending it rolls something back. Null where this may not be seen. */
  hasWritten: boolean | null;
  query: string;
  isHidden: boolean;
  /** Whom it waits for; empty when it does not wait. */
  blockers: number[];
  /** Null for a moment after the wait began, and when it does not wait. */
  waitSeconds: number | null;
  /** "ShareLock" and so on, as pg_locks has it. */
  waitMode: string | null;
  /** "relation", "transactionid", "tuple" ... */
  waitKind: string | null;
  /** Schema and name of the table that the wait is about, where it is known. */
  table: string | null;
}

/**
 * All sessions that wait for a lock and those that they wait for, of all databases. pg_blocking_pids knows the queue as
 * well as the holders; joins of pg_locks with itself name false ones. PostgreSQL 14 and later (waitstart). Privilege:
 * pg_read_all_stats for the queries and ages of other roles; who blocks whom is seen without. Locks: none on tables.
 */
export async function listLockSessions(db: Db): Promise<LockSessionRow[]> {
  return await askQuickly<LockSessionRow>(db, {
    text: `/* dbops:inspect.locks */
      with lock as materialized (
        select l.pid, l.locktype, l.mode, l.granted, l.database, l.relation, l.waitstart from pg_catalog.pg_locks as l),
      waiting as materialized (
        select distinct on (l.pid) l.pid, l.waitstart, l.mode, l.locktype, l.database,
               coalesce(l.relation, (select t.relation from lock as t
                                      where t.pid = l.pid and t.locktype = 'tuple' and t.granted limit 1)) as relation,
               pg_catalog.pg_blocking_pids(l.pid) as blockers
          from lock as l
         where not l.granted and l.pid is not null
         order by l.pid, l.waitstart),
      involved as (
        select w.pid from waiting as w where pg_catalog.cardinality(w.blockers) > 0
         union
        select pg_catalog.unnest(w.blockers) from waiting as w)
      select i.pid, coalesce(a.usename::text, '') as "user", coalesce(a.application_name, '') as application,
             a.client_addr::text as client, a.state,
             extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::float8 as "transactionSeconds",
             extract(epoch from pg_catalog.clock_timestamp()
                     - case when a.state = 'active' then a.query_start else a.state_change end)::float8 as "stateSeconds",
             case when a.backend_start is not null then a.backend_xid is not null end as "hasWritten",
             coalesce(pg_catalog.left(a.query, 2000), '') as query,
             i.pid <> 0 and a.backend_start is null as "isHidden",
             coalesce(w.blockers, '{}') as blockers,
             extract(epoch from pg_catalog.clock_timestamp() - w.waitstart)::float8 as "waitSeconds",
             w.mode as "waitMode", w.locktype as "waitKind",
             case when c.oid is not null then n.nspname || '.' || c.relname end as "table"
        from involved as i
        left join waiting as w on w.pid = i.pid
        left join pg_catalog.pg_stat_activity as a on a.pid = i.pid
        left join pg_catalog.pg_class as c
          on c.oid = w.relation and coalesce(w.database, (select d.oid from pg_catalog.pg_database as d
                                                           where d.datname = a.datname))
             = (select d.oid from pg_catalog.pg_database as d where d.datname = pg_catalog.current_database())
        left join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       order by w.waitstart nulls first, i.pid`,
  });
}

/** A prepared transaction that somebody waits for; it has no session. */
export interface BlockingPreparedRow {
  gid: string;
  user: string;
  database: string;
  ageSeconds: number;
  /** The session that waits. */
  waiter: number;
}

/**
 * Prepared transactions that hold what sessions wait for: pg_blocking_pids says 0 for them. Their locks are found by
 * the one on their own transaction id. PostgreSQL 14 and later. Privilege: none. Locks: none on tables.
 */
export async function listBlockingPrepared(db: Db): Promise<BlockingPreparedRow[]> {
  return await askQuickly<BlockingPreparedRow>(db, {
    text: `/* dbops:inspect.blocking-prepared */
      with lock as materialized (
        select l.pid, l.locktype, l.granted, l.database, l.relation, l.transactionid, l.virtualtransaction
          from pg_catalog.pg_locks as l)
      select distinct p.gid, p.owner::text as "user", p.database::text as database,
             extract(epoch from pg_catalog.clock_timestamp() - p.prepared)::float8 as "ageSeconds", w.pid as waiter
        from pg_catalog.pg_prepared_xacts as p
        join lock as own on own.locktype = 'transactionid' and own.transactionid = p.transaction and own.pid is null
        join lock as held on held.virtualtransaction = own.virtualtransaction and held.pid is null
        join lock as w
          on not w.granted and w.locktype = held.locktype and w.database is not distinct from held.database
         and w.relation is not distinct from held.relation
         and w.transactionid is not distinct from held.transactionid
       where 0 = any (pg_catalog.pg_blocking_pids(w.pid))
       order by p.gid, w.pid`,
  });
}
