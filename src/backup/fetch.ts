import { rm } from 'node:fs/promises';
import type { Readable, Writable } from 'node:stream';
import { withGoodCopy } from '../archive/restore/copies.ts';
import { DbopsError } from '../errors.ts';
import type { Log } from '../output/log.ts';
import { startChild } from '../process/child.ts';
import { decompress } from '../process/copy.ts';
import { inParallel } from '../process/parallel.ts';
import { compareStored, forward } from '../storage/read.ts';
import type { Store } from '../storage/store.ts';
import type { BackupFile, BackupManifest } from './manifest.ts';

/** A backup whose files can be fetched: where it lies, what belongs to it, and the stores that have it, best first. */
export interface FetchedBackup {
  id: string;
  /** Its folder in each store, ending with /. */
  place: string;
  manifest: Pick<BackupManifest, 'files'>;
  stores: Store[];
}

export interface FetchContext {
  log: Log;
  signal: AbortSignal;
  /** Told of the stored bytes, for progress. */
  onBytes?: ((bytes: number) => void) | undefined;
}

/** The stored bytes of one file in one store. */
export interface StoredBytes {
  /** Where the store has it as a file of this host, which programs may read by themselves. */
  path: string | undefined;
  /**
   * Reads all bytes, gives them to `target`, ends it, and throws copy_damaged when they are not those of the manifest.
   * A program that reads `path` needs no target; the bytes are hashed all the same.
   */
  pass: (target?: Writable) => Promise<void>;
}

/**
 * Does something with the stored bytes of one file, in the first store whose copy is good. When a copy proves damaged or
 * cannot be read, the work is done anew with the next store's: it must begin from nothing each time, must not keep what it
 * made when it was rejected, and must have stopped its programs by then. Memory is bounded. Throws copy_damaged when no
 * copy is good, store_missing, store_failed, or what the work throws.
 */
export async function withStored<T>(
  context: FetchContext,
  backup: FetchedBackup,
  name: string,
  work: (bytes: StoredBytes) => Promise<T>,
): Promise<T> {
  const expected = fileOf(backup, name);
  return await withGoodCopy(context, backup, { name }, async (store, key) => {
    const source = await store.get(key, { signal: context.signal });
    let passing: Promise<void> | undefined;
    const pass = (target?: Writable) => {
      passing ??= forward(source, target, context.onBytes).then((found) =>
        compareStored(store, key, found, expected),
      );
      // After an interruption nobody may ask for it.
      passing.catch(() => undefined);
      return passing;
    };
    try {
      const result = await work({ path: store.localPath?.(key), pass });
      await pass();
      return result;
    } catch (error) {
      // A program that cannot read what it gets says so first; whether the copy is to blame, the hash tells.
      if (!context.signal.aborted) await pass();
      throw error;
    } finally {
      source.destroy();
    }
  });
}

/**
 * Does something with the bytes of a .zst file, decompressed, as withStored(). They pass through Node: where a program
 * reads them, join it to zstd with a kernel pipe instead.
 */
export async function withPlain<T>(
  context: FetchContext & { zstd: string },
  backup: FetchedBackup,
  name: string,
  work: (plain: Readable) => Promise<T>,
): Promise<T> {
  return await withStored(context, backup, name, async ({ path, pass }) => {
    const zstd = decompress(context.zstd, { signal: context.signal, file: path });
    try {
      const [result] = await Promise.all([
        work(zstd.plain),
        pass(path === undefined ? zstd.stored : undefined),
      ]);
      await zstd.finished;
      return result;
    } catch (error) {
      zstd.stop();
      throw error;
    }
  });
}

/** A file to be written to disk. */
export interface FetchTarget {
  name: string;
  /** Absolute; the folder is there. A file of this name is replaced. */
  path: string;
  /** Of a .zst file: write what it holds. */
  plain: boolean;
}

/**
 * Writes files of a backup to disk, the largest first, `jobs` at a time, each compared with the manifest on its way. What
 * could not be written whole is removed. Throws as withStored(), and tool_failed when a disk is full.
 */
export async function fetchFiles(
  context: FetchContext & { zstd: string; jobs: number },
  backup: FetchedBackup,
  targets: FetchTarget[],
): Promise<void> {
  const size = (target: FetchTarget) => fileOf(backup, target.name).sizeBytes;
  const ordered = [...targets].sort((one, other) => size(other) - size(one));
  await inParallel(context.jobs, ordered, context.signal, async (target, signal) => {
    const own = { ...context, signal };
    try {
      await withStored(own, backup, target.name, (bytes) => write(own, target, bytes));
    } catch (error) {
      await rm(target.path, { force: true });
      throw error;
    }
  });
}

/** Plain bytes do not pass through Node: zstd writes the file, or cat where there is nothing to decompress. */
async function write(
  context: FetchContext & { zstd: string },
  target: FetchTarget,
  bytes: StoredBytes,
): Promise<void> {
  const { path: from, pass } = bytes;
  const [program, args] = target.plain
    ? [context.zstd, ['-q', '-d', '-f', '-o', target.path, ...(from === undefined ? [] : ['--', from])]]
    : ['/bin/sh', ['-c', 'exec cat -- "$2" > "$1"', 'sh', target.path, from ?? '-']];
  const child = startChild(program, args, { signal: context.signal });
  child.process.stdout?.resume();
  try {
    await pass(from === undefined ? (child.process.stdin as Writable) : undefined);
    await child.finished;
  } catch (error) {
    child.stop();
    throw error;
  }
}

/** Throws copy_damaged: a manifest that does not name one of its own parts. */
function fileOf(backup: FetchedBackup, name: string): BackupFile {
  const found = backup.manifest.files.find((file) => file.name === name);
  if (found !== undefined) return found;
  throw new DbopsError('copy_damaged', `the manifest of backup ${backup.id} has no file ${name}`, {
    hint: 'Look for another backup with "dbops backup list", or for a good manifest in another store.',
  });
}
