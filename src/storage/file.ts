import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { link, open, rename, unlink, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { DbopsError, interrupted } from '../errors.ts';
import { CheckedBody } from './body.ts';
import {
  foldersIn,
  isMissing,
  makeFolders,
  refuseLinks,
  refuseLinksAbove,
  refuseMissingRoot,
  removeFile,
  removeEmptyFolders,
  syncFolder,
  walk,
} from './file-paths.ts';
import { describeFailure, statOf, writeAll } from './file-write.ts';
import { checkFolder, checkKey, checkPrefix, isKey } from './key.ts';
import type { GetOptions, PutOptions, Store, Stored, StoredObject, UnfinishedUpload } from './store.ts';

const fileMode = 0o640;
const chunkBytes = 256 * 1024;
/** .upload-<16 hexadecimal digits>-<name of the object> */
const temporaryName = /^\.upload-[0-9a-f]{16}-(.+)$/;

/**
 * Objects as files below a directory: written under a temporary name, synced, renamed, and the directory synced, so
 * that neither a crash nor a full disk leaves half an object under its key.
 */
export class FileStore implements Store {
  readonly name: string;
  readonly url: string;
  readonly #root: string;
  readonly #synced = new Set<string>();

  /** `root` is an absolute path of a directory that is there: whoever owns the disk makes it. */
  constructor(name: string, root: string) {
    this.name = name;
    this.url = pathToFileURL(root).href;
    this.#root = root;
  }

  async put(
    key: string,
    body: AsyncIterable<Uint8Array> | Uint8Array,
    options: PutOptions = {},
  ): Promise<Stored> {
    checkKey(key);
    const path = join(this.#root, key);
    return await this.#named('write', path, async () => {
      const looksFirst = options.ifAbsent === true && options.withoutLooking !== true;
      if (looksFirst && (await statOf(path)) !== undefined) {
        // Whoever takes this for an answer relies on it: the run that wrote it may have been killed before it had synced.
        await makeFolders(this.#root, dirname(path), this.#synced);
        await syncFolder(dirname(path));
        throw this.#exists(key);
      }
      const { handle, temporary } = await this.#openTemporary(path);
      try {
        const stored = await writeAll(handle, body, options);
        // Some network file systems report a full disk only here.
        await handle.close();
        if (options.ifAbsent === true) await this.#linkNew(temporary, path, key);
        else await rename(temporary, path);
        await syncFolder(dirname(path));
        return stored;
      } catch (error) {
        await handle.close().catch(() => undefined);
        await unlink(temporary).catch(() => undefined);
        throw error;
      }
    });
  }

  async get(key: string, options: GetOptions = {}): Promise<Readable> {
    checkKey(key);
    const path = join(this.#root, key);
    return await this.#named('read', path, async () => {
      const handle = await this.#openObject(path, key);
      try {
        const info = await handle.stat();
        if (!info.isFile()) throw this.#missing(key);
        const { start = 0, end = Infinity } = options.range ?? {};
        const until = Math.min(end, info.size);
        if (options.range !== undefined && start >= info.size && start < end)
          throw this.#beyond(key, info.size);
        if (start >= until) {
          await handle.close();
          return Readable.from([]);
        }
        const source = handle.createReadStream({ start, end: until - 1, highWaterMark: chunkBytes });
        return new CheckedBody(source, {
          expectedBytes: until - start,
          idleTimeoutMs: 0,
          signal: options.signal,
          describe: (cause) => this.#failure('read', path, cause) as Error,
        });
      } catch (error) {
        await handle.close().catch(() => undefined);
        throw error;
      }
    });
  }

  localPath(key: string): string {
    checkKey(key);
    return join(this.#root, key);
  }

  async head(key: string): Promise<StoredObject | undefined> {
    checkKey(key);
    const path = join(this.#root, key);
    return await this.#named('look at', path, async () => {
      const info = await statOf(path);
      if (info?.isFile() !== true) return this.#nothing();
      await refuseLinks(this.#root, dirname(path));
      return { key, sizeBytes: info.size, modifiedAt: info.mtime };
    });
  }

  async *list(
    prefix: string,
    options: { signal?: AbortSignal | undefined } = {},
  ): AsyncIterable<StoredObject> {
    checkPrefix(prefix);
    try {
      await refuseMissingRoot(this.name, this.#root);
      await this.#refuseLinks(prefix);
      for await (const { key, path } of walk(this.#root, prefix, isKey)) {
        if (options.signal?.aborted === true) throw interrupted(options.signal);
        const info = await statOf(path);
        if (info !== undefined) yield { key, sizeBytes: info.size, modifiedAt: info.mtime };
      }
    } catch (error) {
      throw this.#failure('list', join(this.#root, prefix), error);
    }
  }

  async listFolders(prefix: string): Promise<string[]> {
    checkFolder(prefix);
    return await this.#named('list', join(this.#root, prefix), async () => {
      await refuseMissingRoot(this.name, this.#root);
      await this.#refuseLinks(prefix);
      return await foldersIn(this.#root, prefix, isKey);
    });
  }

  async delete(key: string): Promise<void> {
    checkKey(key);
    const path = join(this.#root, key);
    await this.#named('delete', path, async () => {
      if ((await statOf(path))?.isFile() !== true) return this.#nothing();
      await refuseLinks(this.#root, dirname(path));
      await removeFile(path);
      await removeEmptyFolders(this.#root, dirname(path));
    });
  }

  async *listUploads(prefix: string): AsyncIterable<UnfinishedUpload> {
    checkPrefix(prefix);
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    try {
      await refuseMissingRoot(this.name, this.#root);
      await this.#refuseLinks(prefix);
      for await (const { key, path } of walk(this.#root, folder, (name) => temporaryName.test(name))) {
        const id = basename(path);
        const target = `${key.slice(0, -id.length)}${temporaryName.exec(id)?.[1] ?? ''}`;
        const info = await statOf(path);
        // The last byte written, not the first: a long upload that goes on is not an old one.
        if (info !== undefined && target.startsWith(prefix)) yield { key: target, id, startedAt: info.mtime };
      }
    } catch (error) {
      throw this.#failure('list', join(this.#root, prefix), error);
    }
  }

  async abortUpload(upload: UnfinishedUpload): Promise<void> {
    checkKey(upload.key);
    const path = join(this.#root, dirname(upload.key), upload.id);
    await this.#named('delete', path, async () => {
      if (!temporaryName.test(upload.id) || upload.id.includes('/')) return;
      if ((await statOf(path))?.isFile() !== true) return this.#nothing();
      await refuseLinks(this.#root, dirname(path));
      await unlink(path);
      await removeEmptyFolders(this.#root, dirname(path));
    });
  }

  async close(): Promise<void> {
    // Every method closes what it opens.
  }

  /** Another process that deletes may take the empty folder away before the file is in it. */
  async #openTemporary(path: string): Promise<{ handle: FileHandle; temporary: string }> {
    const folder = dirname(path);
    await refuseMissingRoot(this.name, this.#root);
    for (let attempt = 1; ; attempt += 1) {
      const temporary = join(folder, `.upload-${randomBytes(8).toString('hex')}-${basename(path)}`);
      try {
        await refuseLinksAbove(this.#root, folder);
        await makeFolders(this.#root, folder, this.#synced);
        await refuseLinks(this.#root, folder);
        return { handle: await open(temporary, 'wx', fileMode), temporary };
      } catch (error) {
        if (!isMissing(error) || attempt === 5) throw error;
      }
    }
  }

  async #openObject(path: string, key: string): Promise<FileHandle> {
    try {
      await refuseLinks(this.#root, dirname(path));
      return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      if (!isMissing(error)) throw error;
      await this.#nothing();
      throw this.#missing(key);
    }
  }

  /** What is not found may be on a disk that is not mounted: taken for gone, it would be made anew, or said to be removed. */
  async #nothing(): Promise<undefined> {
    await refuseMissingRoot(this.name, this.#root);
  }

  /** link(2) refuses what exists, which rename(2) replaces. */
  async #linkNew(temporary: string, path: string, key: string): Promise<void> {
    try {
      await link(temporary, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      await syncFolder(dirname(path));
      throw this.#exists(key);
    }
    // What stays behind for lack of luck is swept away as an unfinished upload.
    await unlink(temporary).catch(() => undefined);
  }

  async #refuseLinks(prefix: string): Promise<void> {
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    await refuseLinksAbove(this.#root, join(this.#root, folder).replace(/\/$/, ''));
  }

  async #named<Result>(verb: string, path: string, run: () => Promise<Result>): Promise<Result> {
    try {
      return await run();
    } catch (error) {
      throw this.#failure(verb, path, error);
    }
  }

  #failure(verb: string, path: string, cause: unknown): unknown {
    return describeFailure(this.name, verb, path, cause);
  }

  #missing(key: string): DbopsError {
    return new DbopsError('store_missing', `the store "${this.name}" holds no ${key}`, {
      hint: `Is ${this.url} the place that it was written to? Is the disk mounted?`,
    });
  }

  #exists(key: string): DbopsError {
    return new DbopsError('store_exists', `the store "${this.name}" holds ${key} already`);
  }

  #beyond(key: string, sizeBytes: number): DbopsError {
    return new DbopsError(
      'store_failed',
      `${key} in the store "${this.name}" has ${String(sizeBytes)} bytes, and the range begins behind them`,
    );
  }
}
