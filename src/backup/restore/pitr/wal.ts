import { DbopsError } from '../../../errors.ts';
import type { Store } from '../../../storage/store.ts';
import { findWal, readWal } from '../../wal/archive.ts';
import { findCluster } from '../../wal/cluster.ts';
import { surveyWal, type Reach, type TimelineCoverage, type WalSurvey } from '../../wal/coverage.ts';
import type { WalEnvelope } from '../../wal/envelope.ts';
import { segmentName, segmentNumber } from '../../wal/segment.ts';

/** The WAL of a cluster, as all its stores together have it. */
export interface WalView {
  survey: WalSurvey;
  /** Reads one file into `path`, from the first store that has a good copy. Throws what the last store threw. */
  read: (name: string, path: string, signal: AbortSignal) => Promise<WalEnvelope>;
  /** When the server had closed a segment, in microseconds; undefined where no store knows. */
  closedAt: (name: string, signal: AbortSignal) => Promise<bigint | undefined>;
  /** Names of the stores that have answered. */
  asked: string[];
  /** Stores that could not be asked, or know nothing of the cluster, with what they said. */
  unasked: { store: string; error: DbopsError }[];
}

/**
 * Looks at the WAL in several stores at once; one that cannot be asked is told in `unasked`, and so is one in which the
 * cluster was never registered: what it lacks may be on a disk that is not mounted. Throws what it said when none answered.
 */
export async function viewWal(
  stores: Store[],
  system: string,
  segmentBytes: number,
  options: { zstd: string; signal: AbortSignal },
): Promise<WalView> {
  const unasked: WalView['unasked'] = [];
  const answers: { store: Store; survey: WalSurvey }[] = [];
  for (const store of stores) {
    try {
      if ((await findCluster(store, system, options.signal)) === undefined)
        unasked.push(stranger(store, system));
      else answers.push({ store, survey: await surveyWal(store, system, segmentBytes, options) });
    } catch (error) {
      if (!(error instanceof DbopsError) || error.exitCode > 128) throw error;
      unasked.push({ store: store.name, error });
    }
  }
  const failure = unasked.find(({ error }) => error.code !== 'refused');
  if (answers.length === 0 && failure !== undefined) throw failure.error;
  return {
    survey: mergeSurveys(
      answers.map((answer) => answer.survey),
      segmentBytes,
    ),
    read: async (name, path, signal) => {
      let last: unknown = new DbopsError('store_missing', `${name} is in none of the stores of WAL`);
      for (const { store } of answers) {
        try {
          return await readWal(store, system, name, path, { zstd: options.zstd, signal });
        } catch (error) {
          if (!(error instanceof DbopsError) || error.exitCode > 128) throw error;
          // That a copy is damaged says more than that the next store has none.
          if (error.code !== 'store_missing' || isMissing(last)) last = error;
        }
      }
      throw last;
    },
    closedAt: async (name, signal) => {
      let earliest: bigint | undefined;
      for (const { store } of answers) {
        const found = await findWal(store, system, name, signal).catch((error: unknown) => {
          if (!(error instanceof DbopsError) || error.exitCode > 128) throw error;
          return undefined;
        });
        const closedAt = found?.closedAt ?? null;
        if (closedAt === null) continue;
        const micros = BigInt(Date.parse(closedAt)) * 1000n;
        // It proves that nothing is missing: of two that differ the later one may be the time of a copy.
        if (earliest === undefined || micros < earliest) earliest = micros;
      }
      return earliest;
    },
    asked: answers.map(({ store }) => store.name),
    unasked,
  };
}

function stranger(store: Store, system: string): WalView['unasked'][number] {
  return {
    store: store.name,
    error: new DbopsError('refused', `it knows nothing of the cluster ${system}; is its disk mounted?`, {
      hint: 'Mount it; where the cluster has never archived WAL into it, leave the store out of "wal.copies".',
    }),
  };
}

function isMissing(error: unknown): boolean {
  return error instanceof DbopsError && error.code === 'store_missing';
}

/** What several stores have together: a segment that is missing in one may be in the next. Pure. */
export function mergeSurveys(surveys: WalSurvey[], segmentBytes: number): WalSurvey {
  const [only] = surveys;
  if (only !== undefined && surveys.length === 1) return only;
  const numbers = [...new Set(surveys.flatMap((item) => item.timelines.map(({ timeline }) => timeline)))];
  const histories = surveys.flatMap((item) => item.histories);
  return {
    timelines: numbers
      .sort((a, b) => a - b)
      .map((timeline) =>
        mergeTimeline(
          timeline,
          surveys.flatMap((item) => item.timelines.filter((one) => one.timeline === timeline)),
          segmentBytes,
        ),
      ),
    histories: [...new Map(histories.map((item) => [item.timeline, item])).values()].sort(
      (a, b) => a.timeline - b.timeline,
    ),
    segmentBytes,
  };
}

function mergeTimeline(timeline: number, parts: TimelineCoverage[], segmentBytes: number): TimelineCoverage {
  const name = (number: bigint) => segmentName(timeline, number, segmentBytes);
  const range = (first: bigint, last: bigint) => ({
    first: name(first),
    last: name(last),
    segments: Number(last - first + 1n),
  });
  const spans = parts
    .flatMap((part) => part.ranges)
    .map((item) => [segmentNumber(item.first, segmentBytes), segmentNumber(item.last, segmentBytes)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const merged: [bigint, bigint][] = [];
  for (const [first, last] of spans) {
    const before = merged.at(-1);
    if (before === undefined || first > before[1] + 1n) merged.push([first, last]);
    else if (last > before[1]) before[1] = last;
  }
  const newest = parts.map((part) => part.newestAt?.getTime() ?? 0);
  return {
    timeline,
    ranges: merged.map(([first, last]) => range(first, last)),
    gaps: merged.slice(1).map(([first], index) => range((merged[index]?.[1] ?? 0n) + 1n, first - 1n)),
    storedBytes: Math.max(0, ...parts.map((part) => part.storedBytes)),
    newestAt: newest.some((at) => at > 0) ? new Date(Math.max(...newest)) : null,
    partials: [...new Set(parts.flatMap((part) => part.partials))],
  };
}

/** The segments that a recovery reads, in order; by number, since there may be very many. Pure. */
export function segmentsOf(
  reach: Reach,
  segmentBytes: number,
): { count: number; at: (index: number) => string } {
  return {
    count: reach.ranges.reduce((sum, range) => sum + range.segments, 0),
    at: (index) => {
      let rest = index;
      for (const range of reach.ranges) {
        if (rest < range.segments) {
          const first = segmentNumber(range.first, segmentBytes);
          return segmentName(
            Number.parseInt(range.first.slice(0, 8), 16),
            first + BigInt(rest),
            segmentBytes,
          );
        }
        rest -= range.segments;
      }
      throw new Error(`there is no segment ${String(index)} in this range`);
    },
  };
}
