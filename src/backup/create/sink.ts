import { copyToOthers, type Copies } from '../../storage/copies.ts';
import type { BackupFile } from '../manifest.ts';
import type { Sink } from './maker.ts';

/**
 * Files go to the first store as they come, and from there, read back, to the others. A further store that fails is lost,
 * when the rest is enough; the first one is not given up here, since what it took cannot be had again.
 */
export function makeSink(copies: Copies, place: string, signal: AbortSignal): Sink {
  const files: BackupFile[] = [];
  const first = () => {
    const [store] = copies.stores;
    if (store === undefined) throw new Error('a backup without a store');
    return store;
  };
  return {
    files,
    put: async (name, body) => {
      const key = `${place}${name}`;
      const stored = await first().put(key, body, { signal, ifAbsent: true });
      await copyToOthers(copies, key, stored, signal);
      const file = { name, sizeBytes: stored.sizeBytes, sha256: stored.sha256 };
      files.push(file);
      return file;
    },
    get: async (name, range) => await first().get(`${place}${name}`, { signal, range }),
  };
}
