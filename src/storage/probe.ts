import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { DbopsError } from '../errors.ts';
import { storeKey } from './key.ts';
import type { Store, UnfinishedUpload } from './store.ts';
import { abandonedAfterMs, abandonedUploads } from './sweep.ts';

/** What a store is asked to do. Without the first five no archive can be made and believed. */
export type Ability =
  | 'write'
  | 'read'
  | 'list'
  | 'write in parts'
  | 'read in parts'
  | 'refuse to replace'
  | 'drop an upload'
  | 'list uploads'
  | 'delete';

/** What the store lacks. */
export interface Lack {
  ability: Ability;
  message: string;
  hint: string | undefined;
}

/** What a store can do. */
export interface StoreProbe {
  abilities: Ability[];
  lacks: Lack[];
  /** Begun more than a day ago, by whomever. */
  abandoned: UnfinishedUpload[];
  milliseconds: number;
}

export interface ProbeOptions {
  /** The size of a part; an object of one byte more goes up in two. */
  partSizeBytes: number;
  now: Date;
  signal?: AbortSignal | undefined;
}

/** The folder of the test objects, for whoever finds one that a killed probe left. */
const folder = 'dbops-probe';

/**
 * Tries every kind of access with objects of its own, under a key that nobody else has, and deletes them. What one
 * ability lacks does not hide the others. Throws interrupted, and nothing else.
 */
export async function probeStore(store: Store, options: ProbeOptions): Promise<StoreProbe> {
  const startedAt = Date.now();
  const probe = new Probe(store, options);
  try {
    await probe.run();
  } finally {
    await probe.cleanUp();
  }
  return { ...probe.found, milliseconds: Date.now() - startedAt };
}

class Probe {
  readonly found: Omit<StoreProbe, 'milliseconds'> = { abilities: [], lacks: [], abandoned: [] };
  readonly #store: Store;
  readonly #options: ProbeOptions;
  readonly #prefix = `${storeKey(folder, randomUUID())}/`;
  readonly #small = randomBytes(1000);

  constructor(store: Store, options: ProbeOptions) {
    this.#store = store;
    this.#options = options;
  }

  async run(): Promise<void> {
    const key = `${this.#prefix}small`;
    const store = this.#store;
    const { signal } = this.#options;
    const isWritten = await this.#try('write', () => store.put(key, this.#small, { signal }));
    await this.#try('list', () => this.#list(isWritten));
    await this.#try('list uploads', () => this.#listUploads());
    if (!isWritten) return;
    await this.#try('read', async () =>
      this.#same(await buffer(await store.get(key, { signal })), this.#small),
    );
    await this.#try('read in parts', async () => {
      const range = { start: 100, end: 200 };
      this.#same(await buffer(await store.get(key, { range, signal })), this.#small.subarray(100, 200));
    });
    await this.#try('refuse to replace', () => this.#refuseToReplace(key));
    await this.#try('write in parts', () => this.#writeInParts());
    await this.#try('drop an upload', () => this.#dropUpload());
    await this.#try('delete', async () => {
      await store.delete(key, { signal });
      if ((await store.head(key, { signal })) !== undefined) throw lack('what was deleted is still there');
    });
  }

  /** Without the signal: an interrupted probe cleans up too. */
  async cleanUp(): Promise<void> {
    if (!this.found.abilities.includes('write')) return;
    for (const name of ['small', 'large']) {
      await this.#store.delete(`${this.#prefix}${name}`).catch(() => undefined);
    }
  }

  async #try(ability: Ability, run: () => Promise<unknown>): Promise<boolean> {
    try {
      await run();
      this.found.abilities.push(ability);
      return true;
    } catch (error) {
      if (!(error instanceof DbopsError) || ['interrupted', 'terminated'].includes(error.code)) throw error;
      const message = [error.message, error.detail].filter((part) => part !== undefined).join(': ');
      this.found.lacks.push({ ability, message, hint: error.hint });
      return false;
    }
  }

  async #list(isWritten: boolean): Promise<void> {
    const keys: string[] = [];
    for await (const object of this.#store.list(this.#prefix, this.#options)) keys.push(object.key);
    if (isWritten && keys.length !== 1) throw lack('a listing does not show what was just written');
  }

  async #listUploads(): Promise<void> {
    const before = new Date(this.#options.now.getTime() - abandonedAfterMs);
    this.found.abandoned.push(...(await abandonedUploads(this.#store, '', before)));
  }

  /** The store itself has to refuse: two runs that look first can both see nothing. */
  async #refuseToReplace(key: string): Promise<void> {
    const { signal } = this.#options;
    try {
      await this.#store.put(key, this.#small, { ifAbsent: true, withoutLooking: true, signal });
    } catch (error) {
      if (error instanceof DbopsError && error.code === 'store_exists') return;
      throw error;
    }
    throw lack(
      'an object is replaced although it should only be written where there is none',
      'dbops looks before it writes, which two runs at the same moment outrun. Use a server that knows If-None-Match, or let one host archive to this store.',
    );
  }

  async #writeInParts(): Promise<void> {
    const { signal } = this.#options;
    const key = `${this.#prefix}large`;
    const bytes = this.#large();
    const { sha256 } = await this.#store.put(key, bytes, { signal });
    const read = await buffer(await this.#store.get(key, { signal }));
    this.#same(read, bytes);
    if (createHash('sha256').update(read).digest('hex') !== sha256)
      throw lack('other bytes came back than were sent');
  }

  /** An upload that fails on purpose must leave nothing. */
  async #dropUpload(): Promise<void> {
    const key = `${this.#prefix}failed`;
    const bytes = this.#large();
    const failure = new Error('on purpose');
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield bytes;
      await Promise.reject(failure);
    }
    await this.#store.put(key, failing(), { signal: this.#options.signal }).catch((error: unknown) => {
      if (error !== failure) throw error;
    });
    for await (const upload of this.#store.listUploads(key)) {
      // Says why it could not be dropped before.
      await this.#store.abortUpload(upload);
    }
  }

  #large(): Buffer {
    return randomBytes(this.#options.partSizeBytes + 1);
  }

  #same(read: Buffer, written: Uint8Array): void {
    if (!read.equals(written)) throw lack('other bytes came back than were sent');
  }
}

function lack(message: string, hint?: string): DbopsError {
  return new DbopsError('store_failed', message, hint === undefined ? {} : { hint });
}
