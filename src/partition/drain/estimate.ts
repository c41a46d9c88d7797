import type { DrainPeriod } from './periods.ts';
import type { DrainSource } from './source.ts';

/**
 * Rows a second that one statement moves, indexes built and foreign keys checked: below the 28,000 to 46,000 that users
 * of pg_partman report for draining a default partition (its issues 440 and 463).
 */
const moveRowsPerSecond = 25_000;

/** In batches the pauses between them and the indexes that are kept up to date cost about half. */
const batchRowsPerSecond = 10_000;

/** What the attach's scan reads in a second when nothing is cached: a slow cloud disk. */
const scanBytesPerSecond = 100 * 1024 * 1024;

/** Locks, catalog rows, commit. */
const fixedMs = 100;

export interface Estimate {
  /** How long nobody can read or write the table, in milliseconds. */
  keptOutMs: number;
  /** How long rows of the period are in no query on the parent, in milliseconds; 0 in a transaction. */
  invisibleMs: number;
  /** What of keptOutMs is the scan of what is left. */
  scanMs: number;
  /** What of keptOutMs a validated CHECK on the source spares: looking for rows that are not there any more. */
  sparedMs: number;
}

/** How long the attach reads what is left: deleted rows stay in the heap until VACUUM, so all of it counts. Pure. */
export function scanMsOf(source: Pick<DrainSource, 'facts' | 'otherDefault'>): number {
  const { facts, otherDefault } = source;
  // Beside a source with bounds the default is scanned twice: for the new partition and for the source's new bounds.
  const bytes = facts.heapBytes + 2 * (otherDefault?.heapBytes ?? 0);
  return (bytes / scanBytesPerSecond) * 1000;
}

/** How many rows one transaction can move within a time. */
export function rowsWithin(milliseconds: number): number {
  return Math.floor((milliseconds / 1000) * moveRowsPerSecond);
}

/** Predicts from sizes and counts how long a period takes. Pure; meant to be too long rather than too short. */
export function estimate(
  source: Pick<DrainSource, 'facts' | 'otherDefault' | 'foreignKeys'>,
  period: Pick<DrainPeriod, 'rows'>,
  mode: 'transaction' | 'batches',
): Estimate {
  const scanMs = scanMsOf(source);
  // Without an index that begins with the key the DELETE reads the whole source as well.
  const findMs = source.facts.keyIsIndexed ? 0 : (source.facts.heapBytes / scanBytesPerSecond) * 1000;
  if (mode === 'transaction') {
    const moveMs = (period.rows / moveRowsPerSecond) * 1000;
    return { keptOutMs: Math.round(moveMs + findMs + scanMs + fixedMs), invisibleMs: 0, scanMs, sparedMs: 0 };
  }
  // The attach checks outgoing foreign keys of the rows that are in the new table by then.
  const outgoing = source.foreignKeys.filter((key) => key.direction === 'outgoing').length;
  const checkMs = ((outgoing * period.rows) / (10 * moveRowsPerSecond)) * 1000;
  const invisibleMs = (period.rows / batchRowsPerSecond) * 1000 + 2 * scanMs;
  return {
    keptOutMs: Math.round(findMs + scanMs + checkMs + fixedMs),
    invisibleMs: Math.round(invisibleMs),
    scanMs,
    sparedMs: Math.round(findMs + (source.facts.heapBytes / scanBytesPerSecond) * 1000),
  };
}
