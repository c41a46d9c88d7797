import { DbopsError } from '../../errors.ts';
import type { WalPositionRow } from '../../sql/wal.ts';
import type { Store } from '../../storage/store.ts';
import { findWal } from './archive.ts';
import { findCluster } from './cluster.ts';
import { closedOn } from './envelope.ts';
import {
  newestTimeline,
  surveyWal,
  type TimelineCoverage,
  type WalRange,
  type WalSurvey,
} from './coverage.ts';
import { notRegistered } from './push.ts';
import { formatLsn, parseLsn, segmentNumber } from './segment.ts';
import { startOfTimeline } from './timeline.ts';

/** What one store holds of a cluster's WAL. */
export interface StoreWal {
  store: Store;
  survey: WalSurvey | undefined;
  /** Why it could not be looked through. */
  problem: string | undefined;
}

/** A segment that arrived this recently may have overtaken the one before it: several are pushed at once. */
const underWayMs = 60_000;

/** Looks through each store; one that fails is told, not thrown. Throws interrupted, and refused when none knows the cluster. */
export async function surveyStores(
  stores: Store[],
  systemIdentifier: string,
  signal: AbortSignal,
): Promise<StoreWal[]> {
  const found = await Promise.all(
    stores.map(async (store): Promise<StoreWal> => {
      try {
        const cluster = await findCluster(store, systemIdentifier, signal);
        if (cluster === undefined)
          return { store, survey: undefined, problem: 'the cluster is not registered there' };
        const survey = await surveyWal(store, systemIdentifier, cluster.walSegmentBytes, { signal });
        const damage = survey.histories.find((item) => item.damage !== undefined)?.damage;
        return { store, survey, problem: damage?.message };
      } catch (error) {
        if (!(error instanceof DbopsError) || signal.aborted) throw error;
        return { store, survey: undefined, problem: error.message };
      }
    }),
  );
  if (found.length > 0 && found.every((item) => item.problem === 'the cluster is not registered there'))
    throw notRegistered(
      systemIdentifier,
      stores.map((store) => store.name),
    );
  return found;
}

/** One timeline in one store, as it is shown. */
export interface TimelineLine {
  store: string;
  timeline: number;
  /** Where it begins, as its history says; null for the first. */
  startLsn: string | null;
  first: string | null;
  last: string | null;
  segments: number;
  storedBytes: number;
  gaps: { first: string; last: string; segments: number }[];
  newestAt: Date | null;
}

/** Pure. */
export function linesOf({ store, survey }: StoreWal): TimelineLine[] {
  return (survey?.timelines ?? []).map((coverage) => {
    const history = survey?.histories.find((item) => item.timeline === coverage.timeline);
    const start = history === undefined ? 0n : startOfTimeline(history);
    return {
      store: store.name,
      timeline: coverage.timeline,
      startLsn: start === 0n ? null : formatLsn(start),
      first: coverage.ranges[0]?.first ?? null,
      last: coverage.ranges.at(-1)?.last ?? null,
      segments: coverage.ranges.reduce((sum, range) => sum + range.segments, 0),
      storedBytes: coverage.storedBytes,
      gaps: coverage.gaps,
      newestAt: coverage.newestAt,
    };
  });
}

/** Segments that one store lacks, between others that it has. */
export interface StoreGap extends WalRange {
  store: string;
  /** Another store has all of them. */
  isElsewhere: boolean;
}

/** The gaps of each store, but for those that may close by themselves; `now` by the clock of this host. Pure. */
export function listGaps(stores: StoreWal[], now: Date): StoreGap[] {
  return stores.flatMap(({ store, survey }) =>
    (survey?.timelines ?? []).flatMap((coverage) =>
      coverage.gaps
        .filter((_, index) => !mayBeUnderWay(coverage, index, now))
        .map((gap) => ({
          ...gap,
          store: store.name,
          isElsewhere: stores.some((other) => other.store !== store && holds(other, coverage.timeline, gap)),
        })),
    ),
  );
}

/** Names of one timeline are in the order of their segments. */
function holds({ survey }: StoreWal, timeline: number, { first, last }: WalRange): boolean {
  const ranges = survey?.timelines.find((item) => item.timeline === timeline)?.ranges ?? [];
  return ranges.some((range) => range.first <= first && last <= range.last);
}

/** "000000010000000000000007", or the first and the last of several. Pure. */
export function rangeWords({ first, last }: WalRange): string {
  return first === last ? first : `${first} to ${last}`;
}

/** What is wrong, a sentence each; `now` by the clock of this host. Pure. */
export function findingsOf(stores: StoreWal[], now: Date): string[] {
  const gaps = listGaps(stores, now);
  return stores.flatMap(({ store, problem }) => [
    ...(problem === undefined ? [] : [`store "${store.name}" is not known to be whole: ${problem}`]),
    ...gaps
      .filter((gap) => gap.store === store.name)
      .map((gap) => `store "${store.name}" lacks ${rangeWords(gap)}: no recovery passes it`),
  ]);
}

function mayBeUnderWay({ gaps, newestAt }: TimelineCoverage, index: number, now: Date): boolean {
  return index === gaps.length - 1 && newestAt !== null && now.getTime() - newestAt.getTime() < underWayMs;
}

/** How far the archive is behind the server. */
export interface WalLag {
  /** Finished by the server and not in every store yet. */
  segments: number;
  /** Since the newest archived segment was closed, by the clock of the server; null where that is not known. */
  seconds: number | null;
  newest: string | null;
  closedAt: Date | null;
}

/** The lag of the store that is furthest behind. Undefined where the server has no position, or no store could be asked. */
export async function lagOf(
  stores: StoreWal[],
  systemIdentifier: string,
  server: Pick<WalPositionRow, 'lsn' | 'timeline' | 'now'>,
  signal: AbortSignal,
): Promise<WalLag | undefined> {
  const { lsn } = server;
  if (lsn === null) return undefined;
  const lags = stores.flatMap(({ store, survey }) => {
    if (survey === undefined) return [];
    const newest = survey.timelines.find((item) => item.timeline === server.timeline)?.ranges.at(-1)?.last;
    const finished = parseLsn(lsn) / BigInt(survey.segmentBytes) - 1n;
    const archived = newest === undefined ? -1n : segmentNumber(newest, survey.segmentBytes);
    return [{ store, newest, segments: Math.max(0, Number(finished - archived)) }];
  });
  const [worst] = lags.sort((a, b) => b.segments - a.segments);
  if (worst === undefined) return undefined;
  const envelope =
    worst.newest === undefined
      ? undefined
      : await findWal(worst.store, systemIdentifier, worst.newest, signal);
  const closedAt = closedOn(envelope);
  return {
    segments: worst.segments,
    seconds:
      closedAt === null ? null : Math.max(0, Math.round((server.now.getTime() - closedAt.getTime()) / 1000)),
    newest: worst.newest ?? null,
    closedAt,
  };
}

/** The newest segment of the newest timeline, in a store that has it. Pure. */
export function newestSegment(
  stores: StoreWal[],
): { store: Store; name: string; segmentBytes: number } | undefined {
  const newest = stores.flatMap(({ store, survey }) => {
    if (survey === undefined) return [];
    const timeline = newestTimeline(survey);
    const name = survey.timelines.find((item) => item.timeline === timeline)?.ranges.at(-1)?.last;
    return name === undefined ? [] : [{ store, name, segmentBytes: survey.segmentBytes }];
  });
  return newest.sort((a, b) => (a.name < b.name ? 1 : -1))[0];
}
