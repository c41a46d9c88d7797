import { DbopsError } from '../errors.ts';
import { compareStored, damaged, hashOf } from './read.ts';
import type { Store, Stored } from './store.ts';

/** The object without which an archive or a backup does not exist: it is written last, and removed first. */
export const manifestName = 'manifest.json';

/** The stores of one archive or backup while it is made. */
export interface Copies {
  /** Those that have everything so far; one that fails is taken out. */
  stores: Store[];
  /** In how many of them it must be in the end. */
  required: number;
  /** Told of a store that failed and can be done without. */
  onLost: (store: Store, error: DbopsError) => void;
}

/**
 * Goes on without a store that failed, when the others are enough; throws what it failed with when they are not, or when
 * the failure is none of a store's.
 */
export function loseStore(copies: Copies, store: Store, error: unknown): void {
  // Parts are copied at once: another one may have lost it already.
  if (!copies.stores.includes(store)) return;
  const isOfStore = error instanceof DbopsError && (isStoreFailure(error) || error.code === 'copy_damaged');
  if (!isOfStore || copies.stores.length - 1 < copies.required) throw error;
  copies.stores.splice(copies.stores.indexOf(store), 1);
  copies.onLost(store, error);
}

/** Whether a store could not be asked, which says nothing about what lies in it. */
export function isStoreFailure(error: DbopsError): boolean {
  return ['store_failed', 'store_denied', 'store_missing', 'store_exists'].includes(error.code);
}

/** Writes a small file to each store and reads it back. */
export async function putEverywhere(
  copies: Copies,
  key: string,
  bytes: Buffer,
  signal: AbortSignal,
): Promise<Stored> {
  let written: Stored | undefined;
  for (const store of [...copies.stores]) {
    try {
      const stored = await store.put(key, bytes, { signal, ifAbsent: true });
      const found = await hashOf(store, key, signal);
      if (found.sha256 !== stored.sha256) throw damaged(store, key, 'it is not what was written');
      written = stored;
    } catch (error) {
      loseStore(copies, store, error);
    }
  }
  if (written === undefined) throw new Error('copies without a store');
  return written;
}

/**
 * Takes away what was written of an archive or a backup that does not exist, the manifest first. Returns the stores in which that
 * failed: they may be what the archive failed for.
 */
export async function removeRemains(stores: Store[], place: string): Promise<Store[]> {
  const failed: Store[] = [];
  for (const store of stores) {
    try {
      for await (const upload of store.listUploads(place)) await store.abortUpload(upload);
      const keys: string[] = [];
      for await (const object of store.list(place)) keys.push(object.key);
      const manifest = `${place}${manifestName}`;
      if (keys.includes(manifest)) await store.delete(manifest);
      for (const key of keys) await store.delete(key);
    } catch (error) {
      if (!(error instanceof DbopsError)) throw error;
      failed.push(store);
    }
  }
  return failed;
}

/**
 * Copies an object from the first store to the others, and reads it back there. One that fails is lost, when the rest is
 * enough; what is wrong with the first one is thrown, since no other has anything that it has not.
 */
export async function copyToOthers(
  copies: Copies,
  key: string,
  expected: Stored,
  signal: AbortSignal,
): Promise<void> {
  const [first, ...others] = copies.stores;
  if (first === undefined) throw new Error('copies without a store');
  for (const store of others) {
    let isOfFirst = false;
    try {
      await copyObject(first, store, key, expected, signal, () => (isOfFirst = true));
    } catch (error) {
      if (signal.aborted || isOfFirst) throw error;
      loseStore(copies, store, error);
    }
  }
}

/**
 * Copies an object between stores, and reads it back there. Throws copy_damaged or what the stores throw; `onSource` is told
 * before what is thrown is the fault of the store that is read.
 */
export async function copyObject(
  from: Store,
  to: Store,
  key: string,
  expected: Stored,
  signal: AbortSignal,
  onSource: () => void = () => undefined,
): Promise<void> {
  const ofSource = (error: unknown): never => {
    onSource();
    throw error;
  };
  const source = await from.get(key, { signal }).catch(ofSource);
  // A store that fails before it reads leaves the stream to whoever aborts next, and nobody listens then.
  source.on('error', () => undefined);
  try {
    const written = await to.put(key, readingFrom(source, ofSource), { signal });
    try {
      compareStored(from, key, written, expected);
    } catch (error) {
      ofSource(error);
    }
  } finally {
    source.destroy();
  }
  compareStored(to, key, await hashOf(to, key, signal), expected);
}

async function* readingFrom(
  source: AsyncIterable<Buffer>,
  onError: (error: unknown) => never,
): AsyncGenerator<Buffer> {
  try {
    yield* source;
  } catch (error) {
    onError(error);
  }
}
