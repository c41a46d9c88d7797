import { DbopsError } from '../errors.ts';
import type { Log } from '../output/log.ts';
import type { Db } from '../pg/connection.ts';
import { applyChanges, type Applied } from '../plan/apply.ts';
import { quietStep, transactionChange, type Change } from '../plan/step.ts';
import { visible } from '../sql/quote.ts';
import { manifestName } from '../storage/copies.ts';
import type { Store } from '../storage/store.ts';
import { findHold, putHold, removeHold, type HoldEntry } from './hold.ts';
import { ours } from './stored.ts';

/** An archive or a backup that can be held. */
export interface Holdable {
  noun: 'archive' | 'backup';
  id: string;
  place: string;
  /** Stores that have it with a manifest that can be read. */
  stores: Store[];
  /** For people: "archive 2026... of public.events_5". */
  label: string;
  /** What it is of, for the log. */
  of: string;
}

export interface HoldPlan {
  found: Holdable;
  entry: HoldEntry;
  /** Stores whose copy is to be changed; the others are as they should be. */
  stores: Store[];
  /** Of the ledger, where there is a database that knows it. */
  changes: Change[];
}

/** What becomes of the hold in each store. Throws refused for what is held already, for its own reason. */
export async function planHold(found: Holdable, entry: HoldEntry, signal: AbortSignal): Promise<HoldPlan> {
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
      `${found.noun} ${found.id} is held already, since ${current.at} by ${visible(current.osUser)}: ${visible(current.reason)}`,
      { hint: `To hold it for another reason, release it first: dbops ${found.noun} release.` },
    );
  }
  // A store that was away during the first hold gets that one, not another.
  const kept = wantsHold && current !== undefined ? current : entry;
  return { found, entry: kept, stores, changes: [] };
}

/** The ledger's part of it; `sql` writes the reason, or null, into its row. */
export function holdChange(plan: HoldPlan, sql: string): Change {
  const { found, entry } = plan;
  const isHold = entry.action === 'hold';
  return transactionChange({
    summary: `${isHold ? 'hold' : 'release'} ${found.label}`,
    table: found.of,
    event: isHold ? `${found.noun}_held` : `${found.noun}_released`,
    fields: { [found.noun]: found.id },
    steps: [quietStep(sql, 'the ledger says the same as the stores')],
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
    /** Whether the ledger says that it is being removed. */
    isGoing: (db: Db) => Promise<boolean>;
    applied: Applied;
    log: Log;
    signal: AbortSignal;
    deadlineMs: number;
  },
): Promise<void> {
  const { found, entry, stores } = plan;
  const { noun, id, place } = found;
  const subject = noun === 'archive' ? { archive: id } : { backup: id };
  let failure: DbopsError | undefined;
  for (const store of stores) {
    try {
      if (entry.action === 'hold') await putHold(store, place, subject, entry);
      else await removeHold(store, place, subject, entry);
      // A prune may have been at it in this very moment.
      if ((await store.head(`${place}${manifestName}`)) === undefined)
        throw new DbopsError('copy_damaged', `${noun} ${id} was removed from "${store.name}" meanwhile`);
      context.applied.changes += 1;
    } catch (error) {
      failure ??= ours(error);
      context.log.error(
        { event: 'hold_failed', store: store.name, [noun]: id },
        `store "${store.name}": ${ours(error).message}`,
      );
    }
  }
  const isSafe = entry.action === 'hold' || failure === undefined;
  if (entry.action === 'hold' && context.db !== undefined && (await context.isGoing(context.db))) {
    failure ??= new DbopsError('copy_damaged', `${noun} ${id} is being removed, and cannot be held`, {
      hint: `See what is left of it: dbops ${noun} list --rebuild.`,
    });
  }
  if (context.db !== undefined && isSafe) {
    const { log, signal, deadlineMs } = context;
    await applyChanges(context.db, plan.changes, context.applied, { log, signal, deadlineMs });
  }
  if (failure !== undefined) throw failure;
}
