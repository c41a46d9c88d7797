import { setTimeout as sleep } from 'node:timers/promises';
import { reasonOf } from '../../process/child.ts';
import { copyOut, type CopyOut, type CopyPrograms } from '../../process/copy.ts';
import { partQuery, snapshotStatements, type CopiedColumn, type SnapshotRow } from '../../sql/export.ts';
import type { RelationName } from '../../sql/quote.ts';
import type { Store, Stored } from '../../storage/store.ts';
import { addDigests } from '../digest.ts';
import type { ManifestPart } from '../manifest.ts';
import { inParallel } from '../../process/parallel.ts';
import { partName } from '../place.ts';
import { readBack, type ReadBack } from './read-back.ts';
import { damaged } from '../../storage/read.ts';
import { copyToOthers, loseStore, removeRemains, type Copies } from '../../storage/copies.ts';

/** How much of a table goes into one part, in bytes of its heap and TOAST: small enough to be read by one query at a time. */
const partBytes = 256 * 1024 * 1024;
const mostParts = 10_000;
/** Smaller tables are not worth a second session. */
const splitFromBytes = 32 * 1024 * 1024;

/** Compressed bytes a second of a gentle run: what two cores give without being felt, see bench/RESULTS.md. */
const gentleBytesPerSecond = 3 * 1024 * 1024;

export interface BlockRange {
  first: number;
  /** Null: to the end, rows that were added behind the last block included. */
  end: number | null;
}

/** Splits a heap into ranges of blocks, one a part. Pure. */
export function planParts(blocks: number, sizeBytes: number, jobs: number): BlockRange[] {
  const bySize = Math.ceil(sizeBytes / partBytes);
  const wanted = sizeBytes < splitFromBytes ? 1 : Math.ceil(Math.max(bySize, jobs) / jobs) * jobs;
  const parts = Math.max(1, Math.min(wanted, blocks, mostParts));
  return Array.from({ length: parts }, (_, index) => ({
    first: Math.floor((blocks * index) / parts),
    end: index === parts - 1 ? null : Math.floor((blocks * (index + 1)) / parts),
  }));
}

/** What is exported, and where to. */
export interface ExportJob {
  table: RelationName;
  columns: CopiedColumn[];
  snapshot: SnapshotRow;
  ranges: BlockRange[];
  /** The folder in each store. */
  place: string;
  /** The first store is written to and read back; the others get a copy of what was read. */
  copies: Copies;
  programs: CopyPrograms;
  connection: Record<string, string>;
  compressionLevel: number;
  jobs: number;
  isGentle: boolean;
  withDigest: boolean;
  signal: AbortSignal;
  onBytes: (bytes: number) => void;
}

export interface Exported {
  parts: ManifestPart[];
  digest: string | null;
}

/**
 * Copies a table in its snapshot to the stores, part by part, and reads each part back. A part that fails fails the
 * whole; what was written is left for the caller to remove. Where the first store fails and the others are enough, they
 * get everything anew. Locks: ACCESS SHARE, of each worker.
 */
export async function exportParts(job: ExportJob): Promise<Exported> {
  for (;;) {
    const [first] = job.copies.stores;
    if (first === undefined) throw new Error('no store to export to');
    try {
      return await exportOnce(job);
    } catch (error) {
      if (job.signal.aborted) throw error;
      loseStore(job.copies, first, error);
      await removeRemains(job.copies.stores, job.place);
    }
  }
}

async function exportOnce(job: ExportJob): Promise<Exported> {
  const named = job.ranges.map((range, index) => ({ name: partName(index), range }));
  const results = await inParallel(job.jobs, named, job.signal, ({ name, range }, signal) =>
    exportPart(job, name, range, signal),
  );
  const digest = job.withDigest ? addDigests(...results.map((result) => result.digest ?? '0')) : null;
  return { parts: results.map(({ part }) => part), digest };
}

async function exportPart(
  job: ExportJob,
  name: string,
  range: BlockRange,
  signal: AbortSignal,
): Promise<{ part: ManifestPart; digest: string | null }> {
  const [first] = job.copies.stores;
  if (first === undefined) throw new Error('no store to export to');
  const key = `${job.place}${name}`;
  const copy = copyOut(partQuery(job.table, job.columns, range), {
    programs: job.programs,
    connection: job.connection,
    signal,
    isGentle: job.isGentle,
    compressionLevel: job.compressionLevel,
    before: snapshotStatements(job.snapshot.id),
  });
  let stored: Stored;
  try {
    stored = await first.put(key, bodyOf(copy, job), { signal, ifAbsent: true });
  } catch (error) {
    copy.stop();
    throw error;
  }
  const { rows } = await copy.finished;
  const back = await readBack(first, key, stored, {
    zstd: job.programs.zstd,
    signal,
    isGentle: job.isGentle,
    withDigest: job.withDigest,
  });
  refuseDifferentCount(first, key, rows, back);
  await copyToOthers(job.copies, key, stored, signal);
  return {
    part: {
      name,
      rows,
      sizeBytes: stored.sizeBytes,
      sha256: stored.sha256,
      plainBytes: back.plainBytes,
      plainSha256: back.plainSha256,
      firstBlock: range.first,
      endBlock: range.end,
    },
    digest: back.digest,
  };
}

/**
 * The compressed bytes. It ends only when both programs have ended with 0: a store that was told the end earlier would
 * complete an object that is cut off.
 */
async function* bodyOf(copy: CopyOut, job: ExportJob): AsyncGenerator<Buffer> {
  const started = performance.now();
  let bytes = 0;
  try {
    for await (const chunk of copy.stored as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      job.onBytes(chunk.length);
      yield chunk;
      if (!job.isGentle) continue;
      const aheadMs = (bytes / gentleBytesPerSecond) * 1000 - (performance.now() - started);
      if (aheadMs > 5) await sleep(aheadMs, undefined, { signal: job.signal }).catch(() => undefined);
    }
  } catch (error) {
    throw await reasonOf(error, copy.finished);
  }
  await copy.finished;
}

function refuseDifferentCount(store: Store, key: string, rows: number, back: ReadBack): void {
  if (back.rows === rows) return;
  throw damaged(store, key, `it holds ${String(back.rows)} rows, and COPY wrote ${String(rows)}`);
}
