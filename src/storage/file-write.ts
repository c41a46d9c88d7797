import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import { lstat, type FileHandle } from 'node:fs/promises';
import { DbopsError } from '../errors.ts';
import { chunksOf, ProducerFailure, withoutWrapper } from './body.ts';
import { isMissing } from './file-paths.ts';
import type { PutOptions, Stored } from './store.ts';

/** What is gathered before it is written: a pipe gives 64 KiB at a time, and handing each to a thread costs as much again. */
const batchBytes = 1024 ** 2;

/**
 * Writes a body to its end and syncs it. Hashing and reading go on while the disk is busy; two mebibytes and a chunk are
 * held at most.
 */
export async function writeAll(
  handle: FileHandle,
  body: AsyncIterable<Uint8Array> | Uint8Array,
  options: PutOptions,
): Promise<Stored> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  let batch: Uint8Array[] = [];
  let waiting = 0;
  let writing = Promise.resolve();
  const flush = async () => {
    await writing;
    writing = writeWhole(handle, batch, waiting);
    // Told by whoever awaits it; the body may fail first.
    writing.catch(() => undefined);
    batch = [];
    waiting = 0;
  };
  try {
    for await (const chunk of chunksOf(body, options.signal)) {
      batch.push(chunk);
      waiting += chunk.byteLength;
      if (waiting >= batchBytes) await flush();
      hash.update(chunk);
      sizeBytes += chunk.byteLength;
      options.onBytes?.(chunk.byteLength);
    }
    await flush();
  } finally {
    // Nothing may be under way when the file is closed.
    await writing.catch(() => undefined);
  }
  await writing;
  await handle.sync();
  return { sizeBytes, sha256: hash.digest('hex') };
}

/** writev(2) may take less than it is given. */
async function writeWhole(handle: FileHandle, chunks: Uint8Array[], sizeBytes: number): Promise<void> {
  if (sizeBytes === 0) return;
  let { bytesWritten } = await handle.writev(chunks);
  if (bytesWritten === sizeBytes) return;
  for (const chunk of chunks) {
    const rest = chunk.subarray(Math.min(bytesWritten, chunk.byteLength));
    bytesWritten -= chunk.byteLength - rest.byteLength;
    for (let offset = 0; offset < rest.byteLength;) {
      offset += (await handle.write(rest, offset)).bytesWritten;
    }
  }
}

/** Undefined when there is nothing; links are not followed. */
export async function statOf(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** The error of a file system as one of ours, with the path. `verb`: write, read, list, delete. */
export function describeFailure(store: string, verb: string, path: string, cause: unknown): unknown {
  if (cause instanceof ProducerFailure || cause instanceof DbopsError) return withoutWrapper(cause);
  const { code = '', message } = cause as NodeJS.ErrnoException;
  const details = { detail: message, cause };
  const where = `${path} of the store "${store}"`;
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new DbopsError('store_failed', `the disk is full: cannot ${verb} ${where}`, {
        ...details,
        hint: 'Make room there, or raise the quota, and run the same command again.',
      });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new DbopsError('store_denied', `this user may not ${verb} ${where}`, {
        ...details,
        hint:
          code === 'EROFS'
            ? 'The file system is mounted read-only.'
            : 'Let the user that runs dbops own the directory of the store, or give it write permission.',
      });
    case 'ELOOP':
      return new DbopsError('store_failed', `${where} is a symbolic link`, {
        ...details,
        hint: 'Objects of a store are real files: put the file itself there.',
      });
    default:
      return new DbopsError('store_failed', `cannot ${verb} ${where}`, {
        ...details,
        hint: hintFor(code),
      });
  }
}

function hintFor(code: string): string {
  if (code === 'ENOTDIR' || code === 'EISDIR' || code === 'EEXIST') {
    return 'A file lies where a folder is needed, or a folder where the object should be: move it away.';
  }
  if (code === 'EMLINK' || code === 'ENOTSUP' || code === 'ENOSYS' || code === 'EXDEV') {
    return 'The file system knows no hard links; use one that does, or an s3:// store.';
  }
  return 'Is the disk mounted and healthy? "dbops doctor" tries every kind of access.';
}
