import { createHash } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { DbopsError, interrupted } from '../../errors.ts';
import { startChild } from '../../process/child.ts';
import { loseStore, type Copies } from '../../storage/copies.ts';
import type { Store } from '../../storage/store.ts';
import { checkWal, segmentProblem } from './archive.ts';
import { damagedWal, findEnvelope, writeEnvelope, type WalEnvelope } from './envelope.ts';
import { walKey } from './place.ts';
import { parseWalName } from './segment.ts';
import { parseHistory } from './timeline.ts';

/** Where and how files are pushed. */
export interface PushTarget {
  copies: Copies;
  systemIdentifier: string;
  compressionLevel: number;
  /** Files that are pushed at once, for the memory that they may take together. */
  jobs: number;
  host: string;
  version: string;
  signal: AbortSignal;
}

export interface FileToPush {
  name: string;
  path: string;
  /** Whether the time of the file is that at which PostgreSQL closed it. */
  isOfServer: boolean;
}

export interface PushedFile {
  name: string;
  plainBytes: number;
  /** False when every store had it already. */
  isNew: boolean;
}

const chunkBytes = 1024 ** 2;
/** Compressed bytes that are held for several stores, over all files at once. */
const mostHeldBytes = 128 * 1024 ** 2;

/**
 * Pushes one file into every store; resolves when it is durable in as many as are required. The same content under that
 * name counts once it was read back whole, other content is refused and never replaced. Throws refused, copy_damaged, tool_failed or what stores
 * throw.
 */
export async function pushFile(target: PushTarget, file: FileToPush): Promise<PushedFile> {
  const content = await inspect(target, file);
  const envelope: WalEnvelope = {
    name: file.name,
    sha256: content.sha256,
    plainBytes: content.plainBytes,
    systemIdentifier: target.systemIdentifier,
    closedAt: file.isOfServer ? new Date(content.mtimeMs).toISOString() : null,
    pushedAt: new Date().toISOString(),
    host: target.host,
    dbops: target.version,
  };
  const body = bodyOf(target, file, envelope, content.mtimeMs);
  const stores = [...target.copies.stores];
  const results = await Promise.allSettled(
    stores.map(async (store) => {
      try {
        return await putOnce(target, store, envelope, body);
      } catch (error) {
        loseStore(target.copies, store, error);
        return undefined;
      }
    }),
  );
  const failure = results.find((item) => item.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
  const done = results.flatMap((item) =>
    item.status === 'fulfilled' && item.value !== undefined ? [item.value] : [],
  );
  if (done.length < target.copies.required) throw new Error(`${file.name} is in too few stores`);
  return { name: file.name, plainBytes: content.plainBytes, isNew: done.includes('new') };
}

async function putOnce(
  target: PushTarget,
  store: Store,
  envelope: WalEnvelope,
  body: () => AsyncIterable<Uint8Array>,
): Promise<'new' | 'there'> {
  const key = walKey(target.systemIdentifier, envelope.name);
  try {
    await store.put(key, body(), { signal: target.signal, ifAbsent: true });
    return 'new';
  } catch (error) {
    if (!(error instanceof DbopsError) || error.code !== 'store_exists') throw error;
  }
  const found = await findEnvelope(store, key, target.signal);
  if (found === undefined) throw damagedWal(store, key, 'it was there, and is not any more');
  if (found.sha256 === envelope.sha256 && found.plainBytes === envelope.plainBytes) {
    // PostgreSQL removes its own after the answer: what the envelope promises has to be behind it.
    await checkWal(store, target.systemIdentifier, envelope.name, { signal: target.signal });
    return 'there';
  }
  throw new DbopsError('refused', `the store "${store.name}" holds another ${envelope.name}`, {
    detail: `${found.host} pushed it at ${found.pushedAt} with sha256 ${found.sha256}; here it is ${envelope.sha256}`,
    hint: 'Two servers write into one archive: a clone, or a server that was restored without a new timeline. Set archive_mode = off on the one that is no longer production.',
  });
}

/** Hashes the file, and refuses what does not belong into this archive. */
async function inspect(
  target: PushTarget,
  { name, path }: FileToPush,
): Promise<{ sha256: string; plainBytes: number; mtimeMs: number }> {
  const hash = createHash('sha256');
  let first = Buffer.alloc(0);
  let plainBytes = 0;
  const handle = await openToPush(name, path);
  try {
    const { mtimeMs } = await handle.stat();
    const chunk = Buffer.allocUnsafe(chunkBytes);
    for (;;) {
      if (target.signal.aborted) throw interrupted(target.signal);
      const { bytesRead } = await handle.read(chunk, 0, chunkBytes);
      if (bytesRead === 0) break;
      if (plainBytes === 0) first = Buffer.from(chunk.subarray(0, bytesRead));
      hash.update(chunk.subarray(0, bytesRead));
      plainBytes += bytesRead;
    }
    const problem =
      segmentProblem(name, first, plainBytes, target.systemIdentifier) ?? historyProblem(name, first);
    if (problem === undefined) return { sha256: hash.digest('hex'), plainBytes, mtimeMs };
    throw new DbopsError('refused', `${name} does not belong into this archive of WAL`, {
      detail: problem,
      hint: 'Is this the file that PostgreSQL asked to be archived? A file that is damaged on disk must not replace a good one.',
    });
  } finally {
    await handle.close();
  }
}

async function openToPush(name: string, path: string) {
  try {
    return await open(path, 'r');
  } catch (cause) {
    throw new DbopsError('refused', `cannot read ${name}`, {
      detail: (cause as Error).message,
      hint: 'Give the path that archive_command names as %p, and run it as the user that owns the data directory.',
      cause,
    });
  }
}

function historyProblem(name: string, text: Buffer): string | undefined {
  const parsed = parseWalName(name);
  if (parsed?.kind !== 'history') return undefined;
  try {
    parseHistory(parsed.timeline, text.toString());
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What is stored, made anew for each store; for several stores it is compressed once, where memory allows that. */
function bodyOf(
  target: PushTarget,
  file: FileToPush,
  envelope: WalEnvelope,
  mtimeMs: number,
): () => AsyncIterable<Uint8Array> {
  const fresh = () => compressed(target, file, envelope, mtimeMs);
  if (target.copies.stores.length === 1 || envelope.plainBytes * target.jobs > mostHeldBytes) return fresh;
  let held: Promise<Buffer[]> | undefined;
  return async function* () {
    held ??= collect(fresh());
    yield* await held;
  };
}

async function collect(chunks: AsyncIterable<Buffer>): Promise<Buffer[]> {
  const list: Buffer[] = [];
  for await (const chunk of chunks) list.push(chunk);
  return list;
}

/** The envelope, and what zstd makes of the file that it reads itself. */
async function* compressed(
  target: PushTarget,
  { name, path }: FileToPush,
  envelope: WalEnvelope,
  mtimeMs: number,
): AsyncGenerator<Buffer> {
  yield writeEnvelope(envelope);
  const level = `-${String(target.compressionLevel)}`;
  const args = ['-q', level, '--single-thread', '-c', '--', path];
  const child = startChild('zstd', args, { signal: target.signal });
  try {
    for await (const chunk of child.process.stdout as AsyncIterable<Buffer>) yield chunk;
    await child.finished;
  } finally {
    child.stop();
  }
  if ((await stat(path)).mtimeMs === mtimeMs) return;
  throw new DbopsError('refused', `${name} was changed while it was read`, {
    hint: 'PostgreSQL changes no segment that it has finished: is this the one that it is writing?',
  });
}
