import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { DbopsError } from '../../../errors.ts';
import { startChild } from '../../../process/child.ts';
import { formatLsn, parseLsn, startOfSegment, timelineOf } from '../../wal/segment.ts';
import { parseTime } from './target.ts';

/** A record of pg_waldump that a recovery can stop at. */
export interface WalRecord {
  /** Where it begins. */
  lsn: bigint;
  /** Other records have neither time nor name. */
  kind: 'commit' | 'abort' | 'restore point' | 'other';
  micros: bigint | undefined;
  name: string | undefined;
}

/** Which records are asked for: of one resource manager, or all. */
type Manager = 'Transaction' | 'XLOG' | undefined;

/**
 * Tells the records in the segments of a directory, from `first` to `last`, of one timeline. Where they end within a
 * record pg_waldump fails, which is how it says so. What the segments hold was compared with its hash before. Throws tool_failed
 * when the program cannot be run.
 */
export async function dumpWal(
  pgWaldump: string,
  directory: string,
  { first, last, segmentBytes }: { first: string; last: string; segmentBytes: number },
  manager: Manager,
  options: { signal: AbortSignal; onRecord: (record: WalRecord) => void },
): Promise<void> {
  // Of a segment that is given by its name nothing but itself is read, and for one behind the end it waits five seconds.
  const end = startOfSegment(last, segmentBytes) + BigInt(segmentBytes);
  const from = [
    '-t',
    String(timelineOf(first)),
    '-s',
    formatLsn(startOfSegment(first, segmentBytes)),
    '-e',
    formatLsn(end),
  ];
  const args = ['-p', directory, ...from, ...(manager === undefined ? [] : [`--rmgr=${manager}`])];
  // Times are printed in the zone of the environment.
  const child = startChild(pgWaldump, args, { env: { TZ: 'UTC', LC_ALL: 'C' }, signal: options.signal });
  const lines = createInterface({ input: child.process.stdout as Readable, crlfDelay: Infinity });
  for await (const line of lines) {
    const record = parseRecord(line);
    if (record !== undefined) options.onRecord(record);
  }
  try {
    await child.finished;
  } catch (error) {
    const isEnd = error instanceof DbopsError && error.message.endsWith('ended with exit code 1');
    if (!isEnd) throw error;
  }
}

/** Reads a line of pg_waldump of PostgreSQL 14 to 18; undefined for one that is no record. Pure. */
export function parseRecord(line: string): WalRecord | undefined {
  const match = /^rmgr: (\w+) .*?, lsn: ([0-9A-F]+\/[0-9A-F]+), prev [0-9A-F/]+, desc: (.*)$/.exec(line);
  if (match === null) return undefined;
  const [, manager, lsn = '', words = ''] = match;
  const record = { lsn: parseLsn(lsn), micros: undefined, name: undefined };
  if (manager === 'XLOG' && words.startsWith('RESTORE_POINT '))
    return { ...record, kind: 'restore point', name: words.slice('RESTORE_POINT '.length) };
  const ends =
    /^(COMMIT|ABORT)(?:_PREPARED)? (?:\d+: )?(\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d{6} UTC)/.exec(words);
  if (manager !== 'Transaction' || ends === null) return { ...record, kind: 'other' };
  return { ...record, kind: ends[1] === 'COMMIT' ? 'commit' : 'abort', micros: parseTime(ends[2] ?? '') };
}
