import type { Query } from '../pg/connection.ts';

/** What the server has counted of this database. */
export interface DatabaseCountersRow {
  blocksHit: number;
  blocksRead: number;
  temporaryFiles: number;
  temporaryBytes: number;
  deadlocks: number;
  committed: number;
  rolledBack: number;
}

/**
 * The counters of this database since its statistics were reset or the server crashed. PostgreSQL 14 and later.
 * Privilege: none. Locks: none.
 */
export function databaseCounters(): Query {
  return {
    text: `/* dbops:health.database-counters */
      select d.blks_hit::float8 as "blocksHit", d.blks_read::float8 as "blocksRead",
             d.temp_files::float8 as "temporaryFiles", d.temp_bytes::float8 as "temporaryBytes",
             d.deadlocks::float8 as deadlocks,
             d.xact_commit::float8 as committed, d.xact_rollback::float8 as "rolledBack"
        from pg_catalog.pg_stat_database as d
       where d.datname = pg_catalog.current_database()`,
  };
}

export interface CheckpointsRow {
  timed: number;
  requested: number;
  countedSince: Date;
}

/**
 * Checkpoints by what began them, since the statistics of the checkpointer were reset or the server crashed. They have a view
 * of their own from PostgreSQL 17 on. PostgreSQL 14 and later, a primary. Privilege: none. Locks: none.
 */
export function checkpointCounters(versionNum: number): Query {
  const [timed, requested, view] =
    versionNum >= 170_000
      ? ['num_timed', 'num_requested', 'pg_stat_checkpointer']
      : ['checkpoints_timed', 'checkpoints_req', 'pg_stat_bgwriter'];
  return {
    text: `/* dbops:health.checkpoints */
      select c.${timed}::float8 as timed, c.${requested}::float8 as requested, c.stats_reset as "countedSince"
        from pg_catalog.${view} as c`,
  };
}
