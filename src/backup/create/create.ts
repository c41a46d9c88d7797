import { DbopsError } from '../../errors.ts';
import { humanBytes } from '../../output/human.ts';
import { runHook } from '../../process/hook.ts';
import { insertBackup, recordBackupDone, recordBackupState } from '../../sql/backups.ts';
import { getServerIdentity } from '../../sql/export.ts';
import { loseStore, manifestName, putEverywhere, removeRemains, type Copies } from '../../storage/copies.ts';
import { newId } from '../../storage/id.ts';
import type { Store } from '../../storage/store.ts';
import { factsOf } from '../catalogue/facts.ts';
import type { BackupContext } from '../context.ts';
import {
  backupManifestVersion,
  storedBytesOf,
  writeBackupManifest,
  type BackupManifest,
} from '../manifest.ts';
import { backupPrefix } from '../place.ts';
import { registerCluster } from '../wal/cluster.ts';
import type { BackupPlan, BackupWish, Maker } from './maker.ts';
import { makeSink } from './sink.ts';

export interface CreatedBackup {
  id: string;
  /** Its folder in each store. */
  place: string;
  manifest: BackupManifest;
  /** Names of the stores in which it is. */
  stores: string[];
}

/**
 * Makes one backup: its files, then its manifest, in as many stores as are required. Until the manifest is there the
 * backup does not exist, and what was written of it is removed when anything fails. Throws tool_failed, store_failed,
 * refused; a failure is also told to `backup.onFailure`.
 */
export async function createBackup<Plan extends BackupPlan>(
  context: BackupContext,
  wish: BackupWish,
  maker: Maker<Plan>,
  plan: Plan,
): Promise<CreatedBackup> {
  try {
    return await attempt(context, wish, maker, plan);
  } catch (error) {
    await reportFailure(context, wish, error);
    throw error;
  }
}

async function attempt<Plan extends BackupPlan>(
  context: BackupContext,
  wish: BackupWish,
  maker: Maker<Plan>,
  plan: Plan,
): Promise<CreatedBackup> {
  const { db, settings, log, signal } = context;
  const { systemIdentifier } = await getServerIdentity(db);
  const id = newId();
  const place = backupPrefix(systemIdentifier, plan.database, id);
  const startedAt = new Date();
  const lost: Store[] = [];
  const copies: Copies = {
    stores: await Promise.all(settings.backup.copies.map(context.openStore)),
    required: settings.backup.required,
    onLost: (store, error) => {
      lost.push(store);
      log.warn(
        { event: 'backup_copy_failed', store: store.name, backup: id },
        `no copy in store "${store.name}": ${error.message}`,
      );
    },
  };
  if (copies.stores.length === 0) {
    throw new DbopsError('store_unknown', 'there is no store for backups', {
      hint: 'Name one under "stores:" in the configuration, with its url (file:///path or s3://bucket/prefix).',
    });
  }
  await context.history.begin(db, plan.steps);
  // A standby takes no rows: its backups are in the stores alone, as after the loss of the database.
  const hasLedger = !db.server.isStandby;
  const insert = hasLedger ? insertBackup : () => Promise.resolve();
  await insert(db, settings.stateSchema, {
    id,
    kind: wish.kind,
    database: plan.database,
    place,
    stores: settings.backup.copies,
    reason: wish.reason,
    startedAt,
  });
  let manifest: BackupManifest;
  try {
    const { made, files } = await makeFiles(context, wish, maker, plan, { id, place, copies });
    manifest = {
      formatVersion: backupManifestVersion,
      id,
      kind: wish.kind,
      startedAt: startedAt.toISOString(),
      finishedAt: new Date().toISOString(),
      reason: wish.reason,
      createdBy: {
        dbops: context.version,
        host: context.host,
        osUser: context.osUser,
        databaseUser: db.server.user,
      },
      server: { systemIdentifier, version: db.server.version, versionNum: db.server.versionNum },
      database: plan.database,
      sourceBytes: plan.sourceBytes,
      files,
      ...made,
    };
    await putEverywhere(
      copies,
      `${place}${manifestName}`,
      Buffer.from(writeBackupManifest(manifest)),
      signal,
    );
  } catch (error) {
    const left = await clear(context, [...copies.stores, ...lost], place);
    const message = error instanceof Error ? error.message : String(error);
    // What could not be removed now is removed by the next prune, as after a kill.
    if (left.length === 0 && hasLedger)
      await recordBackupState(db, settings.stateSchema, id, 'failed', message).catch(() => undefined);
    throw error;
  }
  await clear(context, lost, place);
  await register(context, copies.stores, manifest);
  const stores = copies.stores.map((store) => store.name);
  // From here on it exists: when the ledger cannot be told, "backup list --rebuild" finds it.
  if (hasLedger) {
    await recordBackupDone(db, settings.stateSchema, id, {
      stores,
      ...factsOf(manifest),
    });
  } else {
    log.warn(
      { event: 'backup_without_ledger', backup: id },
      'made from a standby, where the ledger cannot be written: "dbops backup list --rebuild" shows it',
    );
  }
  context.applied.changes += 1;
  log.info(
    { event: 'backup_completed', backup: id, kind: wish.kind, stores, storedBytes: storedBytesOf(manifest) },
    `backup ${id} (${wish.kind}): ${humanBytes(storedBytesOf(manifest))} in ${stores.join(', ')}`,
  );
  return { id, place, manifest, stores };
}

/** A recovery from this backup asks these stores for WAL, and one that does not know the cluster never says "not there". */
async function register(context: BackupContext, stores: Store[], manifest: BackupManifest): Promise<void> {
  if (manifest.physical === null) return;
  const cluster = {
    systemIdentifier: manifest.server.systemIdentifier,
    walSegmentBytes: manifest.physical.walSegmentBytes,
    registeredAt: new Date().toISOString(),
    host: context.host,
    dbops: context.version,
  };
  for (const store of stores) {
    try {
      if (!(await registerCluster(store, cluster, context.signal))) continue;
      context.log.info(
        { event: 'wal_registered', store: store.name, cluster: cluster.systemIdentifier },
        `the cluster ${cluster.systemIdentifier} is registered in store "${store.name}" now`,
      );
    } catch (error) {
      if (!(error instanceof DbopsError)) throw error;
      context.log.warn(
        { event: 'wal_not_registered', store: store.name, cluster: cluster.systemIdentifier },
        `the cluster is not registered in store "${store.name}", "dbops wal commands" does that: ${error.message}`,
      );
    }
  }
}

/** Where the first store fails and the others are enough, they get everything anew. */
async function makeFiles<Plan extends BackupPlan>(
  context: BackupContext,
  wish: BackupWish,
  maker: Maker<Plan>,
  plan: Plan,
  where: { id: string; place: string; copies: Copies },
) {
  for (;;) {
    const [first] = where.copies.stores;
    if (first === undefined) throw new Error('no store to back up to');
    const sink = makeSink(where.copies, where.place, context.signal);
    try {
      const made = await maker.make(
        { context, wish, id: where.id, place: where.place, sink, stores: [...where.copies.stores] },
        plan,
      );
      return { made, files: sink.files };
    } catch (error) {
      if (context.signal.aborted) throw error;
      loseStore(where.copies, first, error);
      await removeRemains(where.copies.stores, where.place);
    }
  }
}

/** Removes what was written; an interruption does not keep it from being removed. */
async function clear(context: BackupContext, stores: Store[], place: string): Promise<Store[]> {
  const left = await removeRemains(stores, place);
  for (const store of left) {
    context.log.warn(
      { event: 'backup_remains', store: store.name, place },
      `remains of this run could not be removed from store "${store.name}"; "dbops backup prune" does that`,
    );
  }
  return left;
}

/** Says that there is no backup, in the log and to `backup.onFailure`. */
export async function reportFailure(context: BackupContext, wish: BackupWish, error: unknown): Promise<void> {
  const known = error instanceof DbopsError ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  context.log.error(
    { event: 'backup_failed', kind: wish.kind, code: known?.code ?? 'bug' },
    `no backup (${wish.kind}): ${message}`,
  );
  const command = context.settings.backup.onFailure;
  if (command === undefined) return;
  const problem = await runHook(command, {
    event: 'backup_failed',
    at: new Date().toISOString(),
    host: context.host,
    database: context.db.server.database,
    kind: wish.kind,
    error: { code: known?.code ?? 'bug', message, detail: known?.detail, hint: known?.hint },
  });
  if (problem !== undefined)
    context.log.warn({ event: 'hook_failed' }, `"backup.onFailure" failed: ${problem}`);
}
