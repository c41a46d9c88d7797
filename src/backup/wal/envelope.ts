import { createHash } from 'node:crypto';
import { DbopsError } from '../../errors.ts';
import type { Store } from '../../storage/store.ts';

/**
 * What stands at the beginning of a stored file, in a skippable frame of zstd (RFC 8878, 3.1.2) that `zstd -d` passes
 * over: the first kilobyte answers whether it is the same content and when it was closed.
 */
export interface WalEnvelope {
  name: string;
  /** Of the plain bytes, hexadecimal. */
  sha256: string;
  plainBytes: number;
  systemIdentifier: string;
  /** When PostgreSQL had filled it, on the clock of its host, ISO; null where nothing proves that: see wal/push.ts. */
  closedAt: string | null;
  pushedAt: string;
  host: string;
  /** The version that wrote it. */
  dbops: string;
}

const magic = 0x184d2a50;
const frameHeadBytes = 8;
/** One request for so much is enough: an envelope is a third of it. */
const firstBytes = 1024;
const mostBytes = 64 * 1024;

/** Digits of the sha256 that follows the JSON in the frame: nothing else would show an altered byte in it. */
const hashBytes = 64;

function hashOf(json: Buffer): string {
  return createHash('sha256').update(json).digest('hex');
}

/** The frame as it is stored. Pure. */
export function writeEnvelope(envelope: WalEnvelope): Buffer {
  const json = Buffer.from(JSON.stringify(envelope));
  const head = Buffer.alloc(frameHeadBytes);
  head.writeUInt32LE(magic, 0);
  head.writeUInt32LE(json.byteLength + hashBytes, 4);
  return Buffer.concat([head, json, Buffer.from(hashOf(json))]);
}

/** The bytes of the frame that begins here, as its head says; undefined when it is none of ours. Pure. */
export function envelopeBytes(start: Buffer): number | undefined {
  if (start.byteLength < frameHeadBytes || start.readUInt32LE(0) !== magic) return undefined;
  const length = frameHeadBytes + start.readUInt32LE(4);
  return length <= mostBytes ? length : undefined;
}

/** Reads the frame; undefined when these bytes are not the whole of one. Pure. */
export function parseEnvelope(start: Buffer): WalEnvelope | undefined {
  const length = envelopeBytes(start);
  if (length === undefined || length < frameHeadBytes + hashBytes || start.byteLength < length)
    return undefined;
  const json = start.subarray(frameHeadBytes, length - hashBytes);
  if (start.toString('latin1', length - hashBytes, length) !== hashOf(json)) return undefined;
  try {
    const value = JSON.parse(json.toString('utf8')) as Record<string, unknown> | null;
    const texts = ['name', 'sha256', 'systemIdentifier', 'pushedAt', 'host', 'dbops'];
    const isWhole =
      texts.every((key) => typeof value?.[key] === 'string') &&
      Number.isSafeInteger(value?.['plainBytes']) &&
      (value?.['closedAt'] === null || typeof value?.['closedAt'] === 'string');
    return isWhole ? (value as unknown as WalEnvelope) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The envelope of a stored file, without reading the rest; undefined when there is no such object. Throws copy_damaged,
 * or what the store throws.
 */
export async function findEnvelope(
  store: Store,
  key: string,
  signal?: AbortSignal,
): Promise<WalEnvelope | undefined> {
  try {
    let start = await readStart(store, key, firstBytes, signal);
    const length = envelopeBytes(start) ?? 0;
    if (length > start.byteLength) start = await readStart(store, key, length, signal);
    const envelope = parseEnvelope(start);
    if (envelope === undefined)
      throw damagedWal(store, key, 'it does not begin with what dbops writes there');
    return envelope;
  } catch (error) {
    if (error instanceof DbopsError && error.code === 'store_missing') return undefined;
    throw error;
  }
}

async function readStart(store: Store, key: string, bytes: number, signal?: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const range = { start: 0, end: bytes };
  for await (const chunk of (await store.get(key, { signal, range })) as AsyncIterable<Buffer>)
    chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A file in the archive of WAL that cannot be used. */
export function damagedWal(store: Store, key: string, detail: string, cause?: unknown): DbopsError {
  return new DbopsError('copy_damaged', `${key} in store "${store.name}" is damaged`, {
    detail,
    hint: 'Another store may have a good copy. A recovery cannot pass a segment of which there is none: take a new base backup now.',
    cause,
  });
}

/** When PostgreSQL had filled the file; null where that is not known. Pure. */
export function closedOn(envelope: WalEnvelope | undefined): Date | null {
  const closedAt = envelope?.closedAt ?? null;
  return closedAt === null ? null : new Date(closedAt);
}
