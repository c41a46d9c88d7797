import type { Query } from '../pg/connection.ts';

/** A session that waits for a lock, or that others wait for. */
export interface LockSessionRow {
  pid: number;
  user: string | null;
  application: string | null;
  database: string | null;
  client: string | null;
  backendType: string | null;
  state: string | null;
  transactionSeconds: number | null;
  stateSeconds: number | null;
  /** It has a transaction id: ending it rolls something back. Null where it has ended meanwhile. */
  hasWritten: boolean | null;
  query: string;
  /** What it does may not be seen by this role. */
  isHidden: boolean;
  /** Whom it waits for, 0 being a prepared transaction; null where it waits for nobody. */
  blockedBy: number[] | null;
  waitedSeconds: number | null;
  /** As pg_locks has it: RowExclusiveLock. */
  mode: string | null;
  /** What it waits for, in words: "table public.orders", "a row of table public.orders". */
  target: string | null;
  /** Prepared transactions that hold what it waits for. */
  preparedBy: PreparedTransaction[] | null;
}

/** A prepared transaction that somebody waits for; it has no session. */
export interface PreparedTransaction {
  gid: string;
  user: string;
  database: string;
  ageSeconds: number;
}

/** The modes that each mode of lock excludes: of prepared transactions only the locks are known, not whom they block. */
const exclusions = `(values
        ('AccessShareLock', '{AccessExclusiveLock}'::text[]),
        ('RowShareLock', '{ExclusiveLock,AccessExclusiveLock}'),
        ('RowExclusiveLock', '{ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
        ('ShareUpdateExclusiveLock',
         '{ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
        ('ShareLock',
         '{RowExclusiveLock,ShareUpdateExclusiveLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
        ('ShareRowExclusiveLock',
         '{RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
        ('ExclusiveLock',
         '{RowShareLock,RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
        ('AccessExclusiveLock',
         '{AccessShareLock,RowShareLock,RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'))`;

/** The thing that a wait is about. Only relations of this database have a name here; row locks are those of a transaction. */
const target = `case
               when c.oid is not null then pg_catalog.concat(
                 case when w.locktype in ('tuple', 'transactionid') then 'a row of '
                      when w.locktype <> 'relation' then pg_catalog.concat('the ', w.locktype, ' of ') end,
                 case c.relkind when 'i' then 'index ' when 'I' then 'index ' when 'S' then 'sequence '
                                when 'v' then 'view ' when 'm' then 'materialized view ' else 'table ' end,
                 n.nspname, '.', c.relname)
               when w.locktype in ('transactionid', 'virtualxid') then 'the end of a transaction'
               when w.locktype = 'advisory' and w.objsubid = 1
                 then pg_catalog.concat('advisory lock ', (w.classid::int8 << 32) | w.objid::int8)
               when w.locktype = 'advisory' then pg_catalog.concat('advisory lock (', w.classid, ', ', w.objid, ')')
               when w.locktype = 'relation' and w.database <> w.here
                 then pg_catalog.concat('a table of database ', a.datname)
               else w.locktype end`;

/**
 * Every session that waits for a lock and every one that is waited for, in all databases. pg_blocking_pids knows the queue as
 * well, which a join of pg_locks with itself does not. It gives 0 for prepared transactions, which are found by their locks,
 * and nobody for the startup process of a standby: what that waits for alone excludes all other locks on the table. The table
 * of a row lock is told from the lock that the waiter has on the row meanwhile. Only waiters are asked for, since each answer
 * holds the lock manager for a moment. PostgreSQL 14 and later (waitstart). Privilege: pg_read_all_stats, without which the
 * statements of others are hidden. Locks: none on tables.
 */
export function lockWaits(): Query {
  return {
    text: `/* dbops:locks.waits */
      with lock as materialized (
        select l.pid, l.locktype, l.database, l.relation, l.page, l.tuple, l.transactionid, l.classid, l.objid, l.objsubid,
               l.virtualtransaction, l.mode, l.granted, l.waitstart
          from pg_catalog.pg_locks as l),
      waits as materialized (
        select distinct on (l.pid)
               l.pid, l.locktype, l.database, l.relation, l.page, l.tuple, l.transactionid, l.classid, l.objid, l.objsubid,
               l.mode, l.waitstart, pg_catalog.pg_blocking_pids(l.pid) as known,
               (select d.oid from pg_catalog.pg_database as d where d.datname = pg_catalog.current_database()) as here
          from lock as l
         where not l.granted and l.pid is not null
         order by l.pid, l.waitstart),
      blocked as materialized (
        select w.pid,
               case when pg_catalog.cardinality(w.known) > 0
                         or w.locktype <> 'relation' or w.mode <> 'AccessExclusiveLock' then w.known
                    else array(select distinct coalesce(a.leader_pid, h.pid)
                                 from lock as h
                                 left join pg_catalog.pg_stat_activity as a on a.pid = h.pid
                                where h.granted and h.pid <> w.pid and h.locktype = 'relation'
                                  and h.database = w.database and h.relation = w.relation) end as by
          from waits as w),
      prepared as (
        select w.pid, pg_catalog.json_agg(distinct pg_catalog.jsonb_build_object(
                        'gid', p.gid, 'user', p.owner, 'database', p.database,
                        'ageSeconds', extract(epoch from pg_catalog.now() - p.prepared)::float8)) as transactions
          from waits as w
          join ${exclusions} as excludes(mode, modes) on excludes.mode = w.mode
          join lock as h
            on h.pid is null and h.granted and h.locktype = w.locktype and h.mode = any (excludes.modes)
           and (h.database, h.relation, h.page, h.tuple, h.transactionid, h.classid, h.objid, h.objsubid)
               is not distinct from
               (w.database, w.relation, w.page, w.tuple, w.transactionid, w.classid, w.objid, w.objsubid)
          join lock as x
            on x.pid is null and x.locktype = 'transactionid' and x.virtualtransaction = h.virtualtransaction
          join pg_catalog.pg_prepared_xacts as p on p.transaction = x.transactionid
         where 0 = any (w.known)
         group by w.pid),
      sessions as (
        select w.pid from waits as w
         union
        select b.pid from blocked as w, pg_catalog.unnest(w.by) as b(pid) where b.pid <> 0)
      select s.pid, a.usename::text as "user", a.application_name as application, a.datname::text as database,
             pg_catalog.host(a.client_addr) as client, a.backend_type as "backendType", a.state,
             extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::float8 as "transactionSeconds",
             extract(epoch from pg_catalog.clock_timestamp()
                     - case when a.state = 'active' then a.query_start else a.state_change end)::float8 as "stateSeconds",
             case when a.pid is not null then a.backend_xid is not null end as "hasWritten",
             coalesce(pg_catalog.left(a.query, 2000), '') as query,
             a.pid is not null and a.backend_start is null as "isHidden",
             b.by as "blockedBy",
             case when w.pid is not null then
               greatest(0, extract(epoch from pg_catalog.clock_timestamp()
                                              - coalesce(w.waitstart, pg_catalog.clock_timestamp())))::float8
              end as "waitedSeconds",
             w.mode, ${target} as target, p.transactions as "preparedBy"
        from sessions as s
        left join waits as w on w.pid = s.pid
        left join blocked as b on b.pid = s.pid
        left join prepared as p on p.pid = s.pid
        left join pg_catalog.pg_stat_activity as a on a.pid = s.pid
        left join lateral (
          select t.relation from lock as t
           where t.pid = w.pid and t.locktype = 'tuple' and t.granted and w.locktype = 'transactionid'
             and t.database = w.here
           limit 1) as held on true
        left join pg_catalog.pg_class as c
          on c.oid = coalesce(held.relation, w.relation)
         and (held.relation is not null or w.database in (0, w.here))
        left join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       order by w.waitstart nulls first, s.pid`,
  };
}
