import { durationMs } from '../../config/duration.ts';
import { DbopsError } from '../../errors.ts';
import { withAdvisoryLock } from '../../pg/advisory-lock.ts';
import { sqlStateOf } from '../../pg/sqlstate.ts';
import { applyChanges, type ApplyOptions } from '../../plan/apply.ts';
import { transactionChange } from '../../plan/step.ts';
import { applyTarget, planDetachOf } from '../../partition/retire/detach.ts';
import { applyAttach, planAttach } from '../../partition/retire/attach.ts';
import { dropChange } from '../../partition/retire/drop.ts';
import { recordArchiveState, type ArchiveRow } from '../../sql/archives.ts';
import { listMembers } from '../../sql/detach.ts';
import { changedState } from '../../sql/export.ts';
import type { LedgerRow } from '../../sql/ledger.ts';
import { listForeignKeys } from '../../sql/parents.ts';
import { displayName, ident, relation, visible, type RelationName } from '../../sql/quote.ts';
import type { Store } from '../../storage/store.ts';
import { readManifest } from '../catalogue.ts';
import type { ArchiveContext } from '../context.ts';
import type { Manifest } from '../manifest.ts';
import { inParallel } from '../../process/parallel.ts';
import { proofStep, findChange, proofOf, type Proof } from './prove.ts';
import { compareStored, hashOf } from '../../storage/read.ts';
import { isStoreFailure } from '../../storage/copies.ts';

/** Detaches an archived partition, as "partition detach" does, and says in its mark which archive holds it. */
export async function detachArchived(
  context: ArchiveContext,
  target: { partition: RelationName & { oid: number }; quarantine: Parameters<typeof durationMs>[0] },
  archiveId: string,
): Promise<void> {
  const { db, settings, log, signal, waitMs, now } = context;
  const [member] = await listMembers(db, [target.partition]);
  if (member?.oid !== target.partition.oid) {
    const label = displayName(target.partition);
    throw new DbopsError(
      'object_changed',
      member === undefined ? `table ${label} vanished` : `${label} is the name of another table now`,
      { hint: `Archive ${archiveId} was made of the one before; run it again to archive what is there now.` },
    );
  }
  const plan = await planDetachOf(context, member, {
    reason: `archived as ${archiveId}`,
    policy: 'archive',
    dropAfter: new Date(now.getTime() + durationMs(target.quarantine)),
    archiveId,
  });
  const options = { log, signal, deadlineMs: settings.lockDeadlineMs };
  const lock = { table: member.rootOid, name: displayName(plan.parent) };
  await withAdvisoryLock(db, 'retention', { waitMs: Math.max(waitMs, retentionWaitMs), signal }, () =>
    withAdvisoryLock(db, lock, { waitMs: Math.max(waitMs, retentionWaitMs), signal }, () =>
      applyTarget(context, plan, options),
    ),
  );
}

/** An export took its time: a detach of somebody else in this very moment is waited for. */
export const retentionWaitMs = 60_000;

/** Puts a changed partition back into its table: its rows are in queries again, and the next run archives them anew. */
export async function attachAgain(
  context: ArchiveContext,
  table: RelationName,
  parent: string,
): Promise<void> {
  const options = { partition: quotedName(table), to: parent, from: undefined, until: undefined };
  const replan = () => planAttach(context, options);
  const wait = { ...context, waitMs: Math.max(context.waitMs, retentionWaitMs) };
  await applyAttach(wait, await replan(), replan);
}

function quotedName(table: RelationName): string {
  return [table.schema, table.name].map((part) => `"${part.replaceAll('"', '""')}"`).join('.');
}

/** What the stores of an archive hold of it. */
export interface Found {
  /** Those that have its manifest, and every object that the manifest names in its length. */
  stores: Store[];
  manifest: Manifest | undefined;
  problems: string[];
  /** A store could not be asked: what is not found may be there all the same. */
  isUncertain: boolean;
}

/** Looks for an archive in its stores. */
export async function goodStores(
  context: ArchiveContext,
  row: Pick<ArchiveRow, 'id' | 'place' | 'stores' | 'rowCount' | 'storedBytes'>,
): Promise<Found> {
  const found: Found = { stores: [], manifest: undefined, problems: [], isUncertain: false };
  for (const name of row.stores) {
    try {
      const store = await context.openStore(name);
      const manifest = await readManifest(store, row.place, context.signal);
      const other = differsFromLedger(row, manifest);
      if (other !== undefined) {
        found.problems.push(`store "${name}": ${other}`);
        continue;
      }
      const lengths = new Map<string, number>();
      for await (const object of store.list(row.place)) lengths.set(object.key, object.sizeBytes);
      const missing = [...manifest.parts, manifest.schemaSql].filter(
        (object) => lengths.get(`${row.place}${object.name}`) !== object.sizeBytes,
      );
      if (missing.length > 0) {
        found.problems.push(`store "${name}" lacks ${missing.map((object) => object.name).join(', ')}`);
        continue;
      }
      found.manifest ??= manifest;
      found.stores.push(store);
    } catch (error) {
      if (!(error instanceof DbopsError)) throw error;
      found.isUncertain ||= isStoreFailure(error) && error.code !== 'store_missing';
      found.problems.push(`store "${name}": ${error.message}`);
    }
  }
  return found;
}

/** A manifest that was put in the place of the one that was written names other rows, or other parts. */
function differsFromLedger(
  row: Pick<ArchiveRow, 'rowCount' | 'storedBytes'>,
  manifest: Manifest,
): string | undefined {
  const sum = (of: 'rows' | 'sizeBytes') => manifest.parts.reduce((total, part) => total + part[of], 0);
  const rows = row.rowCount ?? BigInt(manifest.rows);
  const bytes = row.storedBytes ?? BigInt(sum('sizeBytes'));
  if (BigInt(manifest.rows) === rows && BigInt(sum('rows')) === rows && BigInt(sum('sizeBytes')) === bytes)
    return undefined;
  return `its manifest tells of ${String(sum('rows'))} rows in ${String(sum('sizeBytes'))} bytes, and the ledger of ${String(rows)} in ${String(bytes)}`;
}

/** The stores in which every object has the bytes that were written, as a last look before the rows themselves go. */
async function proveStored(
  context: ArchiveContext,
  place: string,
  found: Found,
  manifest: Manifest,
): Promise<Store[]> {
  const proven: Store[] = [];
  for (const store of found.stores) {
    try {
      const objects = [...manifest.parts, manifest.schemaSql];
      await inParallel(context.jobs, objects, context.signal, async (object, signal) => {
        const key = `${place}${object.name}`;
        compareStored(store, key, await hashOf(store, key, signal), object);
      });
      proven.push(store);
    } catch (error) {
      if (!(error instanceof DbopsError) || context.signal.aborted) throw error;
      found.problems.push(`store "${store.name}": ${error.message}`);
    }
  }
  return proven;
}

/** What becomes of a detached partition that is not what was archived. */
export async function startOver(
  context: ArchiveContext,
  proof: Proof,
  parent: string,
  reason: string,
): Promise<void> {
  const { db, settings, log } = context;
  log.warn(
    { event: 'archive_superseded', archive: proof.archiveId },
    `${displayName(proof.table)} is not what archive ${proof.archiveId} holds: ${reason}; it is attached again, and archived anew`,
  );
  await attachAgain(context, proof.table, parent);
  await recordArchiveState(db, settings.stateSchema, proof.archiveId, 'superseded', reason);
}

/**
 * Its foreign keys go first, each in a short transaction of its own: the drop would ask for a lock on the tables they point
 * to after it has read the whole table, and read it again at each try. The manifest has them.
 */
async function dropForeignKeys(
  context: ArchiveContext,
  table: LedgerRow,
  options: ApplyOptions,
): Promise<void> {
  const keys = await listForeignKeys(context.db, [table.oid]);
  for (const key of keys.filter((item) => item.direction === 'outgoing')) {
    const quoted = relation(table);
    const other = relation({ schema: key.otherSchema, name: key.otherName });
    const change = transactionChange({
      summary: `drop foreign key ${visible(key.constraint)} of ${displayName(table)}, which is about to go`,
      table: visible(table.parent),
      lockTimeoutMs: context.settings.lockTimeoutMs,
      event: 'foreign_key_dropped',
      isIntermediate: true,
      leavesNothing: true,
      steps: [
        {
          sql: `alter table only ${quoted} drop constraint ${ident(key.constraint)}`,
          locks: [quoted, other].map((name) => ({ table: name, mode: 'ACCESS EXCLUSIVE' as const })),
          why: 'the drop then locks nothing but the table itself',
        },
      ],
    });
    await applyChanges(context.db, [change], context.applied, options);
  }
}

/** A detached partition past its quarantine, with its proven archive. */
export interface DropCandidate {
  ledger: LedgerRow;
  archive: ArchiveRow;
  dropAfter: Date;
  /** In how many stores the archive has to be. */
  required: number;
}

/**
 * Drops a detached partition whose archive is in its stores, after proving once more, in the transaction that drops it,
 * that it holds what was archived. Returns the reason when it was attached again instead. Throws refused when the archive
 * is not in enough stores any more.
 */
export async function dropArchived(
  context: ArchiveContext,
  candidate: DropCandidate,
): Promise<string | null> {
  const { db, settings, log, signal } = context;
  const { ledger, archive } = candidate;
  const found = await goodStores(context, archive);
  const { manifest, problems } = found;
  const stores = manifest === undefined ? [] : await proveStored(context, archive.place, found, manifest);
  if (manifest === undefined || stores.length < candidate.required) {
    throw new DbopsError(
      'refused',
      `${displayName(ledger)} is not dropped: archive ${archive.id} is in ${String(stores.length)} of the ${String(candidate.required)} stores that it has to be in`,
      { detail: problems.join('\n'), hint: `Look at it: dbops archive verify ${archive.id}` },
    );
  }
  const proof = proofOf(ledger, archive, { manifest, stores });
  const options = { log, signal, deadlineMs: settings.lockDeadlineMs };
  for (;;) {
    const reason = await findChange(context, proof);
    if (reason !== null) {
      await startOver(context, proof, ledger.parent, reason);
      return reason;
    }
    await dropForeignKeys(context, ledger, options);
    const foreignKeys = await listForeignKeys(db, [ledger.oid]);
    const target = {
      schema: ledger.schema,
      name: ledger.name,
      oid: ledger.oid,
      from: ledger.parent,
      bounds: ledger.bounds,
      dropAfter: candidate.dropAfter,
      sizeBytes: ledger.sizeBytes,
      comment: ledger.comment ?? '',
    };
    try {
      const change = dropChange(context, target, foreignKeys, [await proofStep(context, proof)]);
      await applyChanges(db, [change], context.applied, options);
      return null;
    } catch (error) {
      // Written to between the two proofs: look again, more closely.
      if (sqlStateOf(error) !== changedState) throw error;
    }
  }
}
