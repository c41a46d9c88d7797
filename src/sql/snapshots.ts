import type { Db } from '../pg/connection.ts';

/** A transaction of another session that goes on reading as of a moment in the past. */
export interface SnapshotRow {
  pid: number;
  user: string;
  state: string | null;
  /** Tells a snapshot from a later one of the same session. */
  identity: string;
  transactionAgeSeconds: number;
  query: string;
}

/**
 * Transactions of this database that hold a snapshot: REPEATABLE READ and SERIALIZABLE ones, and for the time of a
 * statement the others. Leaves out a statement that is a transaction of its own, which has locked its tables already and
 * will not come to another, and autovacuum. Privilege: pg_read_all_stats to see those of other roles. Locks: none.
 */
export async function listSnapshots(db: Db): Promise<SnapshotRow[]> {
  return await db.query<SnapshotRow>({
    text: `/* dbops:snapshots.list */
      select a.pid, coalesce(a.usename::text, '') as "user", a.state,
             a.pid || ' ' || a.xact_start || ' ' || a.backend_xmin::text as identity,
             extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::float8 as "transactionAgeSeconds",
             coalesce(pg_catalog.left(a.query, 200), '') as query
        from pg_catalog.pg_stat_activity as a
       where a.datname = pg_catalog.current_database() and a.pid <> pg_catalog.pg_backend_pid()
         and a.backend_xmin is not null and a.xact_start is not null and a.leader_pid is null
         and a.backend_type = 'client backend'
         and not (a.state = 'active' and a.xact_start >= a.query_start)
       order by a.xact_start`,
  });
}

/** How many sessions of this database this role may not look into. Privilege: none. Locks: none. */
export async function countHiddenSessions(db: Db): Promise<number> {
  const [row] = await db.query<{ sessions: number }>({
    text: `/* dbops:snapshots.hidden */
      select pg_catalog.count(*)::int4 as sessions from pg_catalog.pg_stat_activity as a
       where a.datname = pg_catalog.current_database() and a.query = '<insufficient privilege>'`,
  });
  return row?.sessions ?? 0;
}
