import type { Query } from '../pg/connection.ts';

/** A session that waits for a lock, or that others wait for. */
export interface LockSessionRow {
  pid: number;
  user: string | null;
  application: string | null;
  database: string | null;
  state: string | null;
  backendType: string | null;
  transactionSeconds: number | null;
  query: string;
  /** Whom it waits for, 0 being a prepared transaction; null where it waits for nobody. */
  blockedBy: number[] | null;
  waitedSeconds: number | null;
  /** As pg_locks has it: RowExclusiveLock. */
  mode: string | null;
  /** "table public.orders", "transactionid". */
  target: string | null;
  /** Prepared transactions that hold what it waits for. */
  preparedBy: string[] | null;
}

/**
 * Every session that waits for a lock and every one that is waited for. pg_blocking_pids knows the queue as well, which a join
 * of pg_locks with itself does not, and gives 0 for prepared transactions: those are found by their locks. The table of a row
 * lock is told from the lock that the waiter has on the row meanwhile. Only waiters are asked for, since each answer holds the
 * lock manager for a moment. PostgreSQL 14 and later (waitstart). Privilege: pg_read_all_stats, without which the statements
 * of others are hidden. Locks: none on tables.
 */
export function lockWaits(): Query {
  return {
    text: `/* dbops:health.lock-waits */
      with waits as materialized (
        select distinct on (l.pid)
               l.pid, l.locktype, l.database, l.relation, l.page, l.tuple, l.transactionid, l.classid, l.objid, l.objsubid,
               l.mode, l.waitstart, pg_catalog.pg_blocking_pids(l.pid) as blocked_by
          from pg_catalog.pg_locks as l
         where not l.granted and l.pid is not null
         order by l.pid, l.waitstart),
      prepared as (
        select w.pid, pg_catalog.array_agg(distinct p.gid) as gids
          from waits as w
          join pg_catalog.pg_locks as h
            on h.pid is null and h.granted and h.locktype = w.locktype
           and (h.database, h.relation, h.page, h.tuple, h.transactionid, h.classid, h.objid, h.objsubid)
               is not distinct from
               (w.database, w.relation, w.page, w.tuple, w.transactionid, w.classid, w.objid, w.objsubid)
          join pg_catalog.pg_locks as x
            on x.pid is null and x.locktype = 'transactionid' and x.virtualtransaction = h.virtualtransaction
          join pg_catalog.pg_prepared_xacts as p on p.transaction = x.transactionid
         where 0 = any (w.blocked_by)
         group by w.pid),
      sessions as (
        select w.pid from waits as w
         union
        select b.pid from waits as w, pg_catalog.unnest(w.blocked_by) as b(pid) where b.pid <> 0)
      select s.pid, a.usename::text as "user", a.application_name as application, a.datname::text as database,
             a.state, a.backend_type as "backendType",
             extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::float8 as "transactionSeconds",
             coalesce(pg_catalog.left(a.query, 200), '') as query,
             w.blocked_by as "blockedBy",
             case when w.pid is not null then
               greatest(0, extract(epoch from pg_catalog.clock_timestamp()
                                              - coalesce(w.waitstart, pg_catalog.clock_timestamp())))::float8
              end as "waitedSeconds",
             w.mode,
             case when c.oid is not null then pg_catalog.concat('table ', n.nspname, '.', c.relname)
                  else w.locktype end as target,
             p.gids as "preparedBy"
        from sessions as s
        left join waits as w on w.pid = s.pid
        left join prepared as p on p.pid = s.pid
        left join pg_catalog.pg_stat_activity as a on a.pid = s.pid
        left join lateral (
          select t.relation from pg_catalog.pg_locks as t
           where t.pid = w.pid and t.locktype = 'tuple' and t.granted and w.locktype = 'transactionid'
             and t.database = (select d.oid from pg_catalog.pg_database as d
                                where d.datname = pg_catalog.current_database())
           limit 1) as held on true
        left join pg_catalog.pg_class as c
          on c.oid = coalesce(held.relation, w.relation)
         and (held.relation is not null
              or w.database in (0, (select d.oid from pg_catalog.pg_database as d
                                     where d.datname = pg_catalog.current_database())))
        left join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       order by s.pid`,
  };
}
