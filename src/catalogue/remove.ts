import { manifestName } from '../storage/copies.ts';
import type { Store } from '../storage/store.ts';

/** Removes one copy. The manifest goes first, so that a kill leaves nothing that looks whole. Throws what the store throws. */
export async function removeCopy(store: Store, place: string, signal: AbortSignal): Promise<void> {
  await store.delete(`${place}${manifestName}`, { signal });
  const keys: string[] = [];
  for await (const object of store.list(place, { signal })) keys.push(object.key);
  for (const key of keys) await store.delete(key, { signal });
}
