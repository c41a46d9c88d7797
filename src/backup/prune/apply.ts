import { whyHeld, whyKept } from '../../catalogue/hold.ts';
import { removeCopy } from '../../catalogue/remove.ts';
import { ours } from '../../catalogue/stored.ts';
import { combineProblems, type Problem } from '../../partition/problems.ts';
import { isJobRunning, withAdvisoryLock } from '../../pg/advisory-lock.ts';
import { inParallel } from '../../process/parallel.ts';
import {
  recordBackupEnded,
  recordBackupState,
  recordBackupStores,
  type BackupRow,
} from '../../sql/backups.ts';
import { visible } from '../../sql/quote.ts';
import type { Store } from '../../storage/store.ts';
import { findPin } from '../catalogue/pin.ts';
import { isPhysical } from '../catalogue/facts.ts';
import { isBeforeCutoff, walCutoff, type WalCutoff } from '../retention/wal.ts';
import { listWal, type StoredWal } from '../wal/archive.ts';
import { expireBackup } from './pgbackrest.ts';
import { gatherFacts, whyWalStays, type PruneContext, type PruneFacts } from './gather.ts';
import { findLease } from './lease.ts';
import { planBackupPrune, type BackupPrunePlan, type PruneOptions, type PruneTarget } from './plan.ts';
import { isOfCluster } from './sweep.ts';

export interface PrunedBackups {
  removed: { backup: string; kind: string; stores: string[]; why: string }[];
  kept: { backup: string; why: string[] }[];
  /** Segments and the like, and their bytes as stored. */
  wal: { files: number; bytes: number; why: string };
  remains: string[];
  uploads: number;
  notes: string[];
}

/**
 * Removes what `planBackupPrune` names, planned under the advisory lock "prune". What fails for one backup does not stop
 * those that do not need it, and is thrown at the end; the next run finishes it. WAL goes last, by what is left.
 */
export async function applyBackupPrune(context: PruneContext, options: PruneOptions): Promise<PrunedBackups> {
  const { db, waitMs, signal } = context;
  return await withAdvisoryLock(db, 'prune', { waitMs, signal }, async () => {
    const plan = await planBackupPrune(context, await gatherFacts(context), options);
    const done: PrunedBackups = {
      removed: [],
      kept: plan.verdicts.filter((one) => one.isKept).map(({ item, why }) => ({ backup: item.id, why })),
      wal: { files: 0, bytes: 0, why: plan.walWhy },
      remains: [],
      uploads: 0,
      notes: plan.notes,
    };
    const problems: Problem[] = [];
    const { targets, remains, revived, ended } = plan;
    const begin = historyOf(context, plan);
    if (targets.length + remains.length + revived.length + ended.length > 0) await begin();
    for (const { id, stores } of plan.revived) {
      await recordBackupStores(db, context.settings.stateSchema, id, stores);
      await recordBackupState(db, context.settings.stateSchema, id, 'done', null);
    }
    const stays = new Set<string>();
    for (const target of plan.targets) {
      const kept = await removeBackup(context, target, plan.facts, stays, problems);
      if (kept === undefined) {
        const { id, kind, stores, why } = target;
        done.removed.push({ backup: id, kind, stores: stores.map((store) => store.name), why });
        continue;
      }
      // A parent of what stays has to stay as well.
      stays.add(target.id);
      if (target.parent !== null) stays.add(target.parent);
      done.notes.push(`backup ${target.id}: kept: ${kept}`);
    }
    await sweep(context, plan, done, problems);
    await removeWal({ ...context, begin }, plan, stays, done, problems);
    if (problems.length > 0)
      throw combineProblems(problems, 'The others are removed; run it again when the stores answer.');
    return done;
  });
}

/** Begins the history of this run, the first time that it is called. */
function historyOf({ history, db }: PruneContext, plan: BackupPrunePlan): () => Promise<void> {
  let begun: Promise<void> | undefined;
  const ids = plan.targets.map((target) => target.id);
  return () => (begun ??= history.begin(db, ids));
}

/** Returns why it was kept all the same. */
async function removeBackup(
  context: PruneContext,
  target: PruneTarget,
  facts: PruneFacts,
  stays: Set<string>,
  problems: Problem[],
): Promise<string | undefined> {
  const { db, settings, signal, log } = context;
  const { id, place, stores, staysIn } = target;
  if (stays.has(id)) return 'what builds on it stays';
  const row = { schema: settings.stateSchema, stores: [...staysIn, ...stores.map((store) => store.name)] };
  try {
    const kept = (await whyHeld(stores, place, signal)) ?? (await whyInUse(context, target, facts));
    if (kept !== undefined) return visible(kept);
    // Where the run ends here, the next one finds that pgBackRest does not have it any more.
    if (staysIn.length === 0) await expireBackup(facts.pgbackrest, target.manifest, signal);
  } catch (error) {
    // A store that cannot say whether it is held, or a pgBackRest that refuses.
    problems.push({ table: id, error: ours(error) });
    return ours(error).message;
  }
  // The ledger says so first: from then on nothing counts on it, and the next run finishes what a kill leaves.
  if (staysIn.length === 0) await recordBackupState(db, row.schema, id, 'removed', target.why);
  const late = await whyKept(stores, place, signal);
  if (late !== undefined) {
    if (staysIn.length === 0) await recordBackupState(db, row.schema, id, 'done', null);
    return visible(late);
  }
  let left = row.stores;
  for (const store of stores) {
    try {
      await removeCopy(store, place, signal);
      left = left.filter((name) => name !== store.name);
      await recordBackupStores(db, row.schema, id, left);
    } catch (error) {
      problems.push({ table: id, error: ours(error) });
    }
  }
  if (left.length > staysIn.length) return `it could not be removed from ${left.join(', ')}`;
  context.applied.changes += 1;
  log.info(
    { event: 'backup_removed', backup: id, kind: target.kind, why: target.why },
    `removed backup ${id} (${target.kind}) from ${stores.map((store) => store.name).join(', ')}: ${target.why}`,
  );
  return undefined;
}

/** What has come up since the plan was made: a restore that reads it, or a backup that may build on it. */
async function whyInUse(
  context: PruneContext,
  target: PruneTarget,
  facts: PruneFacts,
): Promise<string | undefined> {
  const { db, signal } = context;
  if (isPhysical(target.kind)) {
    if (await isJobRunning(db, 'backup')) return 'a backup is being made, and may build on it';
    const lease = await whoMakes(context, facts);
    if (lease !== undefined) return lease;
  }
  for (const store of target.stores) {
    const pin = await findPin(store, target.place, context.now, signal);
    if (pin !== undefined) return pin;
  }
  return undefined;
}

/** As the lease says at this moment. */
async function whoMakes({ now, signal }: PruneContext, facts: PruneFacts): Promise<string | undefined> {
  return await findLease(facts.stores, facts.systemIdentifier, now, signal);
}

async function sweep(
  context: PruneContext,
  plan: BackupPrunePlan,
  done: PrunedBackups,
  problems: Problem[],
): Promise<void> {
  const { db, settings, log, signal, applied } = context;
  for (const { store, place, id, row } of plan.remains) {
    try {
      const lease = isOfCluster(place) ? await whoMakes(context, plan.facts) : undefined;
      if (lease !== undefined) {
        done.notes.push(`what is left of backup ${id} stays: ${lease}`);
        continue;
      }
      await removeCopy(store, place, signal);
      await recordSwept(db, settings.stateSchema, row, store);
      applied.changes += 1;
      done.remains.push(id);
      log.info(
        { event: 'backup_remains_removed', backup: id, store: store.name },
        `removed what an interrupted run left of backup ${id} in ${store.name}`,
      );
    } catch (error) {
      problems.push({ table: id, error: ours(error) });
    }
  }
  // A run holds its lock from before it is in the ledger to its end.
  const ended = plan.ended.length > 0 && (await isJobRunning(db, 'backup')) ? [] : plan.ended;
  for (const row of ended) await recordBackupEnded(db, settings.stateSchema, row.id);
  for (const row of plan.vanished) await recordBackupStores(db, settings.stateSchema, row.id, row.stores);
  for (const { store, upload } of plan.uploads) {
    try {
      await store.abortUpload(upload);
      applied.changes += 1;
      done.uploads += 1;
    } catch (error) {
      problems.push({ table: upload.key, error: ours(error) });
    }
  }
}

async function recordSwept(
  db: PruneContext['db'],
  schema: string,
  row: BackupRow | undefined,
  store: Store,
): Promise<void> {
  if (row === undefined) return;
  if (row.state === 'running') await recordBackupEnded(db, schema, row.id);
  row.stores = row.stores.filter((name) => name !== store.name);
  await recordBackupStores(db, schema, row.id, row.stores);
}

/** Deletions at a time, and how many files of WAL are listed before they are removed. */
const deletersAtOnce = 8;
const walAtOnce = 1000;

/** Of a run that removes nothing else, WAL is what its history begins with. */
type WalContext = PruneContext & { begin: () => Promise<void> };

async function removeWal(
  context: WalContext,
  plan: BackupPrunePlan,
  stays: Set<string>,
  done: PrunedBackups,
  problems: Problem[],
): Promise<void> {
  const { facts } = plan;
  // What could not be removed needs its WAL: the cutoff is made anew from what is there now.
  const gone = new Set(
    plan.targets
      .filter((target) => target.staysIn.length === 0 && !stays.has(target.id))
      .map((target) => target.id),
  );
  const left = facts.survey.backups.flatMap(({ id, manifest }) =>
    manifest !== undefined && isPhysical(manifest.kind) && !gone.has(id)
      ? [{ manifest, isGood: plan.verdicts.find((one) => one.item.id === id)?.item.damage === undefined }]
      : [],
  );
  const cutoff = plan.cutoff === undefined ? undefined : walCutoff(left);
  if (cutoff === undefined || whyWalStays(facts) !== undefined) return;
  const lease = await whoMakes(context, facts);
  if (lease !== undefined) {
    done.wal.why = `WAL stays: ${lease}`;
    return;
  }
  for (const store of plan.stores) {
    try {
      await removeOldWal(context, plan, store, cutoff, done);
    } catch (error) {
      problems.push({ table: `WAL in "${store.name}"`, error: ours(error) });
    }
  }
}

/** Removes it in the order of the listing, some at a time: of an old cluster there are millions. */
async function removeOldWal(
  context: WalContext,
  plan: BackupPrunePlan,
  store: Store,
  cutoff: WalCutoff,
  done: PrunedBackups,
): Promise<void> {
  const { signal, log, applied } = context;
  const gone = { count: 0, first: '', last: '' };
  let batch: StoredWal[] = [];
  const flush = async () => {
    if (batch.length === 0) return;
    await context.begin();
    gone.first ||= batch[0]?.name ?? '';
    await inParallel(deletersAtOnce, batch, signal, async ({ key, sizeBytes }, own) => {
      await store.delete(key, { signal: own });
      done.wal.files += 1;
      done.wal.bytes += sizeBytes;
      gone.count += 1;
    });
    gone.last = batch.at(-1)?.name ?? '';
    batch = [];
  };
  try {
    for await (const file of listWal(store, plan.facts.systemIdentifier, { signal })) {
      if (isBeforeCutoff(file.parsed, cutoff)) batch.push(file);
      if (batch.length === walAtOnce) await flush();
    }
    await flush();
  } finally {
    if (gone.count > 0) {
      applied.changes += 1;
      log.info(
        { event: 'wal_removed', store: store.name, ...gone },
        `removed ${String(gone.count)} files of WAL from ${store.name}, from ${gone.first} on, before ${cutoff.startWal}`,
      );
    }
  }
}
