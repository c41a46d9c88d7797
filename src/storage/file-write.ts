import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import { lstat, type FileHandle } from 'node:fs/promises';
import { DbopsError } from '../errors.ts';
import { chunksOf, ProducerFailure, withoutWrapper } from './body.ts';
import { isMissing } from './file-paths.ts';
import type { PutOptions, Stored } from './store.ts';

/** Writes a body to its end and syncs it. The hash is made while the disk is busy. */
export async function writeAll(
  handle: FileHandle,
  body: AsyncIterable<Uint8Array> | Uint8Array,
  options: PutOptions,
): Promise<Stored> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of chunksOf(body, options.signal)) {
    const written = writeWhole(handle, chunk);
    hash.update(chunk);
    await written;
    sizeBytes += chunk.byteLength;
    options.onBytes?.(chunk.byteLength);
  }
  await handle.sync();
  return { sizeBytes, sha256: hash.digest('hex') };
}

/** write(2) may take less than it is given. */
async function writeWhole(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let offset = 0; offset < chunk.byteLength;) {
    offset += (await handle.write(chunk, offset)).bytesWritten;
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
