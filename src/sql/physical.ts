import type { Db } from '../pg/connection.ts';

/** What a base backup needs to know of its cluster. */
export interface ClusterFacts {
  /** Whether the role may start a walsender. */
  canReplicate: boolean;
  /** A role that only a managed service makes, such as rds_superuser; such a service gives no files of the cluster away. */
  managedBy: string | null;
  walLevel: string;
  archiveMode: string;
  /** Null before PostgreSQL 17. */
  summarizeWal: string | null;
  walSegmentBytes: number;
  dataChecksums: boolean;
  maxWalSenders: number;
  /** The server's clock. */
  now: Date;
}

/**
 * Whether and how the files of this cluster can be had. Privilege: none; everybody may read pg_roles and these settings.
 * Locks: none.
 */
export async function getClusterFacts(db: Db): Promise<ClusterFacts> {
  const [row] = await db.query<ClusterFacts>({
    text: `/* dbops:physical.facts */
      select (select r.rolsuper or r.rolreplication from pg_catalog.pg_roles as r
               where r.rolname = current_user) as "canReplicate",
             (select r.rolname::text from pg_catalog.pg_roles as r
               where r.rolname in ('rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin')
               order by r.rolname limit 1) as "managedBy",
             pg_catalog.current_setting('wal_level') as "walLevel",
             pg_catalog.current_setting('archive_mode') as "archiveMode",
             pg_catalog.current_setting('summarize_wal', true) as "summarizeWal",
             (select s.setting::float8 from pg_catalog.pg_settings as s
               where s.name = 'wal_segment_size') as "walSegmentBytes",
             pg_catalog.current_setting('data_checksums') = 'on' as "dataChecksums",
             pg_catalog.current_setting('max_wal_senders')::int4 as "maxWalSenders",
             pg_catalog.clock_timestamp() as now`,
  });
  if (row === undefined) throw new Error('the server has no settings');
  return row;
}

/**
 * The settings that a recovery needs at least as large as they were, or it refuses to start.
 * https://www.postgresql.org/docs/current/hot-standby.html#HOT-STANDBY-ADMIN
 */
const recoverySettings = [
  'max_connections',
  'max_worker_processes',
  'max_wal_senders',
  'max_prepared_transactions',
  'max_locks_per_transaction',
  'wal_level',
];

/** Privilege: none. Locks: none. */
export async function getRecoverySettings(db: Db): Promise<Record<string, string>> {
  const rows = await db.query<{ name: string; setting: string }>({
    text: `/* dbops:physical.settings */
      select s.name, s.setting from pg_catalog.pg_settings as s where s.name = any($1) order by s.name`,
    values: [recoverySettings],
  });
  return Object.fromEntries(rows.map((row) => [row.name, row.setting]));
}

export interface TablespaceRow {
  oid: string;
  name: string;
  location: string;
}

/** Tablespaces outside of the data directory. Privilege: none. Locks: ACCESS SHARE on pg_tablespace. */
export async function listTablespaces(db: Db): Promise<TablespaceRow[]> {
  return await db.query<TablespaceRow>({
    text: `/* dbops:physical.tablespaces */
      select t.oid::text as oid, t.spcname::text as name, pg_catalog.pg_tablespace_location(t.oid) as location
        from pg_catalog.pg_tablespace as t
       where t.spcname not in ('pg_default', 'pg_global')
       order by t.oid`,
  });
}

export interface DatabaseSizeRow {
  name: string;
  /** Null: this role may not ask. */
  sizeBytes: number | null;
}

/**
 * Every database with its size, by size. Privilege: CONNECT on each, or pg_read_all_stats; what may not be asked is null.
 * Locks: none. Reads the directory of each database, which takes long with a hundred thousand tables.
 */
export async function listDatabaseSizes(db: Db): Promise<DatabaseSizeRow[]> {
  return await db.query<DatabaseSizeRow>({
    text: `/* dbops:physical.databases */
      select d.datname::text as name,
             case when pg_catalog.has_database_privilege(d.oid, 'connect')
                    or pg_catalog.pg_has_role('pg_read_all_stats', 'usage')
                  then pg_catalog.pg_database_size(d.oid)::float8 end as "sizeBytes"
        from pg_catalog.pg_database as d
       order by 2 desc nulls last, 1`,
  });
}

/**
 * The server's clock; on a standby no earlier than the last commit that it has replayed, which is by the primary's.
 * Privilege: none. Locks: none.
 */
export async function getServerClock(db: Db): Promise<Date> {
  const [row] = await db.query<{ now: Date }>({
    text: '/* dbops:physical.clock */ select greatest(pg_catalog.clock_timestamp(), pg_catalog.pg_last_xact_replay_timestamp()) as now',
  });
  if (row === undefined) throw new Error('the server has no clock');
  return row.now;
}

export interface ArchiverRow {
  lastArchived: string | null;
  lastArchivedAt: Date | null;
  lastFailed: string | null;
  lastFailedAt: Date | null;
}

/** What archive_command did last. Privilege: none. Locks: none. */
export async function getArchiver(db: Db): Promise<ArchiverRow> {
  const [row] = await db.query<ArchiverRow>({
    text: `/* dbops:physical.archiver */
      select a.last_archived_wal as "lastArchived", a.last_archived_time as "lastArchivedAt",
             a.last_failed_wal as "lastFailed", a.last_failed_time as "lastFailedAt"
        from pg_catalog.pg_stat_archiver as a`,
  });
  return row ?? { lastArchived: null, lastArchivedAt: null, lastFailed: null, lastFailedAt: null };
}

export interface BaseBackupProgressRow {
  phase: string;
  /** Null until the sizes were added up. */
  totalBytes: number | null;
  streamedBytes: number;
  /** The server's clock. */
  now: Date;
}

/**
 * How far a running base backup is, found by the name of its application; undefined when it has not begun or has ended.
 * Privilege: the same role, or pg_read_all_stats. Locks: none.
 */
export async function findBaseBackupProgress(
  db: Db,
  applicationName: string,
): Promise<BaseBackupProgressRow | undefined> {
  const [row] = await db.query<BaseBackupProgressRow>({
    text: `/* dbops:physical.progress */
      select p.phase, p.backup_total::float8 as "totalBytes", p.backup_streamed::float8 as "streamedBytes",
             pg_catalog.clock_timestamp() as now
        from pg_catalog.pg_stat_progress_basebackup as p
        join pg_catalog.pg_stat_activity as a on a.pid = p.pid
       where a.application_name = $1`,
    values: [applicationName],
  });
  return row;
}

/**
 * Where the summaries of WAL begin that the server has of a timeline, oldest first. PostgreSQL 17. Privilege: none.
 * Locks: none.
 */
export async function listSummaryStarts(db: Db, timeline: number): Promise<string[]> {
  const rows = await db.query<{ lsn: string }>({
    text: `/* dbops:physical.summaries */
      select s.start_lsn::text as lsn from pg_catalog.pg_available_wal_summaries() as s
       where s.tli = $1
       order by s.start_lsn`,
    values: [timeline],
  });
  return rows.map((row) => row.lsn);
}
