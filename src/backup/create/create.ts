import { findMissing } from '../../catalogue/presence.ts';
import { DbopsError } from '../../errors.ts';
import { humanBytes } from '../../output/human.ts';
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
  type BackupFile,
  type BackupManifest,
} from '../manifest.ts';
import { backupPrefix } from '../place.ts';
import { registerCluster } from '../wal/cluster.ts';
import { recordUnmade, tellLedger } from './ledger.ts';
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

/** Plans one backup. Throws what the maker throws; the ledger is told of the failure, see recordUnmade. */
export async function planBackup<Plan extends BackupPlan>(
  context: BackupContext,
  wish: BackupWish,
  maker: Maker<Plan>,
): Promise<Plan> {
  const startedAt = new Date();
  try {
    return await maker.plan(context, wish);
  } catch (error) {
    await recordUnmade(context, wish, startedAt, error);
    throw error;
  }
}

/** A backup whose row is in the ledger, and nothing else yet. */
interface Begun {
  id: string;
  place: string;
  startedAt: Date;
  systemIdentifier: string;
  copies: Copies;
  /** Stores that were given up. */
  lost: Store[];
}

/**
 * Makes one backup: its files, then its manifest, in as many stores as are required. Until the manifest is there the
 * backup does not exist, and what was written of it is removed when anything fails. Throws tool_failed, store_failed,
 * refused.
 */
export async function createBackup<Plan extends BackupPlan>(
  context: BackupContext,
  wish: BackupWish,
  maker: Maker<Plan>,
  plan: Plan,
): Promise<CreatedBackup> {
  const startedAt = new Date();
  const begun = await begin(context, wish, plan, startedAt).catch(async (error: unknown) => {
    await recordUnmade(context, wish, startedAt, error);
    throw error;
  });
  const { id, place, copies, lost } = begun;
  let manifest: BackupManifest;
  try {
    const work = (check: () => Promise<void>) => write(context, wish, maker, plan, begun, check);
    const holding = { context, id, stores: [...copies.stores] };
    manifest =
      maker.hold === undefined ? await work(() => Promise.resolve()) : await maker.hold(holding, plan, work);
  } catch (error) {
    const left = await clear(context, [...copies.stores, ...lost], place);
    const message = error instanceof Error ? error.message : String(error);
    const { stateSchema } = context.settings;
    // What could not be removed now is removed by the next prune, as after a kill.
    if (left.length === 0 && hasLedger(context))
      await tellLedger(context, (db) => recordBackupState(db, stateSchema, id, 'failed', message)).catch(
        () => undefined,
      );
    throw error;
  }
  await clear(context, lost, place);
  await register(context, copies.stores, manifest);
  const stores = copies.stores.map((store) => store.name);
  await recordDone(context, manifest, stores);
  context.applied.changes += 1;
  context.log.info(
    { event: 'backup_completed', backup: id, kind: wish.kind, stores, storedBytes: storedBytesOf(manifest) },
    `backup ${id} (${wish.kind}): ${humanBytes(storedBytesOf(manifest))} in ${stores.join(', ')}`,
  );
  return { id, place, manifest, stores };
}

/** A standby takes no rows: its backups are in the stores alone, as after the loss of the database. */
function hasLedger({ db }: BackupContext): boolean {
  return !db.server.isStandby;
}

async function begin(
  context: BackupContext,
  wish: BackupWish,
  plan: BackupPlan,
  startedAt: Date,
): Promise<Begun> {
  const { db, settings, log } = context;
  const { systemIdentifier } = await getServerIdentity(db);
  const id = newId();
  const place = backupPrefix(systemIdentifier, plan.database, id);
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
  if (hasLedger(context)) {
    const { kind, reason } = wish;
    const { database } = plan;
    const row = { id, kind, database, place, stores: settings.backup.copies, reason, startedAt };
    await insertBackup(db, settings.stateSchema, row);
  }
  return { id, place, startedAt, systemIdentifier, copies, lost };
}

async function write<Plan extends BackupPlan>(
  context: BackupContext,
  wish: BackupWish,
  maker: Maker<Plan>,
  plan: Plan,
  { id, place, startedAt, systemIdentifier, copies }: Begun,
  check: () => Promise<void>,
): Promise<BackupManifest> {
  const { server } = context.db;
  const { made, files } = await makeFiles(context, wish, maker, plan, { id, place, copies });
  const manifest: BackupManifest = {
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
      databaseUser: server.user,
    },
    server: { systemIdentifier, version: server.version, versionNum: server.versionNum },
    database: plan.database,
    sourceBytes: plan.sourceBytes,
    files,
    ...made,
  };
  await check();
  await loseIncomplete(copies, place, files, context.signal);
  await putEverywhere(
    copies,
    `${place}${manifestName}`,
    Buffer.from(writeBackupManifest(manifest)),
    context.signal,
  );
  return manifest;
}

/**
 * Lists the folder in each store before the manifest makes a backup of it: a prune of somebody who knows nothing of this run
 * may have taken files of it for remains.
 */
async function loseIncomplete(
  copies: Copies,
  place: string,
  files: BackupFile[],
  signal: AbortSignal,
): Promise<void> {
  if (files.length === 0) return;
  for (const store of [...copies.stores]) {
    const [missing] = await findMissing({ store, place }, files, signal);
    if (missing === undefined) continue;
    const message = `${missing.object} in store "${store.name}", which was written before: ${missing.problem}`;
    loseStore(copies, store, new DbopsError('copy_damaged', message));
  }
}

/** From here on it exists: when the ledger cannot be told, "backup list --rebuild" finds it. */
async function recordDone(context: BackupContext, manifest: BackupManifest, stores: string[]): Promise<void> {
  const { log, settings } = context;
  const { id } = manifest;
  const warn = (why: string) =>
    log.warn(
      { event: 'backup_without_ledger', backup: id },
      `${why}: "dbops backup list --rebuild" shows it`,
    );
  if (!hasLedger(context)) {
    warn('made from a standby, where the ledger cannot be written');
    return;
  }
  const facts = { stores, ...factsOf(manifest) };
  try {
    await tellLedger(context, (db) => recordBackupDone(db, settings.stateSchema, id, facts));
  } catch (error) {
    warn(`backup ${id} is in its stores, and the ledger could not be told (${(error as Error).message})`);
  }
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
