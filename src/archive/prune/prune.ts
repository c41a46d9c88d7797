import { DbopsError } from '../../errors.ts';
import { withAdvisoryLock } from '../../pg/advisory-lock.ts';
import { applyChanges } from '../../plan/apply.ts';
import { combineProblems, type Problem } from '../../partition/problems.ts';
import { recordArchiveState, recordStores, type ArchiveRow } from '../../sql/archives.ts';
import { displayName, visible } from '../../sql/quote.ts';
import type { Store } from '../../storage/store.ts';
import { readManifest } from '../catalogue.ts';
import { whyHeld, whyKept } from '../../catalogue/hold.ts';
import { partitionOf } from '../list/lines.ts';
import { removeCopy } from '../../catalogue/remove.ts';
import { ours } from '../../catalogue/stored.ts';
import { planPrune, type PruneContext, type PruneOptions, type PrunePlan, type PruneTarget } from './plan.ts';

export interface Pruned {
  removed: { archive: string; partition: string; stores: string[]; reason: string }[];
  remains: string[];
  uploads: number;
  notes: string[];
}

/**
 * Removes what `planPrune` names, planned once more under the advisory lock "archive". What fails for one archive does not
 * stop the others and is thrown at the end; the next run finishes it.
 */
export async function applyPrune(context: PruneContext, options: PruneOptions): Promise<Pruned> {
  const { db, waitMs, signal, settings, log } = context;
  return await withAdvisoryLock(db, 'archive', { waitMs, signal }, async () => {
    const plan = await planPrune(context, options);
    const done: Pruned = { removed: [], remains: [], uploads: 0, notes: plan.notes };
    const problems: Problem[] = [];
    if (plan.targets.length > 0) {
      await applyChanges(db, plan.before, context.applied, {
        log,
        signal,
        deadlineMs: settings.lockDeadlineMs,
      });
      await context.history.begin(
        db,
        plan.targets.map((target) => target.row.id),
      );
    }
    for (const target of plan.targets) {
      const kept = await removeArchive(context, target, problems);
      const { row, reason } = target;
      if (kept !== undefined) done.notes.push(`archive ${row.id}: kept: ${kept}`);
      else if (!problems.some((item) => item.table === row.id))
        done.removed.push({
          archive: row.id,
          partition: displayName(partitionOf(row)),
          stores: row.stores,
          reason,
        });
    }
    await sweep(context, plan, done, problems);
    if (problems.length > 0)
      throw combineProblems(problems, 'The others are removed; run it again when the stores answer.');
    return done;
  });
}

/** Returns why it was kept all the same. */
async function removeArchive(
  context: PruneContext,
  target: PruneTarget,
  problems: Problem[],
): Promise<string | undefined> {
  const { db, settings, log, signal } = context;
  const { row } = target;
  const stores = await Promise.all(row.stores.map(context.openStore));
  try {
    const kept = (await whyHeld(stores, row.place, signal)) ?? (await whyDifferent(stores, row, signal));
    if (kept !== undefined) return visible(kept);
  } catch (error) {
    // A store that cannot say whether it is held.
    problems.push({ table: row.id, error: ours(error) });
    return undefined;
  }
  await applyChanges(db, [target.change], context.applied, {
    log,
    signal,
    deadlineMs: settings.lockDeadlineMs,
  });
  // A hold that came meanwhile finds the ledger saying "expired" and fails, or is found here: never neither.
  const late = await whyKept(stores, row.place, signal);
  if (late !== undefined) {
    await recordArchiveState(db, settings.stateSchema, row.id, row.state, row.message);
    return visible(late);
  }
  let left = row.stores;
  for (const store of stores) {
    try {
      await removeCopy(store, row.place, signal);
      left = left.filter((name) => name !== store.name);
      await recordStores(db, settings.stateSchema, row.id, left);
    } catch (error) {
      problems.push({ table: row.id, error: ours(error) });
    }
  }
  return undefined;
}

/** The ledger decides what is old; where the manifest says otherwise, nothing is removed. */
async function whyDifferent(
  stores: Store[],
  row: ArchiveRow,
  signal: AbortSignal,
): Promise<string | undefined> {
  for (const store of stores) {
    try {
      const { key } = await readManifest(store, row.place, signal);
      if (key.to !== row.upperBound)
        return `its manifest in store "${store.name}" ends at ${key.to ?? 'no bound'}, and the ledger says ${row.upperBound ?? 'no bound'}`;
    } catch (error) {
      // Gone or damaged: what is left of it is removed.
      if (!(error instanceof DbopsError) || error.code !== 'copy_damaged') throw error;
    }
  }
  return undefined;
}

async function sweep(
  context: PruneContext,
  plan: PrunePlan,
  done: Pruned,
  problems: Problem[],
): Promise<void> {
  const { log, signal, applied } = context;
  for (const { store, place, id } of plan.sweep.remains) {
    try {
      await removeCopy(store, place, signal);
      applied.changes += 1;
      done.remains.push(id);
      log.info(
        { event: 'archive_remains_removed', archive: id, store: store.name },
        `removed what an interrupted run left of archive ${id} in ${store.name}`,
      );
    } catch (error) {
      problems.push({ table: id, error: ours(error) });
    }
  }
  for (const { store, upload } of plan.sweep.uploads) {
    try {
      await store.abortUpload(upload);
      applied.changes += 1;
      done.uploads += 1;
    } catch (error) {
      problems.push({ table: upload.key, error: ours(error) });
    }
  }
}
