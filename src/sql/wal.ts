import type { Db } from '../pg/connection.ts';

/** The settings that decide about the archive of WAL, as the server has them now. */
export interface WalSettingsRow {
  systemIdentifier: string;
  walSegmentBytes: number;
  archiveMode: string;
  archiveCommand: string;
  /** In seconds; 0: never. */
  archiveTimeoutSeconds: number;
  restoreCommand: string;
  /** Set from PostgreSQL 15 on, where it takes the place of archive_command. */
  archiveLibrary: string;
}

/**
 * What the server is told to do with its WAL. Privilege: pg_read_all_settings for the commands, which are empty without it;
 * EXECUTE on pg_control_system(), which everybody has by default. Locks: none.
 */
export async function getWalSettings(db: Db): Promise<WalSettingsRow> {
  const [row] = await db.query<WalSettingsRow>({
    text: `/* dbops:wal.settings */
      select c.system_identifier::text as "systemIdentifier",
             (select s.setting::float8 from pg_catalog.pg_settings as s
               where s.name = 'wal_segment_size') as "walSegmentBytes",
             pg_catalog.current_setting('archive_mode') as "archiveMode",
             coalesce((select s.setting from pg_catalog.pg_settings as s
                        where s.name = 'archive_command'), '') as "archiveCommand",
             (select s.setting::float8 from pg_catalog.pg_settings as s
               where s.name = 'archive_timeout') as "archiveTimeoutSeconds",
             coalesce((select s.setting from pg_catalog.pg_settings as s
                        where s.name = 'restore_command'), '') as "restoreCommand",
             coalesce((select s.setting from pg_catalog.pg_settings as s
                        where s.name = 'archive_library'), '') as "archiveLibrary"
        from pg_catalog.pg_control_system() as c`,
  });
  if (row === undefined) throw new Error('the server has no settings');
  return row;
}

/** Where the server is in its WAL, and what the archiver says. */
export interface WalPositionRow {
  /** Of the WAL that is written, or replayed on a standby; null where there is none yet. */
  lsn: string | null;
  timeline: number;
  archivedCount: number;
  lastArchived: string | null;
  lastArchivedAt: Date | null;
  failedCount: number;
  lastFailed: string | null;
  lastFailedAt: Date | null;
  /** The server's clock. */
  now: Date;
}

/**
 * Where the server is, and how its archiver does. The timeline is that of the last checkpoint. Privilege: EXECUTE on
 * pg_control_checkpoint(), which everybody has by default. Locks: none.
 */
export async function getWalPosition(db: Db): Promise<WalPositionRow> {
  const [row] = await db.query<WalPositionRow>({
    text: `/* dbops:wal.position */
      select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
                  else pg_catalog.pg_current_wal_lsn() end::text as lsn,
             c.timeline_id as timeline,
             a.archived_count::float8 as "archivedCount", a.last_archived_wal as "lastArchived",
             a.last_archived_time as "lastArchivedAt", a.failed_count::float8 as "failedCount",
             a.last_failed_wal as "lastFailed", a.last_failed_time as "lastFailedAt",
             pg_catalog.clock_timestamp() as now
        from pg_catalog.pg_control_checkpoint() as c, pg_catalog.pg_stat_archiver as a`,
  });
  if (row === undefined) throw new Error('the server has no position');
  return row;
}
