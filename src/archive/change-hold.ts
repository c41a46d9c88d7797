import { DbopsError } from '../errors.ts';
import type { Log } from '../output/log.ts';
import type { Db } from '../pg/connection.ts';
import { applyChanges, type Applied } from '../plan/apply.ts';
import { quietStep, transactionChange, type Change } from '../plan/step.ts';
import { listArchiveRows } from '../sql/archives.ts';
import { archiveHoldSql } from '../sql/archive-catalogue.ts';
import { displayName, visible } from '../sql/quote.ts';
import type { Store } from '../storage/store.ts';
import type { FoundArchive } from './catalogue.ts';
import { findHold, putHold, removeHold, type HoldEntry } from '../catalogue/hold.ts';
import { ours } from '../catalogue/stored.ts';
import { manifestName } from '../storage/copies.ts';

export interface HoldPlan {
  found: FoundArchive;
  entry: HoldEntry;
  /** Stores whose copy is to be changed; the others are as they should be. */
  stores: Store[];
  /** Of the ledger, where there is a database that knows the archive. */
  changes: Change[];
}

/** What becomes of the hold in each store of an archive. Throws refused for one that is held already, for its own reason. */
export async function planHold(
  found: FoundArchive,
  entry: HoldEntry,
  signal: AbortSignal,
): Promise<HoldPlan> {
  const wantsHold = entry.action === 'hold';
  const stores: Store[] = [];
  let current: HoldEntry | undefined;
  for (const store of found.stores) {
    const hold = await findHold(store, found.place, signal);
    current ??= hold;
    if ((hold === undefined) === wantsHold) stores.push(store);
  }
  if (stores.length === 0 && current !== undefined) {
    throw new DbopsError(
      'refused',
      `archive ${found.id} is held already, since ${current.at} by ${visible(current.osUser)}: ${visible(current.reason)}`,
      { hint: 'To hold it for another reason, release it first: dbops archive release.' },
    );
  }
  // A store that was away during the first hold gets that one, not another.
  const kept = wantsHold && current !== undefined ? current : entry;
  return { found, entry: kept, stores, changes: [] };
}

/** The ledger's part of it. */
export function holdChange(schema: string, plan: HoldPlan): Change {
  const { found, entry } = plan;
  const isHold = entry.action === 'hold';
  return transactionChange({
    summary: `${isHold ? 'hold' : 'release'} archive ${found.id} of ${displayName(found.manifest.partition)}`,
    table: displayName(found.manifest.table),
    event: isHold ? 'archive_held' : 'archive_released',
    fields: { archive: found.id },
    steps: [
      quietStep(
        archiveHoldSql(schema, found.id, isHold ? entry.reason : null),
        'the ledger says the same as the stores',
      ),
    ],
  });
}

/**
 * Writes or removes hold.json in each store, then tells the ledger. What fails in one store does not stop the others and
 * is thrown at the end: a hold then protects the copies that have it, and prune asks every store before it touches any.
 */
export async function applyHold(
  plan: HoldPlan,
  context: {
    db: Db | undefined;
    /** Of the ledger. */
    schema: string;
    applied: Applied;
    log: Log;
    signal: AbortSignal;
    deadlineMs: number;
  },
): Promise<void> {
  const { found, entry, stores } = plan;
  let failure: DbopsError | undefined;
  for (const store of stores) {
    try {
      if (entry.action === 'hold') await putHold(store, found.place, { archive: found.id }, entry);
      else await removeHold(store, found.place, { archive: found.id }, entry);
      // A prune may have been at it in this very moment.
      if ((await store.head(`${found.place}${manifestName}`)) === undefined)
        throw new DbopsError(
          'copy_damaged',
          `archive ${found.id} was removed from "${store.name}" meanwhile`,
        );
      context.applied.changes += 1;
    } catch (error) {
      failure ??= ours(error);
      context.log.error(
        { event: 'hold_failed', store: store.name, archive: found.id },
        `store "${store.name}": ${ours(error).message}`,
      );
    }
  }
  const isSafe = entry.action === 'hold' || failure === undefined;
  if (entry.action === 'hold' && context.db !== undefined) {
    const expired = await listArchiveRows(context.db, context.schema, ['expired']);
    if (expired.some((row) => row.id === found.id)) {
      failure ??= new DbopsError('copy_damaged', `archive ${found.id} is being removed, and cannot be held`, {
        hint: 'See what is left of it: dbops archive list --rebuild.',
      });
    }
  }
  if (context.db !== undefined && isSafe) {
    const { log, signal, deadlineMs } = context;
    await applyChanges(context.db, plan.changes, context.applied, { log, signal, deadlineMs });
  }
  if (failure !== undefined) throw failure;
}
