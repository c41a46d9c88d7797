import type { Db } from '../pg/connection.ts';
import { ident, literal, type RelationName } from './quote.ts';
import { findStateVersion } from './state.ts';

/**
 * exporting: parts are being written; verified: read back and proven, the manifest is written; proven: detached, and
 * unchanged since the export; superseded: the rows were changed, another archive took its place; expired: removed from
 * its stores.
 */
export type ArchiveState = 'exporting' | 'verified' | 'proven' | 'superseded' | 'failed' | 'expired';

/** An archive as the ledger in the database has it; the manifest in the store has the rest. */
export interface ArchiveRow {
  id: string;
  tableSchema: string;
  tableName: string;
  partitionSchema: string;
  partitionName: string;
  partitionOid: number;
  bounds: string;
  /** As ISO 8601 or a number; null for an open one. */
  upperBound: string | null;
  /** The folder in each store, ending with /. */
  place: string;
  /** Names of the stores in which it was proven; while it is exported, of those that it goes to. */
  stores: string[];
  state: ArchiveState;
  rowCount: bigint | null;
  storedBytes: bigint | null;
  /** xmin of the snapshot since which no row may have changed: a full, 64 bit transaction id. */
  baselineXmin: string | null;
  hold: string | null;
  message: string | null;
  createdAt: Date;
  verifiedAt: Date | null;
}

/**
 * Archives in these states, oldest first; none where there is no state schema yet. Privilege: SELECT on the ledger.
 * Locks: ACCESS SHARE on it.
 */
export async function listArchiveRows(db: Db, schema: string, states: ArchiveState[]): Promise<ArchiveRow[]> {
  if ((await findStateVersion(db, schema)) < archivesSince) return [];
  return await db.query<ArchiveRow>({
    text: `/* dbops:archives.list */
      select a.id, a.table_schema as "tableSchema", a.table_name as "tableName",
             a.partition_schema as "partitionSchema", a.partition_name as "partitionName",
             a.partition_oid::int8::float8 as "partitionOid", a.bounds, a.upper_bound as "upperBound", a.place, a.stores,
             a.state, a.row_count as "rowCount", a.stored_bytes as "storedBytes", a.baseline_xmin as "baselineXmin",
             a.hold, a.message, a.created_at as "createdAt", a.verified_at as "verifiedAt"
        from ${ident(schema)}.archive as a
       where a.state = any($1)
       order by a.created_at, a.id`,
    values: [states],
  });
}

/** The version of the state schema that brought the table of archives. */
const archivesSince = 2;

export interface NewArchiveRow {
  id: string;
  table: RelationName;
  partition: RelationName;
  oid: number;
  bounds: string;
  upperBound: string | null;
  place: string;
  /** Where parts are about to be written. */
  stores: string[];
}

/** Says before an export that it is about to happen, so that what a kill leaves in the store is known. Privilege: INSERT. */
export async function insertArchive(db: Db, schema: string, row: NewArchiveRow): Promise<void> {
  await db.query({
    text: `/* dbops:archives.insert */
      insert into ${ident(schema)}.archive
             (id, table_schema, table_name, partition_schema, partition_name, partition_oid, bounds, upper_bound, place,
              stores, state)
      values ($1, $2, $3, $4, $5, $6::int8::oid, $7, $8, $9, $10, 'exporting')`,
    values: [
      row.id,
      row.table.schema,
      row.table.name,
      row.partition.schema,
      row.partition.name,
      row.oid,
      row.bounds,
      row.upperBound,
      row.place,
      row.stores,
    ],
  });
}

/** Says that an archive is in its stores, read back and proven, with its manifest written. Privilege: UPDATE. */
export async function recordVerified(
  db: Db,
  schema: string,
  id: string,
  facts: { stores: string[]; rows: number; storedBytes: number; baselineXmin: string },
): Promise<void> {
  await db.query({
    text: `/* dbops:archives.verified */
      update ${ident(schema)}.archive
         set state = 'verified', stores = $2, row_count = $3, stored_bytes = $4, baseline_xmin = $5,
             verified_at = pg_catalog.clock_timestamp(), changed_at = pg_catalog.clock_timestamp()
       where id = $1`,
    values: [id, facts.stores, facts.rows, facts.storedBytes, facts.baselineXmin],
  });
}

/** Moves an archive to another state. Privilege: UPDATE. */
export async function recordArchiveState(
  db: Db,
  schema: string,
  id: string,
  state: ArchiveState,
  message: string | null,
): Promise<void> {
  await db.execute(archiveStateSql(schema, id, state, message));
}

/** The same, for the transaction that makes it true. */
export function archiveStateSql(
  schema: string,
  id: string,
  state: ArchiveState,
  message: string | null = null,
): string {
  return (
    `update ${ident(schema)}.archive set state = ${literal(state)}, ` +
    `message = ${message === null ? 'null' : literal(message)}, changed_at = pg_catalog.clock_timestamp() ` +
    `where id = ${literal(id)}`
  );
}

/**
 * From when on changes count: since the snapshot of an export that has just begun, or since rows changed after it were
 * compared and found equal. Privilege: UPDATE.
 */
export async function recordBaseline(db: Db, schema: string, id: string, xmin: string): Promise<void> {
  await db.query({
    text: `/* dbops:archives.baseline */
      update ${ident(schema)}.archive set baseline_xmin = $2, changed_at = pg_catalog.clock_timestamp() where id = $1`,
    values: [id, xmin],
  });
}

/** In which stores an archive is proven by now. Privilege: UPDATE. */
export async function recordStores(db: Db, schema: string, id: string, stores: string[]): Promise<void> {
  await db.query({
    text: `/* dbops:archives.stores */
      update ${ident(schema)}.archive set stores = $2, changed_at = pg_catalog.clock_timestamp() where id = $1`,
    values: [id, stores],
  });
}
