import { text as readText } from 'node:stream/consumers';
import { DbopsError } from '../../errors.ts';
import { ours } from '../../catalogue/stored.ts';
import type { Store } from '../../storage/store.ts';
import { backupsPrefix } from '../place.ts';

/**
 * Who makes a base backup of the cluster at the moment, from wherever; undefined: nobody. A lease that cannot be read, or
 * of a store that cannot say whether it has one, is held: the next base backup takes it over.
 */
export async function findLease(
  stores: Store[],
  systemIdentifier: string,
  now: Date,
  signal: AbortSignal,
): Promise<string | undefined> {
  const key = `${backupsPrefix(systemIdentifier, null)}lease.json`;
  for (const store of stores) {
    try {
      const lease = JSON.parse(await readText(await store.get(key, { signal }))) as {
        host?: unknown;
        expiresAt?: unknown;
      } | null;
      const expiresAt = Date.parse(String(lease?.expiresAt));
      if (Number.isNaN(expiresAt)) return unreadable(store, 'it does not say when it expires');
      if (expiresAt > now.getTime()) return `a base backup is being made from host ${String(lease?.host)}`;
    } catch (error) {
      if (error instanceof SyntaxError) return unreadable(store, error.message);
      if (error instanceof DbopsError && error.code === 'store_missing') continue;
      return unreadable(store, ours(error).message);
    }
  }
  return undefined;
}

function unreadable(store: Store, why: string): string {
  return `whether a base backup is being made cannot be told: lease.json in store "${store.name}": ${why}`;
}
