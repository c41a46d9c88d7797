import { DbopsError } from '../../errors.ts';
import type { Log } from '../../output/log.ts';
import { newId } from '../../storage/id.ts';
import type { Store } from '../../storage/store.ts';

/** Below a backup's folder: one file for each restore, drill or incremental backup that reads it at the moment. */
const pinFolder = 'pins/';

/** A pin that was not renewed for so long belongs to a run that was killed. */
const staleAfterMs = 6 * 3_600_000;
const renewEveryMs = 3_600_000;

/**
 * Keeps a backup, and with it what it needs, from being pruned while `work` reads it. A store that takes no pin (drills
 * read with credentials that may not write) is told as a warning: the work goes on, and fails loudly if the backup goes.
 */
export async function withPin<T>(
  pinned: { stores: Store[]; place: string },
  who: { what: 'restore' | 'drill' | 'backup'; host: string; log: Log },
  work: () => Promise<T>,
): Promise<T> {
  const { stores, place } = pinned;
  const key = `${place}${pinFolder}${newId()}.json`;
  const bytes = Buffer.from(
    `${JSON.stringify({ formatVersion: 1, what: who.what, host: who.host, at: new Date().toISOString() })}\n`,
  );
  const taken: Store[] = [];
  for (const store of stores) {
    try {
      await store.put(key, bytes);
      taken.push(store);
    } catch (error) {
      if (!(error instanceof DbopsError) || error.exitCode > 128) throw error;
      who.log.warn(
        { event: 'backup_not_pinned', store: store.name },
        `store "${store.name}" takes no pin, so that a prune may remove the backup meanwhile: ${error.message}`,
      );
    }
  }
  let renewing: Promise<unknown> = Promise.resolve();
  const timer = setInterval(() => {
    renewing = Promise.allSettled(taken.map((store) => store.put(key, bytes)));
  }, renewEveryMs);
  timer.unref();
  try {
    return await work();
  } finally {
    clearInterval(timer);
    // One that is under way would write the pin again behind its deletion.
    await renewing;
    for (const store of taken) await store.delete(key).catch(() => undefined);
  }
}

/** Why a backup is in use, by any pin that is fresh; undefined when it is not. Throws what the store throws. */
export async function findPin(
  store: Store,
  place: string,
  now: Date,
  signal?: AbortSignal,
): Promise<string | undefined> {
  for await (const object of store.list(`${place}${pinFolder}`, { signal })) {
    if (now.getTime() - object.modifiedAt.getTime() < staleAfterMs)
      return `a restore, a drill or a backup that builds on it reads it since ${object.modifiedAt.toISOString()}`;
  }
  return undefined;
}
