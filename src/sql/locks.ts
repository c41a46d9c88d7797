import type { Db } from '../pg/connection.ts';

/** Table-level lock modes, weakest first; PostgreSQL documentation, "Explicit Locking". */
export const lockModes = [
  'ACCESS SHARE',
  'ROW SHARE',
  'ROW EXCLUSIVE',
  'SHARE UPDATE EXCLUSIVE',
  'SHARE',
  'SHARE ROW EXCLUSIVE',
  'EXCLUSIVE',
  'ACCESS EXCLUSIVE',
] as const;
export type LockMode = (typeof lockModes)[number];

/** Which modes each mode conflicts with; table 13.2 of the documentation. */
const conflicts: Record<LockMode, readonly LockMode[]> = {
  'ACCESS SHARE': ['ACCESS EXCLUSIVE'],
  'ROW SHARE': ['EXCLUSIVE', 'ACCESS EXCLUSIVE'],
  'ROW EXCLUSIVE': ['SHARE', 'SHARE ROW EXCLUSIVE', 'EXCLUSIVE', 'ACCESS EXCLUSIVE'],
  'SHARE UPDATE EXCLUSIVE': lockModes.slice(3),
  SHARE: ['ROW EXCLUSIVE', 'SHARE UPDATE EXCLUSIVE', 'SHARE ROW EXCLUSIVE', 'EXCLUSIVE', 'ACCESS EXCLUSIVE'],
  'SHARE ROW EXCLUSIVE': lockModes.slice(2),
  EXCLUSIVE: lockModes.slice(1),
  'ACCESS EXCLUSIVE': lockModes,
};

/** pg_locks writes modes as AccessShareLock. */
function catalogName(mode: LockMode): string {
  return `${mode
    .split(' ')
    .map((word) => word.slice(0, 1) + word.slice(1).toLowerCase())
    .join('')}Lock`;
}

/** A lock that a statement of ours needs. */
export interface LockNeed {
  /** Quoted as for SQL, e.g. public.orders. */
  table: string;
  mode: LockMode;
}

/** A session that holds, or waits for, a lock that ours conflicts with. */
export interface BlockerRow {
  pid: number;
  user: string;
  application: string;
  client: string | null;
  state: string | null;
  backendType: string;
  table: string;
  mode: string;
  granted: boolean;
  transactionAgeSeconds: number | null;
  query: string;
  isAutovacuum: boolean;
  isWraparoundVacuum: boolean;
}

/**
 * Which other sessions hold or wait for a lock that conflicts with what we need. Answers from pg_locks at this moment;
 * prepared transactions show with pid 0. Leaves out fast-path locks of none: pg_locks shows those as well.
 * Privilege: without pg_read_all_stats the query text of other users reads "<insufficient privilege>".
 * Locks: none on tables. PostgreSQL 14 and later.
 */
export async function listBlockers(db: Db, needs: LockNeed[]): Promise<BlockerRow[]> {
  const pairs = needs.flatMap((need) =>
    conflicts[need.mode].map((mode) => ({ table: need.table, mode: catalogName(mode) })),
  );
  if (pairs.length === 0) return [];
  return await db.query<BlockerRow>({
    text: `/* dbops:locks.blockers */
      select distinct on (l.pid)
             coalesce(l.pid, 0) as pid, coalesce(a.usename::text, '') as "user",
             coalesce(a.application_name, '') as application, a.client_addr::text as client, a.state,
             case when l.pid is null then 'prepared transaction'
                  else coalesce(a.backend_type, 'unknown without pg_read_all_stats') end as "backendType",
             w."table", l.mode, l.granted,
             extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::float8 as "transactionAgeSeconds",
             coalesce(pg_catalog.left(a.query, 200), '') as query,
             coalesce(a.backend_type = 'autovacuum worker', false) as "isAutovacuum",
             coalesce(a.backend_type = 'autovacuum worker' and a.query like '%to prevent wraparound%', false)
               as "isWraparoundVacuum"
        from unnest($1::text[], $2::text[]) as w("table", mode)
        join pg_catalog.pg_locks as l
          on l.locktype = 'relation' and l.relation = pg_catalog.to_regclass(w."table") and l.mode = w.mode
         and l.database = (select d.oid from pg_catalog.pg_database as d
                            where d.datname = pg_catalog.current_database())
        left join pg_catalog.pg_stat_activity as a on a.pid = l.pid
       where l.pid is distinct from pg_catalog.pg_backend_pid()
       order by l.pid, l.granted desc`,
    values: [pairs.map((pair) => pair.table), pairs.map((pair) => pair.mode)],
  });
}

/** A session that waits for a lock which this one holds. */
export interface WaiterRow {
  pid: number;
  user: string;
  query: string;
}

/** Who waits for this session, asked before it commits. Privilege: pg_read_all_stats to see queries of others. */
export async function listWaiters(db: Db): Promise<WaiterRow[]> {
  return await db.query<WaiterRow>({
    text: `/* dbops:locks.waiters */
      select distinct l.pid, coalesce(a.usename::text, '') as "user", coalesce(pg_catalog.left(a.query, 200), '') as query
        from pg_catalog.pg_locks as l
        left join pg_catalog.pg_stat_activity as a on a.pid = l.pid
       where not l.granted and pg_catalog.pg_backend_pid() = any (pg_catalog.pg_blocking_pids(l.pid))`,
  });
}
