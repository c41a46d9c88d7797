import type { Db } from '../pg/connection.ts';
import { ident } from './quote.ts';
import { findStateVersion } from './state.ts';

/** running: being made; done: in its stores with its manifest; failed: its remains are removed; removed: pruned. */
export type BackupState = 'running' | 'done' | 'failed' | 'removed';

/** A backup as the ledger in the database has it; the manifest in the store has the rest. */
export interface BackupRow {
  id: string;
  kind: string;
  /** Null: the whole cluster. */
  database: string | null;
  /** The folder in each store, ending with /. */
  place: string;
  stores: string[];
  state: BackupState;
  parent: string | null;
  reason: string | null;
  storedBytes: bigint | null;
  sourceBytes: bigint | null;
  message: string | null;
  hold: string | null;
  startedAt: Date;
  finishedAt: Date | null;
  verifiedAt: Date | null;
  drilledAt: Date | null;
  drillPassed: boolean | null;
}

/** The version of the state schema that brought the table of backups. */
const backupsSince = 3;

/**
 * Backups in these states, oldest first; none where there is no state schema yet. Privilege: SELECT on the ledger.
 * Locks: ACCESS SHARE on it.
 */
export async function listBackupRows(db: Db, schema: string, states: BackupState[]): Promise<BackupRow[]> {
  if ((await findStateVersion(db, schema)) < backupsSince) return [];
  return await db.query<BackupRow>({
    text: `/* dbops:backups.list */
      select b.id, b.kind, b.database, b.place, b.stores, b.state, b.parent, b.reason,
             b.stored_bytes as "storedBytes", b.source_bytes as "sourceBytes", b.message, b.hold,
             b.started_at as "startedAt", b.finished_at as "finishedAt", b.verified_at as "verifiedAt",
             b.drilled_at as "drilledAt", b.drill_passed as "drillPassed"
        from ${ident(schema)}.backup as b
       where b.state = any($1)
       order by b.started_at, b.id`,
    values: [states],
  });
}

/** Says before a backup that it is about to be made, so that what a kill leaves in the stores is known. Privilege: INSERT. */
export async function insertBackup(
  db: Db,
  schema: string,
  row: {
    id: string;
    kind: string;
    database: string | null;
    place: string;
    stores: string[];
    reason: string | null;
    startedAt: Date;
  },
): Promise<void> {
  await db.query({
    text: `/* dbops:backups.insert */
      insert into ${ident(schema)}.backup (id, kind, database, place, stores, state, reason, started_at)
      values ($1, $2, $3, $4, $5, 'running', $6, $7)`,
    values: [row.id, row.kind, row.database, row.place, row.stores, row.reason, row.startedAt],
  });
}

/** Says that a backup is in its stores, with its manifest written. Privilege: UPDATE. */
export async function recordBackupDone(
  db: Db,
  schema: string,
  id: string,
  facts: { stores: string[]; parent: string | null; storedBytes: number; sourceBytes: number },
): Promise<void> {
  await db.query({
    text: `/* dbops:backups.done */
      update ${ident(schema)}.backup
         set state = 'done', stores = $2, parent = $3, stored_bytes = $4, source_bytes = $5,
             finished_at = pg_catalog.clock_timestamp(), changed_at = pg_catalog.clock_timestamp()
       where id = $1`,
    values: [id, facts.stores, facts.parent, facts.storedBytes, facts.sourceBytes],
  });
}

/** Moves a backup to another state. Privilege: UPDATE. */
export async function recordBackupState(
  db: Db,
  schema: string,
  id: string,
  state: BackupState,
  message: string | null,
): Promise<void> {
  await db.query({
    text: `/* dbops:backups.state */
      update ${ident(schema)}.backup
         set state = $2, message = $3, changed_at = pg_catalog.clock_timestamp()
       where id = $1`,
    values: [id, state, message],
  });
}

/**
 * Size of all databases of the cluster, in bytes. Those that the role may not connect to are left out, unless it is a
 * member of pg_read_all_stats. Privilege: CONNECT. Locks: none.
 */
export async function getClusterBytes(db: Db): Promise<number> {
  const [row] = await db.query<{ bytes: number }>({
    text: `/* dbops:backups.cluster_bytes */
      select coalesce(pg_catalog.sum(pg_catalog.pg_database_size(d.oid)), 0)::float8 as bytes
        from pg_catalog.pg_database as d
       where pg_catalog.has_database_privilege(d.oid, 'connect')
          or pg_catalog.pg_has_role('pg_read_all_stats', 'usage')`,
    values: [],
  });
  return row?.bytes ?? 0;
}
