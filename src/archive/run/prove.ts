import { DbopsError } from '../../errors.ts';
import { applyChanges } from '../../plan/apply.ts';
import { quietStep, transactionChange, type Change, type Step } from '../../plan/step.ts';
import { sqlStateOf } from '../../pg/sqlstate.ts';
import { archiveStateSql, recordBaseline, type ArchiveRow } from '../../sql/archives.ts';
import {
  beginComparison,
  changedState,
  getSignature,
  proofSql,
  type CopiedColumn,
} from '../../sql/export.ts';
import { displayName, relation, type RelationName } from '../../sql/quote.ts';
import type { Store } from '../../storage/store.ts';
import type { ArchiveContext } from '../context.ts';
import { differences } from '../definition/differences.ts';
import { loadDefinition } from '../definition/load.ts';
import { digestOfTable } from '../export/table-digest.ts';
import type { Manifest } from '../manifest.ts';
import { together } from '../../process/parallel.ts';
import { archivedDigest } from '../restore/verify.ts';

/** A detached partition and the archive that is to hold its rows. */
export interface Proof {
  table: RelationName;
  oid: number;
  archiveId: string;
  manifest: Manifest;
  place: string;
  /** 64 bit: no row may have been written since. */
  baselineXmin: string;
  /** Stores that have the archive. */
  stores: Store[];
  /** Of the definition that findChange() compared: one that is changed after it fails the proof. */
  signature?: string;
}

/** What has to be proven of a table and the archive that the ledger names for it. */
export function proofOf(
  table: RelationName & { oid: number },
  row: ArchiveRow,
  found: { manifest: Manifest; stores: Store[] },
): Proof {
  return {
    table,
    oid: table.oid,
    archiveId: row.id,
    manifest: found.manifest,
    place: row.place,
    baselineXmin: row.baselineXmin ?? '0',
    stores: found.stores,
  };
}

/**
 * Proves that a detached table holds exactly the rows that were archived, under a lock that keeps writers out. Rows that
 * were written since the export are compared one by one (as a sum of hashes): a transaction that was open then proves
 * nothing by itself. Returns why it is not the same, or null. Locks: SHARE on the detached table while it is read.
 */
export async function findChange(context: ArchiveContext, proof: Proof): Promise<string | null> {
  const { db, settings, log, signal } = context;
  proof.signature = await getSignature(db, proof.oid);
  const changed = differences(proof.manifest.definition, await loadDefinition(db, proof.oid));
  if (changed.length > 0) return changed.join('; ');
  const options = { log, signal, deadlineMs: settings.lockDeadlineMs };
  for (;;) {
    try {
      await applyChanges(db, [await proveChange(context, proof)], context.applied, options);
      return null;
    } catch (error) {
      if (sqlStateOf(error) !== changedState) throw error;
      const { message, hint } = causeOf(error);
      if (hint !== 'compare') return message;
      log.info(
        { event: 'archive_compared', archive: proof.archiveId },
        `${displayName(proof.table)}: ${message}; comparing all rows with the archive`,
      );
      const baseline = await compare(context, proof);
      if (baseline === null) return message;
      await recordBaseline(db, settings.stateSchema, proof.archiveId, baseline);
      proof.baselineXmin = baseline;
    }
  }
}

function causeOf(error: unknown): { message: string; hint: string | undefined } {
  const source = error instanceof DbopsError ? error.cause : error;
  const { message, hint } = source as { message: string; hint?: string };
  return { message, hint };
}

async function proveChange(context: ArchiveContext, proof: Proof): Promise<Change> {
  const { settings } = context;
  const table = relation(proof.table);
  return transactionChange({
    summary: `proved that ${displayName(proof.table)} is what archive ${proof.archiveId} holds`,
    table: displayName(proof.table),
    lockTimeoutMs: settings.lockTimeoutMs,
    statementTimeoutMs: null,
    event: 'archive_proven',
    fields: { archive: proof.archiveId },
    steps: [
      {
        sql: `lock table only ${table} in share mode`,
        locks: [{ table, mode: 'SHARE' }],
        why: 'nobody may write to it while it is compared; it is detached',
      },
      await proofStep(context, proof),
      quietStep(archiveStateSql(settings.stateSchema, proof.archiveId, 'proven'), 'the ledger says the same'),
    ],
  });
}

/** The proof as a step of a transaction that holds the table: it fails when a row is not the archived one. */
export async function proofStep(context: ArchiveContext, proof: Proof): Promise<Step> {
  const signature = proof.signature ?? (await getSignature(context.db, proof.oid));
  return quietStep(
    proofSql(proof.table, proof.oid, {
      rows: proof.manifest.rows,
      baselineXmin: proof.baselineXmin,
      signature,
    }),
    'the same rows as in the archive, none written since, and the same definition',
  );
}

/**
 * Compares the digest of the table with that of the archive, under SHARE. Returns the snapshot's xmin, from which on
 * changes count, or null when they differ.
 */
async function compare(context: ArchiveContext, proof: Proof): Promise<string | null> {
  const session = await context.db.openAnother();
  try {
    const snapshot = await beginComparison(session, proof.table);
    const columns = columnsOf(proof.manifest);
    const [found, archived] = await together(
      context.signal,
      (signal) => digestOfTable({ ...context, signal }, proof.table, columns, snapshot.id),
      (signal) => archivedDigest({ ...context, signal }, proof),
    );
    return found === archived ? snapshot.xmin : null;
  } finally {
    await session.close();
  }
}

/** What was copied of each column: itself, or its mask. */
function columnsOf(manifest: Manifest): CopiedColumn[] {
  return manifest.copiedColumns.map((name) => ({
    name,
    mask: manifest.masked.find((item) => item.column === name)?.expression ?? null,
  }));
}
