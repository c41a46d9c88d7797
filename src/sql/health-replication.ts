import type { Query } from '../pg/connection.ts';
import { allStatisticsSince } from './health-facts.ts';

/** Where this server is in its WAL: what it wrote, or as a standby what it received. */
const position = `case when pg_catalog.pg_is_in_recovery()
                          then greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
                          else pg_catalog.pg_current_wal_lsn() end`;

export interface StandbyRow {
  /** Of its application, with its address where several have the same. */
  name: string;
  state: string;
  syncState: string;
  lagBytes: number | null;
  /** From a commit here to its replay there, as last measured; null: not measured yet, or idle. */
  lagSeconds: number | null;
  walSegmentBytes: number;
}

/**
 * Who streams from this server, and how far behind: standbys, subscribers, receivers of WAL. Base backups are left out.
 * What only receives is judged by what it has written. PostgreSQL 14 and later. Privilege: pg_read_all_stats, without which
 * all but the pid is null. Locks: none.
 */
export function standbys(): Query {
  return {
    text: `/* dbops:health.standbys */
      select case when pg_catalog.count(*) over (partition by r.application_name) = 1 then r.application_name
                  else r.application_name || ' at ' || coalesce(pg_catalog.host(r.client_addr), 'the socket')
                       || ', pid ' || r.pid end as name,
             r.state, r.sync_state as "syncState",
             greatest(0, pg_catalog.pg_wal_lsn_diff(p.lsn, coalesce(r.replay_lsn, r.flush_lsn, r.write_lsn, r.sent_lsn)))::float8
               as "lagBytes",
             extract(epoch from coalesce(r.replay_lag, r.flush_lag, r.write_lag))::float8 as "lagSeconds",
             (select s.setting::float8 from pg_catalog.pg_settings as s where s.name = 'wal_segment_size')
               as "walSegmentBytes"
        from pg_catalog.pg_stat_replication as r,
             (select ${position} as lsn) as p
       where r.state is distinct from 'backup'
       order by 1`,
  };
}

export interface SynchronousRow {
  /** synchronous_standby_names; empty: none is waited for. */
  names: string;
  /** Standbys that commits may wait for, and that are there. */
  present: number;
}

/**
 * Which standbys commits wait for, and how many of those are there. Privilege: pg_read_all_stats. Locks: none.
 */
export function synchronousStandbys(): Query {
  return {
    text: `/* dbops:health.synchronous */
      select pg_catalog.current_setting('synchronous_standby_names') as names,
             (select pg_catalog.count(*)::int4 from pg_catalog.pg_stat_replication as r
               where r.sync_state in ('sync', 'quorum')) as present`,
  };
}

export interface RecoveryRow {
  /** Received and not replayed yet; null where nothing was ever streamed. */
  pendingBytes: number | null;
  /** Since the last commit that was replayed was made; null: none was since the start. */
  secondsSinceReplay: number | null;
  /** recovery_min_apply_delay: a delay that is wanted. */
  wantedDelaySeconds: number;
  /** Whether a process receives WAL. */
  isReceiving: boolean;
  /** Whether a primary to stream from is configured; null where that may not be read. */
  hasPrimary: boolean | null;
  /** Who asks. */
  role: string;
  /** not paused, pause requested or paused. */
  pauseState: string;
}

/**
 * How a standby does. To be asked of a standby: its functions fail on a primary. PostgreSQL 14 and later. Privilege: none;
 * pg_read_all_settings says whether there is a primary to stream from. Locks: none.
 */
export function recoveryState(): Query {
  return {
    text: `/* dbops:health.recovery */
      select greatest(0, pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_receive_lsn(),
                                                    pg_catalog.pg_last_wal_replay_lsn()))::float8 as "pendingBytes",
             greatest(0, extract(epoch from pg_catalog.clock_timestamp()
                                            - pg_catalog.pg_last_xact_replay_timestamp()))::float8 as "secondsSinceReplay",
             (select s.setting::float8 / 1000 from pg_catalog.pg_settings as s
               where s.name = 'recovery_min_apply_delay') as "wantedDelaySeconds",
             exists (select from pg_catalog.pg_stat_wal_receiver as w where w.pid is not null) as "isReceiving",
             (select s.setting <> '' from pg_catalog.pg_settings as s where s.name = 'primary_conninfo') as "hasPrimary",
             current_user::text as role,
             pg_catalog.pg_get_wal_replay_pause_state() as "pauseState"`,
  };
}

export interface ConflictsRow {
  database: string;
  conflicts: number;
  /** What they were about: "snapshot 12, lock 3". */
  kinds: string;
  /** For how long they were counted. */
  days: number;
}

/**
 * Queries that a standby cancelled because they stood in the way of replay, by database. They count since the statistics
 * were reset or the server crashed: a restart keeps them. Privilege: none. Locks: none.
 */
export function recoveryConflicts(): Query {
  return {
    text: `/* dbops:health.conflicts */
      select c.datname::text as database,
             (c.confl_tablespace + c.confl_lock + c.confl_snapshot + c.confl_bufferpin + c.confl_deadlock)::float8 as conflicts,
             (select coalesce(pg_catalog.string_agg(k.kind || ' ' || k.number, ', ' order by k.number desc), '')
                from (values ('tablespace', c.confl_tablespace), ('lock', c.confl_lock), ('snapshot', c.confl_snapshot),
                             ('buffer pin', c.confl_bufferpin), ('deadlock', c.confl_deadlock)) as k(kind, number)
               where k.number > 0) as kinds,
             (extract(epoch from pg_catalog.clock_timestamp()
                                 - coalesce(greatest(d.stats_reset, ${allStatisticsSince}),
                                            pg_catalog.pg_postmaster_start_time())) / 86400)::float8 as days
        from pg_catalog.pg_stat_database_conflicts as c
        join pg_catalog.pg_stat_database as d on d.datid = c.datid
       order by 1`,
  };
}

export interface SlotRow {
  name: string;
  /** physical or logical. */
  type: string;
  database: string | null;
  isActive: boolean;
  /** Kept in step with the primary by this standby (17): nobody reads it here. */
  isSynced: boolean;
  /** reserved, extended, unreserved or lost; null: it reserves nothing. */
  walStatus: string | null;
  retainedBytes: number | null;
  /** How much WAL may still be written before it is lost; null: any amount, or it is lost. */
  safeBytes: number | null;
  /** Null while it is read, and before PostgreSQL 17. */
  inactiveSeconds: number | null;
  /** Why it is of no use any more (17). */
  invalidReason: string | null;
  /** Whether it holds back WAL or VACUUM at all. */
  isHolding: boolean;
}

/**
 * All replication slots but temporary ones. PostgreSQL 14 and later; what a version does not have is null. Privilege: none.
 * Locks: none.
 */
export function replicationSlots(): Query {
  return {
    text: `/* dbops:health.slots */
      select s.slot_name::text as name, s.slot_type as type, s.database::text as database, s.active as "isActive",
             coalesce((j.row ->> 'synced')::bool, false) as "isSynced",
             s.wal_status as "walStatus",
             greatest(0, pg_catalog.pg_wal_lsn_diff(p.lsn, s.restart_lsn))::float8 as "retainedBytes",
             s.safe_wal_size::float8 as "safeBytes",
             extract(epoch from pg_catalog.clock_timestamp() - (j.row ->> 'inactive_since')::timestamptz)::float8
               as "inactiveSeconds",
             coalesce(j.row ->> 'invalidation_reason',
                      case when (j.row ->> 'conflicting')::bool then 'a conflict with recovery' end) as "invalidReason",
             s.restart_lsn is not null or s.xmin is not null or s.catalog_xmin is not null as "isHolding"
        from pg_catalog.pg_replication_slots as s
       cross join lateral (select pg_catalog.to_jsonb(s) as row) as j,
             (select ${position} as lsn) as p
       where not s.temporary
       order by 1`,
  };
}
