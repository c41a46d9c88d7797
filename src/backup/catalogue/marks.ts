import { text as readText } from 'node:stream/consumers';
import { DbopsError } from '../../errors.ts';
import type { Store } from '../../storage/store.ts';
import { drillName, verifiedName } from '../place.ts';

/** When one copy was last read back whole, and what was found; lies beside the copy as verified.json. */
export interface VerifiedMark {
  formatVersion: 1;
  backup: string;
  /** ISO 8601, UTC. */
  at: string;
  passed: boolean;
  /** Files and bytes that were read. */
  files: number;
  bytes: number;
  /** What was found, a sentence each; empty where it passed. */
  problems: string[];
  /** What could not be told on that host, such as for want of a program. */
  unknown: string[];
  by: { dbops: string; host: string; osUser: string };
}

/** What the last drill of a backup found; lies beside the backup as drill.json. The report has more fields. */
export interface DrillMark {
  formatVersion: 1;
  backup: string;
  at: string;
  passed: boolean;
  /** From the first byte fetched to an open database, in seconds; null: it never came to that. */
  restoreSeconds: number | null;
  /** Of that: reading WAL, and how many segments; null where there was none. */
  replaySeconds: number | null;
  replayedSegments: number | null;
}

/** The last verification of one copy; undefined where there was none, or its mark cannot be read. */
export async function findVerifiedMark(
  store: Store,
  place: string,
  signal?: AbortSignal,
): Promise<VerifiedMark | undefined> {
  const mark = await findMark<VerifiedMark>(store, `${place}${verifiedName}`, signal);
  if (mark === undefined) return undefined;
  return { ...mark, problems: mark.problems ?? [], unknown: mark.unknown ?? [] };
}

/** The last drill; undefined where there was none, or its mark cannot be read. */
export async function findDrillMark(
  store: Store,
  place: string,
  signal?: AbortSignal,
): Promise<DrillMark | undefined> {
  const mark = await findMark<DrillMark>(store, `${place}${drillName}`, signal);
  if (mark === undefined) return undefined;
  const number = (value: unknown) => (typeof value === 'number' ? value : null);
  return {
    ...mark,
    restoreSeconds: number(mark.restoreSeconds),
    replaySeconds: number(mark.replaySeconds),
    replayedSegments: number(mark.replayedSegments),
  };
}

/** Lays a mark beside a copy. Throws what the store throws. */
export async function putMark(
  store: Store,
  place: string,
  name: typeof verifiedName | typeof drillName,
  mark: VerifiedMark | DrillMark,
): Promise<void> {
  await store.put(`${place}${name}`, Buffer.from(`${JSON.stringify(mark, null, 2)}\n`));
}

/** A mark that was damaged proves nothing and is no mark. */
async function findMark<Mark extends { at: string; passed: boolean }>(
  store: Store,
  key: string,
  signal: AbortSignal | undefined,
): Promise<(Mark & Partial<Mark>) | undefined> {
  try {
    const mark = JSON.parse(await readText(await store.get(key, { signal }))) as Partial<Mark> | null;
    const isMark =
      typeof mark?.at === 'string' && !Number.isNaN(Date.parse(mark.at)) && typeof mark.passed === 'boolean';
    return isMark ? (mark as Mark) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    if (error instanceof DbopsError && error.code === 'store_missing') return undefined;
    throw error;
  }
}
