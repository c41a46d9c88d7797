import type { Db } from '../pg/connection.ts';

/** What much writing at once may harm, at one moment. Null: there is no such thing here, or it cannot be seen. */
export interface PressureRow {
  /** The standby that is furthest behind in time, and by how many seconds. */
  replica: string | null;
  replicaLagSeconds: number | null;
  /** The standby or slot that holds back most WAL. */
  slot: string | null;
  slotBacklogBytes: number | null;
  /** WAL that was written and is not archived. */
  archiveBacklogBytes: number | null;
  /** Standbys of which this role may not see how far they are. */
  hiddenReplicas: number;
}

/**
 * How far standbys, slots and the archive are behind. A standby that does not replay reports no new time, hence its
 * bytes count as a slot's do. What is archived is told by the name of the last segment (timeline, log, segment: 8 hex
 * digits each; "WAL file names" in src/include/access/xlog_internal.h). Privilege: pg_monitor (pg_read_all_stats) for
 * standbys. Locks: none. Not on a standby.
 */
export async function getPressure(db: Db): Promise<PressureRow> {
  const [row] = await db.query<PressureRow>({
    text: `/* dbops:rows-pressure.get */
      with here as (select pg_catalog.pg_current_wal_lsn() as lsn),
           replica as (
             select r.application_name as name, extract(epoch from r.replay_lag)::float8 as seconds,
                    pg_catalog.pg_wal_lsn_diff(here.lsn, r.replay_lsn)::float8 as bytes, r.state
               from pg_catalog.pg_stat_replication as r, here),
           behind as (
             select name, bytes from replica
              union all
             select 'slot ' || s.slot_name, pg_catalog.pg_wal_lsn_diff(here.lsn, s.restart_lsn)::float8
               from pg_catalog.pg_replication_slots as s, here where s.restart_lsn is not null),
           archived as (
             select coalesce(a.last_archived_wal, a.last_failed_wal) as wal,
                    case when a.last_archived_wal is null then 0 else 1 end as done
               from pg_catalog.pg_stat_archiver as a
              where pg_catalog.current_setting('archive_mode') <> 'off')
      select (select r.name from replica as r order by r.seconds desc nulls last limit 1) as replica,
             (select pg_catalog.max(r.seconds) from replica as r) as "replicaLagSeconds",
             (select b.name from behind as b order by b.bytes desc nulls last limit 1) as slot,
             (select pg_catalog.max(b.bytes) from behind as b) as "slotBacklogBytes",
             (select pg_catalog.pg_wal_lsn_diff(here.lsn, '0/0')::float8
                     - (('x' || pg_catalog.substr(a.wal, 9, 8))::bit(32)::int8 * 4294967296
                        + (('x' || pg_catalog.substr(a.wal, 17, 8))::bit(32)::int8 + a.done)
                          * (select s.setting::int8 from pg_catalog.pg_settings as s where s.name = 'wal_segment_size')
                       )::float8
                from archived as a, here where a.wal ~ '^[0-9A-F]{24}') as "archiveBacklogBytes",
             (select pg_catalog.count(*)::int4 from replica as r where r.state is null) as "hiddenReplicas"`,
  });
  if (row === undefined) throw new Error('the pressure came back without a row');
  return row;
}

/** Milliseconds from a moment to the next time that a clock of a zone shows so. Privilege: none. */
export async function getTimeUntil(db: Db, now: Date, timeOfDay: string, timezone: string): Promise<number> {
  const [row] = await db.query<{ milliseconds: number }>({
    text: `/* dbops:rows-pressure.until */
      select (extract(epoch from (case when w.target > w.here then w.target else w.target + interval '1 day' end)
                                 at time zone $3 - $1::timestamptz) * 1000)::float8 as milliseconds
        from (select $1::timestamptz at time zone $3 as here,
                     pg_catalog.date_trunc('day', $1::timestamptz at time zone $3) + $2::time as target) as w`,
    values: [now.toISOString(), timeOfDay, timezone],
  });
  return row?.milliseconds ?? 0;
}
