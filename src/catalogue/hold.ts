import { text as readText } from 'node:stream/consumers';
import { DbopsError } from '../errors.ts';
import type { Store } from '../storage/store.ts';

/** There while a hold is: the archive or the backup is not pruned. */
export const holdName = 'hold.json';
/** Every hold and release so far. It stays after a release. */
const holdHistoryName = 'holds.json';

/** What a hold is on, as hold.json names it: { "archive": id } or { "backup": id }. */
export type HoldSubject = { archive: string } | { backup: string };

/** Who asked for a hold or a release, when and why. */
export interface HoldEntry {
  action: 'hold' | 'release';
  reason: string;
  /** ISO 8601, UTC. */
  at: string;
  host: string;
  osUser: string;
  /** Null where no database was at hand. */
  databaseUser: string | null;
}

type HoldFile = HoldSubject & { formatVersion: 1; entries: HoldEntry[] };

const fileVersion = 1;

/**
 * The hold on one copy of an archive or a backup; undefined when there is none. A file that cannot be understood is a hold all the
 * same: what is in doubt is kept. Throws what the store throws.
 */
export async function findHold(
  store: Store,
  place: string,
  signal?: AbortSignal,
): Promise<HoldEntry | undefined> {
  const text = await findText(store, `${place}${holdName}`, signal);
  if (text === undefined) return undefined;
  return parseEntries(text).at(-1) ?? unreadable;
}

/** Why no copy may be removed; undefined when it is not held. Throws when a store cannot say. */
export async function whyHeld(
  stores: Store[],
  place: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  for (const store of stores) {
    const hold = await findHold(store, place, signal);
    if (hold !== undefined) return `held since ${hold.at} by ${hold.osUser}: ${hold.reason}`;
  }
  return undefined;
}

/** The same, where a store that cannot say is a reason, too. */
export async function whyKept(
  stores: Store[],
  place: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  try {
    return await whyHeld(stores, place, signal);
  } catch (error) {
    if (!(error instanceof DbopsError) || error.exitCode > 128) throw error;
    return `whether it is held cannot be told: ${error.message}`;
  }
}

/** Every hold and release as one of its stores has it, oldest first. */
export async function holdHistory(store: Store, place: string, signal?: AbortSignal): Promise<HoldEntry[]> {
  const text = await findText(store, `${place}${holdHistoryName}`, signal);
  return text === undefined ? [] : parseEntries(text);
}

const unreadable: HoldEntry = {
  action: 'hold',
  reason: 'hold.json is there and cannot be read',
  at: '1970-01-01T00:00:00.000Z',
  host: 'unknown',
  osUser: 'unknown',
  databaseUser: null,
};

/** Puts a hold on one copy. The hold itself comes first: a crash in between leaves more protected, never less. */
export async function putHold(
  store: Store,
  place: string,
  subject: HoldSubject,
  entry: HoldEntry,
): Promise<void> {
  await store.put(`${place}${holdName}`, bytesOf(subject, [entry]));
  await addToHistory(store, place, subject, entry);
}

/** Takes the hold off one copy; who did it and why is written down before. */
export async function removeHold(
  store: Store,
  place: string,
  subject: HoldSubject,
  entry: HoldEntry,
): Promise<void> {
  await addToHistory(store, place, subject, entry);
  await store.delete(`${place}${holdName}`);
}

async function addToHistory(
  store: Store,
  place: string,
  subject: HoldSubject,
  entry: HoldEntry,
): Promise<void> {
  const entries = await holdHistory(store, place);
  const isKnown = entries.some((item) => item.at === entry.at && item.action === entry.action);
  if (!isKnown) await store.put(`${place}${holdHistoryName}`, bytesOf(subject, [...entries, entry]));
}

function bytesOf(subject: HoldSubject, entries: HoldEntry[]): Buffer {
  const file: HoldFile = { formatVersion: fileVersion, ...subject, entries };
  return Buffer.from(`${JSON.stringify(file, null, 2)}\n`);
}

function parseEntries(text: string): HoldEntry[] {
  try {
    const { entries } = JSON.parse(text) as { entries?: unknown };
    return Array.isArray(entries) ? entries.filter(isEntry) : [];
  } catch {
    return [];
  }
}

function isEntry(value: unknown): value is HoldEntry {
  if (typeof value !== 'object' || value === null) return false;
  const entry = value as Partial<Record<keyof HoldEntry, unknown>>;
  return (
    (entry.action === 'hold' || entry.action === 'release') &&
    typeof entry.reason === 'string' &&
    typeof entry.at === 'string' &&
    typeof entry.host === 'string' &&
    typeof entry.osUser === 'string'
  );
}

async function findText(
  store: Store,
  key: string,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  try {
    return await readText(await store.get(key, { signal }));
  } catch (error) {
    if (error instanceof DbopsError && error.code === 'store_missing') return undefined;
    throw error;
  }
}
