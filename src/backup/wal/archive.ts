import { createHash, randomBytes } from 'node:crypto';
import { open, rename, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { DbopsError } from '../../errors.ts';
import { decompress } from '../../process/copy.ts';
import { forward } from '../../storage/read.ts';
import type { Store } from '../../storage/store.ts';
import { damagedWal, envelopeBytes, findEnvelope, parseEnvelope, type WalEnvelope } from './envelope.ts';
import { parseSegmentHeader, segmentHeaderBytes } from './page-header.ts';
import { walFolder, walKey, walPrefix } from './place.ts';
import { historyName, parseWalName, timelineOf, type WalName } from './segment.ts';
import { parseHistory, type TimelineHistory } from './timeline.ts';

/** A file of pg_wal as it lies in a store. */
export interface StoredWal {
  name: string;
  parsed: WalName;
  key: string;
  sizeBytes: number;
  /** By the clock of the store. */
  modifiedAt: Date;
}

/** The history of a timeline as it lies in a store. */
export interface StoredHistory extends TimelineHistory {
  /** Why it cannot be read: its ancestors are not known then. */
  damage?: DbopsError;
}

interface ListOptions {
  /** Name of a segment: what lies before it on its own timeline, and timelines before that, are left out. */
  from?: string | undefined;
  /** This timeline alone. */
  timeline?: number | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Segments, .partial and .backup files in the order of their names; history files are asked for by listHistories(). Only
 * the folders that are wanted are listed.
 */
export async function* listWal(
  store: Store,
  systemIdentifier: string,
  { from = '', timeline, signal }: ListOptions = {},
): AsyncGenerator<StoredWal> {
  for (const folder of (await walFolders(store, systemIdentifier, signal)).sort()) {
    if (folder < from.slice(0, 16) || (timeline !== undefined && timelineOf(folder) !== timeline)) continue;
    for await (const object of store.list(walFolder(systemIdentifier, folder), { signal })) {
      const name = object.key.slice(object.key.lastIndexOf('/') + 1).replace(/\.zst$/, '');
      const parsed = parseWalName(name);
      // What others laid there is not ours.
      if (parsed === undefined || name < from || walKey(systemIdentifier, name) !== object.key) continue;
      yield { name, parsed, ...object };
    }
  }
}

async function walFolders(store: Store, systemIdentifier: string, signal?: AbortSignal): Promise<string[]> {
  const names = await store.listFolders(walPrefix(systemIdentifier), { signal });
  return names.filter((name) => /^[0-9A-F]{16}$/.test(name));
}

/**
 * The histories of all timelines that have one, in order. They are asked for by number, up to the newest timeline with
 * WAL and on from there while there are more, as the server itself looks for the newest. One that is damaged is told in its
 * place: it concerns nobody but those who go there.
 */
export async function listHistories(
  store: Store,
  systemIdentifier: string,
  options: ReadOptions,
): Promise<StoredHistory[]> {
  const timelines = (await walFolders(store, systemIdentifier, options.signal)).map(timelineOf);
  const newest = timelines.reduce((most, item) => Math.max(most, item), 1);
  const found: StoredHistory[] = [];
  for (let timeline = 2; ; timeline += 1) {
    const history = await findHistory(store, systemIdentifier, timeline, options).catch(
      (error: unknown): StoredHistory => {
        if (!(error instanceof DbopsError) || error.code !== 'copy_damaged') throw error;
        return { timeline, ancestors: [], damage: error };
      },
    );
    if (history !== undefined) found.push(history);
    else if (timeline > newest) return found;
  }
}

/** How a timeline came to be; undefined when the archive has no such file. Throws copy_damaged. */
export async function findHistory(
  store: Store,
  systemIdentifier: string,
  timeline: number,
  options: ReadOptions,
): Promise<TimelineHistory | undefined> {
  const name = historyName(timeline);
  const text = await findSmallFile(store, systemIdentifier, name, options);
  if (text === undefined) return undefined;
  try {
    return parseHistory(timeline, text.toString());
  } catch (error) {
    throw damagedWal(store, walKey(systemIdentifier, name), (error as Error).message, error);
  }
}

/** The content of a history or .backup file; undefined when the archive has none. Throws copy_damaged. */
async function findSmallFile(
  store: Store,
  systemIdentifier: string,
  name: string,
  options: ReadOptions,
): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  try {
    await readPlain(store, systemIdentifier, name, options, (chunk) => {
      chunks.push(chunk);
    });
  } catch (error) {
    if (error instanceof DbopsError && error.code === 'store_missing') return undefined;
    throw error;
  }
  return Buffer.concat(chunks);
}

/** What the archive says of one file; undefined when it does not have it. Throws copy_damaged, or what the store throws. */
export async function findWal(
  store: Store,
  systemIdentifier: string,
  name: string,
  signal?: AbortSignal,
): Promise<WalEnvelope | undefined> {
  return await findEnvelope(store, walKey(systemIdentifier, name), signal);
}

export interface ReadOptions {
  /** The program; found on the PATH by default. */
  zstd?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Asked before a file takes its place; throws when it must not any more. */
  beforeUse?: (() => Promise<void>) | undefined;
}

/**
 * Reads one file into `path`, which it replaces only once every check has passed: size, hash, cluster, and for a segment
 * the position that its first page tells. A run that is killed leaves xlogtemp.* behind, which a server removes from its
 * pg_wal when it starts. Throws store_missing, copy_damaged, tool_failed, output_failed, or
 * what the store throws.
 */
export async function readWal(
  store: Store,
  systemIdentifier: string,
  name: string,
  path: string,
  options: ReadOptions = {},
): Promise<WalEnvelope> {
  const temporary = join(dirname(path), `xlogtemp.dbops-${randomBytes(6).toString('hex')}`);
  const handle = await open(temporary, 'wx', 0o600).catch((cause: unknown) => {
    throw cannotWrite(path, cause);
  });
  try {
    const envelope = await readPlain(store, systemIdentifier, name, options, async (chunk) => {
      try {
        for (let offset = 0; offset < chunk.byteLength;)
          offset += (await handle.write(chunk, offset)).bytesWritten;
      } catch (cause) {
        throw cannotWrite(path, cause);
      }
    });
    const failed = (cause: unknown) => {
      throw cannotWrite(path, cause);
    };
    await handle.close().catch(failed);
    await options.beforeUse?.();
    await rename(temporary, path).catch(failed);
    return envelope;
  } catch (error) {
    await handle.close().catch(() => undefined);
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
}

/** Trouble of this host, which no store is to be blamed for. */
function cannotWrite(path: string, cause: unknown): DbopsError {
  return new DbopsError('output_failed', `cannot write ${path}`, {
    detail: (cause as Error).message,
    hint: 'Is there space on the disk, and may this user write there?',
    cause,
  });
}

/** Reads one file whole, with every check of readWal(), and keeps nothing of it. Throws as that does. */
export async function checkWal(
  store: Store,
  systemIdentifier: string,
  name: string,
  options: ReadOptions = {},
): Promise<void> {
  await readPlain(store, systemIdentifier, name, options, () => undefined);
}

/** Hands over the plain bytes of a file; they are good only when this resolves. */
async function readPlain(
  store: Store,
  systemIdentifier: string,
  name: string,
  { zstd = 'zstd', signal }: ReadOptions,
  take: (chunk: Buffer) => Promise<void> | void,
): Promise<WalEnvelope> {
  const key = walKey(systemIdentifier, name);
  const body = await store.get(key, { signal });
  const program = decompress(zstd, { signal });
  const seen = { start: Buffer.alloc(0) };
  const plain = (async () => {
    const hash = createHash('sha256');
    let first = Buffer.alloc(0);
    let sizeBytes = 0;
    for await (const chunk of program.plain as AsyncIterable<Buffer>) {
      if (first.byteLength < segmentHeaderBytes) first = Buffer.concat([first, chunk]);
      hash.update(chunk);
      sizeBytes += chunk.byteLength;
      await take(chunk);
    }
    await program.finished;
    return { first, sizeBytes, sha256: hash.digest('hex') };
  })();
  plain.catch(() => program.stop());
  try {
    await forward(Readable.from(watched(body, seen)), program.stored);
  } catch (error) {
    program.stop();
    // A program that is stopped because its output cannot be kept breaks the stream off: that says less.
    const reason = await plain.catch((cause: unknown) => cause);
    throw reason instanceof DbopsError && reason.code === 'output_failed' ? reason : error;
  }
  const made = await plain.catch((error: unknown) => {
    // Without a cause it has started and did not like what it was given.
    const isDamage = error instanceof DbopsError && error.code === 'tool_failed' && error.cause === undefined;
    throw isDamage ? damagedWal(store, key, error.detail ?? error.message, error) : error;
  });
  const envelope = parseEnvelope(seen.start);
  const problem = problemOf(envelope, made, systemIdentifier, name);
  if (envelope === undefined || problem !== undefined) throw damagedWal(store, key, problem ?? '');
  return envelope;
}

/** Passes bytes on and keeps the first ones, in which the envelope stands. */
async function* watched(body: Readable, seen: { start: Buffer }): AsyncGenerator<Buffer> {
  for await (const chunk of body as AsyncIterable<Buffer>) {
    if (seen.start.byteLength < (envelopeBytes(seen.start) ?? 8))
      seen.start = Buffer.concat([seen.start, chunk]);
    yield chunk;
  }
}

/** What is wrong with a file that was read whole; undefined when nothing is. Pure. */
function problemOf(
  envelope: WalEnvelope | undefined,
  made: { first: Buffer; sizeBytes: number; sha256: string },
  systemIdentifier: string,
  name: string,
): string | undefined {
  if (envelope === undefined) return 'it does not begin with what dbops writes there';
  if (envelope.name !== name) return `it says that it is ${envelope.name}`;
  if (made.sizeBytes !== envelope.plainBytes)
    return `it has ${String(made.sizeBytes)} bytes, and ${String(envelope.plainBytes)} were pushed`;
  if (made.sha256 !== envelope.sha256)
    return `its sha256 is ${made.sha256}, and ${envelope.sha256} was pushed`;
  return segmentProblem(name, made.first, made.sizeBytes, systemIdentifier);
}

/**
 * What is wrong with a segment of this name, as its first page tells; undefined when nothing is, or when it is no segment
 * at all. `systemIdentifier` is that of the cluster it must be from. Pure.
 */
export function segmentProblem(
  name: string,
  first: Buffer,
  sizeBytes: number,
  systemIdentifier: string,
): string | undefined {
  const parsed = parseWalName(name);
  if (parsed?.kind !== 'segment' && parsed?.kind !== 'partial') return undefined;
  const header = parseSegmentHeader(first);
  if (header === undefined) return 'it does not begin with the header of a segment';
  if (header.systemIdentifier !== systemIdentifier)
    return `it is from the cluster ${header.systemIdentifier}, not from ${systemIdentifier}`;
  if (header.segmentBytes !== sizeBytes)
    return `it has ${String(sizeBytes)} bytes, and segments of this cluster have ${String(header.segmentBytes)}`;
  const perFile = 0x1_0000_0000n / BigInt(header.segmentBytes);
  const start = (BigInt(parsed.high) * perFile + BigInt(parsed.low)) * BigInt(header.segmentBytes);
  if (header.startLsn !== start) return 'its first page is that of another segment';
  if (header.timeline > parsed.timeline) return `its first page is of timeline ${String(header.timeline)}`;
  return undefined;
}
