import type { PartitionSettings } from '../../config/settings.ts';
import { DbopsError } from '../../errors.ts';
import type { Db } from '../../pg/connection.ts';
import { loadSets } from '../../partition/model/load-sets.ts';
import { expiryOf } from '../../partition/model/retention.ts';
import { setOfParent, type PartitionSet } from '../../partition/model/set.ts';
import { listArchiveSources, type ArchiveSourceRow } from '../../sql/archive-catalogue.ts';
import { listArchiveRows, type ArchiveRow, type ArchiveState } from '../../sql/archives.ts';
import { relation, type RelationName } from '../../sql/quote.ts';
import { storedBytesOf } from '../manifest.ts';
import type { Survey, Surveyed } from '../survey.ts';

/** An archive on one line. */
export interface ArchiveLine {
  id: string;
  /** Null in a listing of one database. */
  system: string | null;
  database: string | null;
  table: RelationName;
  partition: RelationName;
  bounds: string;
  rows: number | null;
  storedBytes: number | null;
  /** The copies; `problem` says what is wrong with one. */
  copies: { store: string; problem: string | null }[];
  /** When its copies were proven. */
  verifiedAt: Date | null;
  state: string;
  hold: string | null;
  expiresAt: Date | null;
}

export const archiveStates: ArchiveState[] = [
  'exporting',
  'verified',
  'proven',
  'superseded',
  'failed',
  'expired',
];

/** States of archives that are there, or are being made. */
const presentStates: ArchiveState[] = ['exporting', 'verified', 'proven', 'superseded'];

export interface ListOptions {
  /** Tables by name; empty: all. */
  tables: RelationName[];
  /** Failed and expired ones too. */
  isAll: boolean;
}

/** The archives that the ledger of this database has. Reads only; asks no store. */
export async function listLedger(
  db: Db,
  settings: { stateSchema: string; partitions: PartitionSettings[] },
  options: ListOptions,
): Promise<ArchiveLine[]> {
  const schema = settings.stateSchema;
  const rows = await listArchiveRows(db, schema, options.isAll ? archiveStates : presentStates);
  const sources = new Map((await listArchiveSources(db, schema)).map((row) => [row.id, row]));
  const { sets } = await loadSets(db, settings.partitions);
  return rows
    .filter((row) => isChosen(tableOf(row), sets, options.tables))
    .map((row) => lineOfRow(row, sources.get(row.id), setOfParent(sets, relation(tableOf(row)))));
}

function lineOfRow(
  row: ArchiveRow,
  source: ArchiveSourceRow | undefined,
  set: PartitionSet | undefined,
): ArchiveLine {
  return {
    id: row.id,
    system: null,
    database: null,
    table: tableOf(row),
    partition: partitionOf(row),
    bounds: row.bounds,
    rows: row.rowCount === null ? null : Number(row.rowCount),
    storedBytes: row.storedBytes === null ? null : Number(row.storedBytes),
    copies: row.stores.map((store) => ({ store, problem: null })),
    verifiedAt: row.verifiedAt,
    state: stateOf(row, source),
    hold: row.hold,
    expiresAt: (set === undefined ? undefined : expiryOf(set, row.upperBound)) ?? null,
  };
}

/** Where the rows are beside the store, in words. */
function stateOf(row: ArchiveRow, source: ArchiveSourceRow | undefined): string {
  if (row.state === 'expired') return row.stores.length === 0 ? 'removed' : 'being removed';
  if (row.state === 'exporting' || row.state === 'failed' || row.state === 'superseded') return row.state;
  if (source === undefined) return 'unknown';
  if (source.isAttached) return 'attached still';
  if (!source.exists) return 'only in the store';
  if (source.ledgerState !== 'detached') return 'a table of its name is there';
  return source.dropAfter === null
    ? 'detached'
    : `in quarantine until ${source.dropAfter.toISOString().slice(0, 10)}`;
}

/** The archives of a survey, of whatever cluster and database. */
export function linesOfSurvey(survey: Survey): ArchiveLine[] {
  return survey.archives.map((archive) => {
    const { manifest } = archive;
    const [first] = archive.copies;
    const parts = first?.place.split('/') ?? [];
    return {
      id: archive.id,
      system: manifest?.server.systemIdentifier ?? parts[0] ?? null,
      database: manifest?.database ?? decoded(parts[2]),
      table: manifest?.table ?? { schema: '?', name: decoded(parts[3]) },
      partition: manifest?.partition ?? { schema: '?', name: decoded(parts[4]) },
      bounds: manifest?.bounds ?? 'unknown',
      rows: manifest?.rows ?? null,
      storedBytes: manifest === undefined ? null : storedBytesOf(manifest),
      copies: archive.copies.map(({ store, problem }) => ({
        store: store.name,
        problem: problem === undefined ? null : problem.message,
      })),
      verifiedAt: manifest === undefined ? null : new Date(manifest.createdAt),
      state: surveyedState(archive),
      hold: archive.copies.find((copy) => copy.hold !== undefined)?.hold?.reason ?? null,
      expiresAt: null,
    };
  });
}

function surveyedState(archive: Surveyed): string {
  if (archive.copies.every((copy) => !copy.hasManifest)) return 'unfinished: no manifest';
  if (archive.manifest === undefined) return 'damaged or newer';
  return archive.copies.some((copy) => copy.problem !== undefined) ? 'one copy is damaged' : 'in the store';
}

/** A part of a key as a person reads it; what cannot be decoded stays as it is. */
function decoded(part: string | undefined): string {
  try {
    return decodeURIComponent(part ?? '?');
  } catch {
    return part ?? '?';
  }
}

/** The partitioned table of a row. */
export function tableOf(row: Pick<ArchiveRow, 'tableSchema' | 'tableName'>): RelationName {
  return { schema: row.tableSchema, name: row.tableName };
}

/** The partition of a row. */
export function partitionOf(row: Pick<ArchiveRow, 'partitionSchema' | 'partitionName'>): RelationName {
  return { schema: row.partitionSchema, name: row.partitionName };
}

/** Whether a table, or the configured set that it is a branch of, is among the named ones. */
export function isChosen(table: RelationName, sets: PartitionSet[], names: RelationName[]): boolean {
  if (names.length === 0) return true;
  const owner = setOfParent(sets, relation(table))?.settings ?? table;
  return names.some((name) => [table, owner].some((item) => relation(item) === relation(name)));
}

/** Throws usage for a table that neither the configuration nor any archive has. */
export function refuseUnknownTables(
  names: RelationName[],
  known: RelationName[],
  configured: RelationName[],
): void {
  for (const name of names) {
    if ([...known, ...configured].some((item) => relation(item) === relation(name))) continue;
    throw new DbopsError(
      'usage',
      `no archive is of table ${name.schema}.${name.name}, and the configuration does not name it`,
      {
        hint: '"dbops archive list" without a table shows all archives.',
      },
    );
  }
}
