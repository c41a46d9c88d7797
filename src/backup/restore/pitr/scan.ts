import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DbopsError } from '../../../errors.ts';
import type { Log } from '../../../output/log.ts';
import { inParallel } from '../../../process/parallel.ts';
import type { Reach } from '../../wal/coverage.ts';
import { timelineOf } from '../../wal/segment.ts';
import { segmentsOf, type WalView } from './wal.ts';
import { dumpWal, type WalRecord } from './waldump.ts';

/** What looking into archived WAL needs. */
export interface ScanContext {
  view: WalView;
  /** Undefined where it is not installed beside the server. */
  pgWaldump: string | undefined;
  workDirectory: string;
  jobs: number;
  log: Log;
  signal: AbortSignal;
}

/** A commit or an abort, and its time on the clock of the server, in microseconds. */
export interface Ending {
  lsn: bigint;
  micros: bigint;
}

/** Segments that are on disk at a time. */
const mostSegments = 16;
const sayEveryMs = 10_000;

/** The last transactions in the WAL of a recovery. */
export interface LastEndings {
  /** The newest commit by its time; undefined when there is none after `downTo`. */
  commit: Ending | undefined;
  /** The newest of commits and aborts by its time: a recovery can stop before either. */
  any: Ending | undefined;
}

/**
 * Looks for the last commit, from the end of the WAL back, at most to the segment with the position `downTo`. Segments are
 * fetched one, two, four ... at a time: the last one has one as a rule.
 */
export async function findLastEndings(
  context: ScanContext,
  reach: Reach,
  downTo: bigint,
): Promise<LastEndings> {
  const result: LastEndings = { commit: undefined, any: undefined };
  const newest = (known: Ending | undefined, one: Ending) =>
    known === undefined || one.micros >= known.micros ? one : known;
  await backwards(context, reach, 'Transaction', {
    onRecord: ({ lsn, kind, micros }) => {
      if (micros === undefined || lsn < downTo) return;
      result.any = newest(result.any, { lsn, micros });
      if (kind === 'commit') result.commit = newest(result.commit, { lsn, micros });
    },
    isFound: () => result.commit !== undefined,
    downTo,
  });
  return result;
}

/** Where the last record begins that can be read whole. Undefined when there is none at all. */
export async function findLastRecord(context: ScanContext, reach: Reach): Promise<bigint | undefined> {
  let last: bigint | undefined;
  await backwards(context, reach, undefined, {
    onRecord: ({ lsn }) => {
      if (last === undefined || lsn > last) last = lsn;
    },
    isFound: () => last !== undefined,
    downTo: 0n,
  });
  return last;
}

async function backwards(
  context: ScanContext,
  reach: Reach,
  manager: 'Transaction' | undefined,
  look: { onRecord: (record: WalRecord) => void; isFound: () => boolean; downTo: bigint },
): Promise<void> {
  const segmentBytes = context.view.survey.segmentBytes;
  const { count, at } = segmentsOf(reach, segmentBytes);
  const lowest = Math.max(0, count - Number((reach.endLsn - look.downTo) / BigInt(segmentBytes)) - 1);
  const said = teller(context);
  await inScratch(context, async (directory) => {
    let size = 1;
    for (let end = count; end > lowest && !look.isFound();) {
      const begin = Math.max(lowest, end - size);
      // One more: a record may begin in the last segment and end in the next.
      await window(context, directory, begin, Math.min(count, end + 1), at, manager, look.onRecord);
      said(count - begin);
      end = begin;
      size = Math.min(size * 2, mostSegments);
    }
  });
}

/**
 * Where the first restore point of this name lies; undefined when the WAL has none. Reads from the beginning on, up to
 * `before`, where that was searched already.
 */
export async function findRestorePoint(
  context: ScanContext,
  reach: Reach,
  name: string,
  before?: bigint,
): Promise<bigint | undefined> {
  const { segmentBytes } = context.view.survey;
  const { count: all, at } = segmentsOf(reach, segmentBytes);
  // The segment at `before` again: a record may begin before it.
  const behind = before === undefined ? 0n : (reach.endLsn - before) / BigInt(segmentBytes) - 1n;
  const count = all - Math.max(0, Number(behind));
  const said = teller(context);
  let found: bigint | undefined;
  await inScratch(context, async (directory) => {
    for (let begin = 0; begin < count && found === undefined; begin += mostSegments) {
      const end = Math.min(count, begin + mostSegments + 1);
      await window(context, directory, begin, end, at, 'XLOG', (record) => {
        if (record.kind === 'restore point' && record.name === name) found ??= record.lsn;
      });
      said(end);
    }
  });
  return found;
}

/** Has exactly these segments in the directory, and reads their records, one timeline after the other. */
async function window(
  context: ScanContext,
  directory: string,
  begin: number,
  end: number,
  at: (index: number) => string,
  manager: 'Transaction' | 'XLOG' | undefined,
  onRecord: (record: WalRecord) => void,
): Promise<void> {
  const { view, pgWaldump, jobs, signal } = context;
  if (pgWaldump === undefined) throw withoutWaldump();
  const wanted = Array.from({ length: end - begin }, (_, index) => at(begin + index));
  const there = await readdir(directory);
  for (const name of there) if (!wanted.includes(name)) await rm(join(directory, name));
  const missing = wanted.filter((name) => !there.includes(name));
  await inParallel(jobs, missing, signal, async (name, own) => {
    await view.read(name, join(directory, name), own);
  });
  const { segmentBytes } = view.survey;
  for (const [first, last] of byTimeline(wanted))
    await dumpWal(pgWaldump, directory, { first, last, segmentBytes }, manager, { signal, onRecord });
}

/** The first and the last segment of each timeline. Pure. */
function byTimeline(names: string[]): [string, string][] {
  const spans = new Map<number, [string, string]>();
  for (const name of names) {
    const timeline = timelineOf(name);
    spans.set(timeline, [spans.get(timeline)?.[0] ?? name, name]);
  }
  return [...spans.values()];
}

async function inScratch<T>(context: ScanContext, work: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(context.workDirectory, 'dbops-wal-'));
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Long searches say now and then how far they are. */
function teller({ log }: ScanContext): (segments: number) => void {
  let saidAt = performance.now();
  return (segments) => {
    if (performance.now() - saidAt < sayEveryMs) return;
    saidAt = performance.now();
    log.info({ event: 'wal_searched', segments }, `${String(segments)} segments of WAL searched so far`);
  };
}

function withoutWaldump(): DbopsError {
  return new DbopsError(
    'refused',
    'what is in the archived WAL cannot be told: pg_waldump is not installed beside the server',
    {
      hint: 'Install the whole server package of that major, or restore --to immediate or --to latest.',
    },
  );
}
