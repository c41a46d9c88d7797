import type { Db } from '../pg/connection.ts';
import { ident, literal, literalOrNull, textArray } from './quote.ts';
import { findStateVersion } from './state.ts';

/**
 * running: being made; done: in its stores with its manifest; failed: its remains are removed; removed: pruned from its
 * stores, or, while there are stores in its row, about to be.
 */
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
  /** The tables that were asked for, as schema.table; null: all. */
  tables: string[] | null;
  /** What a restore brings back; null: not done. */
  moment: Date | null;
  /** What it needs beside its files and its parent, for people. */
  needs: string | null;
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

/** What the ledger keeps of a manifest. Sizes in bytes. */
export type BackupFacts = Pick<BackupRow, 'parent' | 'tables' | 'needs'> & {
  moment: Date;
  storedBytes: number;
  sourceBytes: number;
};

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
      select b.id, b.kind, b.database, b.place, b.stores, b.state, b.parent, b.tables, b.moment, b.needs, b.reason,
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

/** Says that a backup failed before it was begun; where there is no ledger yet, to nobody. Privilege: INSERT, SELECT. */
export async function insertFailedBackup(
  db: Db,
  schema: string,
  row: Parameters<typeof insertBackup>[2] & { message: string },
): Promise<void> {
  if ((await findStateVersion(db, schema)) < backupsSince) return;
  await db.query({
    text: `/* dbops:backups.insert_failed */
      insert into ${ident(schema)}.backup (id, kind, database, place, stores, state, reason, started_at, message)
      values ($1, $2, $3, $4, $5, 'failed', $6, $7, $8) on conflict (id) do nothing`,
    values: [row.id, row.kind, row.database, row.place, row.stores, row.reason, row.startedAt, row.message],
  });
}

/** Says that a backup is in its stores, with its manifest written. Privilege: UPDATE. */
export async function recordBackupDone(
  db: Db,
  schema: string,
  id: string,
  facts: { stores: string[] } & BackupFacts,
): Promise<void> {
  await db.query({
    text: `/* dbops:backups.done */
      update ${ident(schema)}.backup
         set state = 'done', stores = $2, parent = $3, stored_bytes = $4, source_bytes = $5,
             tables = $6, moment = $7, needs = $8, finished_at = pg_catalog.clock_timestamp(), changed_at = pg_catalog.clock_timestamp()
       where id = $1`,
    values: [
      id,
      facts.stores,
      facts.parent,
      facts.storedBytes,
      facts.sourceBytes,
      facts.tables,
      facts.moment,
      facts.needs,
    ],
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
  await db.execute(backupStateSql(schema, id, state, message));
}

/** The same, for a plan. */
export function backupStateSql(
  schema: string,
  id: string,
  state: BackupState,
  message: string | null,
): string {
  return updateSql(schema, id, `state = ${literal(state)}, message = ${literalOrNull(message)}`);
}

/** Says of a backup that still stands as being made, and that nobody makes, that it failed. Privilege: UPDATE. */
export async function recordBackupEnded(db: Db, schema: string, id: string): Promise<void> {
  await db.execute(
    `${updateSql(schema, id, `state = 'failed', message = 'the run ended without a word'`)} and state = 'running'`,
  );
}

/** In which stores a backup is. Privilege: UPDATE. */
export async function recordBackupStores(
  db: Db,
  schema: string,
  id: string,
  stores: string[],
): Promise<void> {
  await db.execute(backupStoresSql(schema, id, stores));
}

/** The same, for a plan. */
export function backupStoresSql(schema: string, id: string, stores: string[]): string {
  return updateSql(schema, id, `stores = ${textArray(stores)}`);
}

/** When a copy of a backup was last read back whole and was good; null: none of its copies is. Privilege: UPDATE. */
export async function recordBackupVerified(
  db: Db,
  schema: string,
  id: string,
  at: Date | null,
): Promise<void> {
  await db.execute(
    updateSql(schema, id, `verified_at = ${literalOrNull(at === null ? null : at.toISOString())}`),
  );
}

/** Why a backup is held; null: it is not. Privilege: UPDATE. */
export function backupHoldSql(schema: string, id: string, reason: string | null): string {
  return updateSql(schema, id, `hold = ${literalOrNull(reason)}`);
}

/** A backup as its stores show it. */
export type StoredBackup = Pick<
  BackupRow,
  'id' | 'kind' | 'database' | 'place' | 'stores' | 'reason' | 'hold' | 'startedAt' | 'verifiedAt'
> &
  Pick<BackupRow, 'drilledAt' | 'drillPassed'> &
  BackupFacts & { finishedAt: Date };

/** A backup that the stores have: a new row, or what the ledger had given up taken back. Privilege: INSERT, UPDATE. */
export function foundBackupSql(schema: string, row: StoredBackup): string {
  const time = (date: Date | null) => literalOrNull(date === null ? null : date.toISOString());
  const values = {
    kind: literal(row.kind),
    database: literalOrNull(row.database),
    place: literal(row.place),
    stores: textArray(row.stores),
    state: "'done'",
    parent: literalOrNull(row.parent),
    tables: row.tables === null ? 'null' : textArray(row.tables),
    moment: time(row.moment),
    needs: literalOrNull(row.needs),
    reason: literalOrNull(row.reason),
    stored_bytes: String(row.storedBytes),
    source_bytes: String(row.sourceBytes),
    message: "'found in its stores'",
    hold: literalOrNull(row.hold),
    started_at: time(row.startedAt),
    finished_at: time(row.finishedAt),
    verified_at: time(row.verifiedAt),
    drilled_at: time(row.drilledAt),
    drill_passed: row.drillPassed === null ? 'null' : String(row.drillPassed),
  };
  const names = Object.keys(values);
  return (
    `insert into ${ident(schema)}.backup as b (id, ${names.join(', ')}) ` +
    `values (${[literal(row.id), ...Object.values(values)].join(', ')}) on conflict (id) do update set ` +
    names.map((name) => `${name} = excluded.${name}`).join(', ') +
    ', changed_at = pg_catalog.clock_timestamp()'
  );
}

function updateSql(schema: string, id: string, values: string): string {
  return (
    `update ${ident(schema)}.backup set ${values}, changed_at = pg_catalog.clock_timestamp() ` +
    `where id = ${literal(id)}`
  );
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
