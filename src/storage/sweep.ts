import type { Store, UnfinishedUpload } from './store.ts';

/** An upload that was begun this long ago belongs to no run any more. */
export const abandonedAfterMs = 86_400_000;

/** The uploads below a prefix that were begun before `before`, as the store's own clock has it. */
export async function abandonedUploads(
  store: Store,
  prefix: string,
  before: Date,
): Promise<UnfinishedUpload[]> {
  const found: UnfinishedUpload[] = [];
  for await (const upload of store.listUploads(prefix)) {
    if (upload.startedAt < before) found.push(upload);
  }
  return found;
}

/**
 * Drops them and returns what was dropped: a killed run leaves its upload behind, which costs space that no listing
 * shows. `before` leaves room for the longest upload there can be; abandonedAfterMs is the rule.
 */
export async function sweepUploads(store: Store, prefix: string, before: Date): Promise<UnfinishedUpload[]> {
  const found = await abandonedUploads(store, prefix, before);
  for (const upload of found) await store.abortUpload(upload);
  return found;
}
