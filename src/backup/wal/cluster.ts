import { DbopsError } from '../../errors.ts';
import type { Store } from '../../storage/store.ts';
import { clusterKey } from './place.ts';

/** A cluster as it is registered in a store, cluster.json. */
export interface Cluster {
  systemIdentifier: string;
  walSegmentBytes: number;
  registeredAt: string;
  /** Where it was registered from. */
  host: string;
  dbops: string;
}

/**
 * Says in a store that this cluster's backups and WAL belong there; true when that was not said before. Until then the
 * store takes no WAL of it, and never answers that a segment is absent: an empty directory below the mount point of a disk
 * that is not mounted would. Throws what the store throws.
 */
export async function registerCluster(
  store: Store,
  cluster: Cluster,
  signal?: AbortSignal,
): Promise<boolean> {
  const body = Buffer.from(`${JSON.stringify(cluster, null, 2)}\n`);
  try {
    await store.put(clusterKey(cluster.systemIdentifier), body, { signal, ifAbsent: true });
    return true;
  } catch (error) {
    if (error instanceof DbopsError && error.code === 'store_exists') return false;
    throw error;
  }
}

/** What a store knows of a cluster; undefined when it was never registered there. Throws copy_damaged. */
export async function findCluster(
  store: Store,
  systemIdentifier: string,
  signal?: AbortSignal,
): Promise<Cluster | undefined> {
  const key = clusterKey(systemIdentifier);
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of (await store.get(key, { signal })) as AsyncIterable<Buffer>) chunks.push(chunk);
  } catch (error) {
    if (error instanceof DbopsError && error.code === 'store_missing') return undefined;
    throw error;
  }
  try {
    const value = JSON.parse(Buffer.concat(chunks).toString()) as Cluster | null;
    if (value?.systemIdentifier === systemIdentifier && Number.isInteger(value.walSegmentBytes)) return value;
  } catch {
    // Said below.
  }
  throw new DbopsError('copy_damaged', `${key} in store "${store.name}" is damaged`, {
    hint: 'Remove it and run "dbops wal commands" on the database host: it is written again.',
  });
}
