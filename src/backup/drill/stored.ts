import type { Readable } from 'node:stream';
import { inParallel } from '../../process/parallel.ts';
import { compareStored, hashOf } from '../../storage/read.ts';
import type { GetOptions, Store } from '../../storage/store.ts';
import type { Drilling } from './context.ts';
import { reasonText, some, type Proof } from './report.ts';

/** What a restore read, seen from outside: so that a drill need not trust it to have read everything. */
export interface ReadObjects {
  /** Keys that were read from their first byte to their last. */
  keys: Set<string>;
  bytes: number;
  /** What was said of copies that were passed over. */
  damaged: string[];
}

/** A store that notes what is read from it. Everything else is that of the store itself. */
export function watchReads(store: Store, read: ReadObjects): Store {
  const get = async (key: string, options?: GetOptions): Promise<Readable> => {
    const stream = await store.get(key, options);
    // Listening to the data would start the stream before its reader is there.
    stream.once('end', () => {
      if (options?.range === undefined) read.keys.add(key);
    });
    const push = stream.push.bind(stream);
    stream.push = (chunk: Buffer | null, encoding?: BufferEncoding) => {
      if (chunk !== null) read.bytes += chunk.length;
      return push(chunk, encoding);
    };
    return stream;
  };
  return new Proxy(store, {
    get: (target, name) => {
      if (name === 'get') return get;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
    },
  });
}

/**
 * Every byte of one copy: what the restore has read was compared with the manifest on its way, and the rest of the files is
 * read now.
 */
export async function proveStored(drilling: Drilling): Promise<Omit<Proof, 'name'>> {
  const { backup, read, jobs, signal } = drilling;
  const wrong = [...read.damaged];
  const left = backup.manifest.files.filter((file) => !read.keys.has(`${backup.place}${file.name}`));
  const [store] = backup.stores;
  if (store === undefined) throw new Error('a backup in no store');
  await inParallel(jobs, left, signal, async (file, own) => {
    const key = `${backup.place}${file.name}`;
    try {
      compareStored(store, key, await hashOf(store, key, own), file);
    } catch (error) {
      wrong.push(reasonText(error));
    }
  });
  if (wrong.length > 0) return { outcome: 'failed', detail: some(wrong) };
  const { files } = backup.manifest;
  if (files.length === 0)
    return {
      outcome: 'unknown',
      detail: 'its files are in the repository of pgBackRest, which compares them itself',
    };
  return { outcome: 'ok', detail: `${String(files.length)} files are what the manifest says` };
}
