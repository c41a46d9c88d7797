import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { DbopsError } from '../../errors.ts';
import { reasonOf } from '../../process/child.ts';
import { decompress } from '../../process/copy.ts';
import { compareStored, damaged, forward } from '../../storage/read.ts';
import type { Store, Stored } from '../../storage/store.ts';
import { LineDigest } from '../digest.ts';

/** What a part was found to be when it was read from its store. */
export interface ReadBack {
  rows: number;
  plainBytes: number;
  /** Of the decompressed bytes. */
  plainSha256: string;
  /** Of the rows, where it was asked for. */
  digest: string | null;
}

export interface ReadBackOptions {
  /** Path of the zstd program. */
  zstd: string;
  signal?: AbortSignal | undefined;
  isGentle?: boolean;
  withDigest?: boolean;
  onBytes?: ((bytes: number) => void) | undefined;
}

const newline = 10;

/**
 * Reads a part back from its store: compares the stored bytes with what was written, decompresses them, hashes and counts.
 * Memory is bounded. Throws copy_damaged naming the object, or what the store throws.
 */
export async function readBack(
  store: Store,
  key: string,
  expected: Stored,
  options: ReadBackOptions,
): Promise<ReadBack> {
  const { signal } = options;
  const source = await store.get(key, { signal });
  // zstd reads a file by itself; the bytes are hashed here all the same.
  const file = store.localPath?.(key);
  const zstd = decompress(options.zstd, { signal, isGentle: options.isGentle === true, file });
  try {
    const [stored, plain] = await Promise.all([
      forward(source, file === undefined ? zstd.stored : undefined, options.onBytes),
      count(zstd.plain, options.withDigest === true),
    ]);
    compareStored(store, key, stored, expected);
    await zstd.finished;
    return plain();
  } catch (cause) {
    zstd.stop();
    const error = await reasonOf(cause, zstd.finished);
    const isBroken = error instanceof DbopsError && error.code === 'tool_failed';
    throw isBroken ? damaged(store, key, `zstd cannot read it: ${error.detail ?? error.message}`) : error;
  }
}

/** What came is asked for once the program has ended well: of a stream that was cut nothing can be said. */
async function count(plain: Readable, withDigest: boolean): Promise<() => ReadBack> {
  const hash = createHash('sha256');
  const digest = withDigest ? new LineDigest() : undefined;
  let rows = 0;
  let plainBytes = 0;
  for await (const chunk of plain as AsyncIterable<Buffer>) {
    hash.update(chunk);
    plainBytes += chunk.length;
    if (digest !== undefined) digest.update(chunk);
    else for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, at + 1)) rows += 1;
  }
  return () => ({
    rows: digest?.rows ?? rows,
    plainBytes,
    plainSha256: hash.digest('hex'),
    digest: digest?.value() ?? null,
  });
}
