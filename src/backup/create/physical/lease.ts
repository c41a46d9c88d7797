import { text } from 'node:stream/consumers';
import { DbopsError } from '../../../errors.ts';
import { isAlive } from '../../../process/alive.ts';
import { isStoreFailure } from '../../../storage/copies.ts';
import type { Store } from '../../../storage/store.ts';
import type { BackupContext } from '../../context.ts';
import { backupsPrefix } from '../../place.ts';

/** Who makes a base backup of a cluster at the moment; lies beside the backups as lease.json. */
interface Lease {
  formatVersion: 1;
  backup: string;
  host: string;
  pid: number;
  at: string;
  /** After this time the run has died. */
  expiresAt: string;
}

/** Ten renewals may fail before it expires, and clocks of two hosts may differ by some minutes. */
const lifeMs = 10 * 60_000;
const renewEveryMs = 60_000;

/** A lease that is held. */
export interface HeldLease {
  /** Throws lock_busy when another run has taken it meanwhile: then this backup must not come into being. */
  check: () => Promise<void>;
}

/**
 * Runs `work` while a lease in each store keeps base backups of the same cluster from being made from another host: from a
 * standby, or through another database, where no advisory lock of this session is seen. Throws lock_busy with the holder.
 */
export async function withLease<T>(
  context: BackupContext,
  backup: { id: string; systemIdentifier: string; stores: Store[] },
  work: (lease: HeldLease) => Promise<T>,
): Promise<T> {
  const key = `${backupsPrefix(backup.systemIdentifier, null)}lease.json`;
  const body = () => Buffer.from(`${JSON.stringify(leaseOf(context, backup.id), null, 2)}\n`);
  const held: Store[] = [];
  const check = async () => {
    for (const store of held) {
      const found = await findLease(store, key).catch(ignoreStoreFailure);
      if (found !== undefined && found.backup !== backup.id) throw busy(found, store);
    }
  };
  const renew = async () => {
    for (const store of held) {
      const found = await findLease(store, key).catch(() => undefined);
      if (found?.backup === backup.id) await store.put(key, body()).catch(() => undefined);
    }
  };
  try {
    for (const store of backup.stores) {
      try {
        await take(store, key, body(), context);
        held.push(store);
      } catch (error) {
        // The backup itself tells whether this store can be done without.
        if (!(error instanceof DbopsError) || !isStoreFailure(error)) throw error;
      }
    }
    await check();
    let renewing = Promise.resolve();
    const timer = setInterval(() => {
      renewing = renew();
    }, renewEveryMs);
    timer.unref();
    try {
      return await work({ check });
    } finally {
      clearInterval(timer);
      // One that is under way would write the lease again behind its deletion.
      await renewing;
    }
  } finally {
    for (const store of held) {
      const found = await findLease(store, key).catch(() => undefined);
      if (found?.backup === backup.id) await store.delete(key).catch(() => undefined);
    }
  }
}

function leaseOf(context: BackupContext, backup: string): Lease {
  const now = Date.now();
  return {
    formatVersion: 1,
    backup,
    host: context.host,
    pid: context.pid,
    at: new Date(now).toISOString(),
    expiresAt: new Date(now + lifeMs).toISOString(),
  };
}

/** A run of this host that was killed is known to be dead. */
function isHeld(lease: Lease, host: string): boolean {
  if (lease.host === host && !isAlive(lease.pid)) return false;
  return Date.parse(lease.expiresAt) > Date.now();
}

async function take(
  store: Store,
  key: string,
  body: Buffer,
  { host, signal }: Pick<BackupContext, 'host' | 'signal'>,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await store.put(key, body, { signal, ifAbsent: true });
      return;
    } catch (error) {
      if (!(error instanceof DbopsError) || error.code !== 'store_exists' || attempt === 3) throw error;
    }
    const found = await findLease(store, key);
    if (found !== undefined && isHeld(found, host)) throw busy(found, store);
    // Two runs may find it dead at once: check() tells the one whose lease was deleted by the other.
    if (found !== undefined) await store.delete(key, { signal });
  }
}

/** Undefined where there is none. What cannot be read as a lease has expired: it keeps nobody from backups for ever. */
async function findLease(store: Store, key: string): Promise<Lease | undefined> {
  try {
    const value = JSON.parse(await text(await store.get(key))) as Partial<Lease> | null;
    const { backup = '', host = '', pid = 0, at = '', expiresAt = '' } = value ?? {};
    return {
      formatVersion: 1,
      backup,
      host,
      pid,
      at,
      expiresAt: Number.isNaN(Date.parse(expiresAt)) ? at : expiresAt,
    };
  } catch (error) {
    if (error instanceof DbopsError && error.code === 'store_missing') return undefined;
    if (error instanceof SyntaxError)
      return { formatVersion: 1, backup: '', host: '', pid: 0, at: '', expiresAt: '' };
    throw error;
  }
}

function ignoreStoreFailure(error: unknown): undefined {
  if (error instanceof DbopsError && isStoreFailure(error)) return undefined;
  throw error;
}

function busy(lease: Lease, store: Store): DbopsError {
  return new DbopsError(
    'lock_busy',
    `another base backup of this cluster is being made: ${lease.backup} by process ${String(lease.pid)} on host ${lease.host}, since ${lease.at}`,
    {
      hint: `Wait for it to end. If that run has died, its lease (lease.json in store "${store.name}") expires at ${lease.expiresAt}.`,
    },
  );
}
