import type { Readable } from 'node:stream';

/** An object as a listing shows it. */
export interface StoredObject {
  /** Relative to the store's own prefix, with / between its parts. */
  key: string;
  sizeBytes: number;
  modifiedAt: Date;
}

/** What was stored: the hash is made of the bytes on their way. */
export interface Stored {
  sizeBytes: number;
  /** Hexadecimal. */
  sha256: string;
}

/** An upload that was begun and neither completed nor aborted. It costs space that no listing shows. */
export interface UnfinishedUpload {
  key: string;
  /** What abortUpload takes: the multipart id, or the name of the temporary file. */
  id: string;
  startedAt: Date;
}

export interface PutOptions {
  signal?: AbortSignal | undefined;
  /** Told of every chunk that was taken, for progress. */
  onBytes?: ((bytes: number) => void) | undefined;
  /** Refuses (store_exists) instead of replacing what is there under this key. */
  ifAbsent?: boolean;
  /** With ifAbsent: does not look first, so that the store itself has to refuse; for the probe. */
  withoutLooking?: boolean;
}

export interface GetOptions {
  signal?: AbortSignal | undefined;
  /** Bytes from `start` up to and without `end`. */
  range?: { start: number; end?: number };
}

/**
 * A place for archives and backups. Keys are made by storeKey() and never come from a catalog unescaped. Every method
 * throws store_failed (the store answered wrongly, or not in time), store_denied (credentials or a missing permission)
 * or interrupted; a store that hangs is given up after a minute without a byte.
 */
export interface Store {
  /** Its name in the configuration. */
  readonly name: string;
  /** For people; without credentials. */
  readonly url: string;
  /**
   * Memory is bounded whatever the length. When it resolves the object is durable and visible under its key; when it
   * rejects, nothing of it is. Only where the store stops answering, or the run is interrupted, between the last byte and
   * the last answer, can an object be visible all the same. What another has put under the key is never deleted.
   */
  put(key: string, body: AsyncIterable<Uint8Array> | Uint8Array, options?: PutOptions): Promise<Stored>;
  /** The bytes; store_missing when there is no such object. An error in the middle is emitted by the stream. */
  get(key: string, options?: GetOptions): Promise<Readable>;
  /** Where an object lies as a file of this host, for programs that can read it by themselves; only where it does. */
  localPath?(key: string): string;
  /** Undefined when there is no such object. */
  head(key: string, options?: { signal?: AbortSignal | undefined }): Promise<StoredObject | undefined>;
  /** Every object whose key begins with `prefix`, in order of the keys; temporary files and unfinished uploads are not among them. */
  list(prefix: string, options?: { signal?: AbortSignal | undefined }): AsyncIterable<StoredObject>;
  /** The next level below `prefix` (which ends with /, or is empty): the names of its folders. */
  listFolders(prefix: string, options?: { signal?: AbortSignal | undefined }): Promise<string[]>;
  /** An object that is not there is no error. */
  delete(key: string, options?: { signal?: AbortSignal | undefined }): Promise<void>;
  listUploads(prefix: string): AsyncIterable<UnfinishedUpload>;
  abortUpload(upload: UnfinishedUpload): Promise<void>;
  /** Lets go of sockets. */
  close(): Promise<void>;
}
