import type { Query } from '../pg/connection.ts';

export interface ArchivingRow {
  /** off, on or always. */
  mode: string;
  isStandby: boolean;
  /** Null where it may not be read. */
  command: string | null;
  /** Null before PostgreSQL 15, and where it may not be read. */
  library: string | null;
  lastArchived: string | null;
  lastArchivedAt: Date | null;
  lastFailed: string | null;
  lastFailedAt: Date | null;
  failedCount: number;
  /** Who asks. */
  role: string;
}

/**
 * What becomes of the WAL of this server. PostgreSQL 14 and later. Privilege: none; where the commands are kept from
 * everybody, pg_read_all_settings shows them. Locks: none.
 */
export function archivingState(): Query {
  return {
    text: `/* dbops:health.archiving */
      select pg_catalog.current_setting('archive_mode') as mode,
             pg_catalog.pg_is_in_recovery() as "isStandby",
             (select s.setting from pg_catalog.pg_settings as s where s.name = 'archive_command') as command,
             (select s.setting from pg_catalog.pg_settings as s where s.name = 'archive_library') as library,
             a.last_archived_wal as "lastArchived", a.last_archived_time as "lastArchivedAt",
             a.last_failed_wal as "lastFailed", a.last_failed_time as "lastFailedAt",
             a.failed_count::float8 as "failedCount",
             current_user::text as role
        from pg_catalog.pg_stat_archiver as a`,
  };
}

export interface ArchiveBacklogRow {
  mode: string;
  isStandby: boolean;
  /** Files that are ready and not archived yet. */
  waiting: number;
  oldestSeconds: number | null;
  walSegmentBytes: number;
}

/**
 * How much WAL waits for the archiver: the files in pg_wal/archive_status that end with .ready. PostgreSQL 14 and later.
 * Privilege: pg_monitor. Locks: none. Reads one directory.
 */
export function archiveBacklog(): Query {
  return {
    text: `/* dbops:health.archive_backlog */
      select pg_catalog.current_setting('archive_mode') as mode,
             pg_catalog.pg_is_in_recovery() as "isStandby",
             pg_catalog.count(*)::float8 as waiting,
             extract(epoch from pg_catalog.clock_timestamp() - pg_catalog.min(f.modification))::float8 as "oldestSeconds",
             (select s.setting::float8 from pg_catalog.pg_settings as s where s.name = 'wal_segment_size')
               as "walSegmentBytes"
        from pg_catalog.pg_ls_archive_statusdir() as f
       where f.name like '%.ready'`,
  };
}
