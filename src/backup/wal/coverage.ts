import type { Store } from '../../storage/store.ts';
import { listHistories, listWal, type ReadOptions, type StoredHistory, type StoredWal } from './archive.ts';
import { formatLsn, segmentName, segmentNumber, timelineOf } from './segment.ts';
import { startOfTimeline, timelineAt, type TimelineHistory } from './timeline.ts';

/** Segments that follow each other without a gap; both ends are in it. */
export interface WalRange {
  first: string;
  last: string;
  segments: number;
}

/** What the archive holds of one timeline. */
export interface TimelineCoverage {
  timeline: number;
  ranges: WalRange[];
  /** Between two ranges; both ends are missing. */
  gaps: WalRange[];
  storedBytes: number;
  /** When the last segment came, by the clock of the store. */
  newestAt: Date | null;
  partials: string[];
}

export interface WalSurvey {
  /** In order of their numbers. */
  timelines: TimelineCoverage[];
  /** historyOf() reads them. */
  histories: StoredHistory[];
  segmentBytes: number;
}

/** Looks through the archive by names alone. Memory holds ranges, not segments. */
export async function surveyWal(
  store: Store,
  systemIdentifier: string,
  segmentBytes: number,
  options: ReadOptions & { from?: string | undefined },
): Promise<WalSurvey> {
  const histories = await listHistories(store, systemIdentifier, options);
  const timelines = new Map<number, TimelineCoverage>();
  for await (const file of listWal(store, systemIdentifier, { from: options.from, signal: options.signal })) {
    const { timeline } = file.parsed;
    const known = timelines.get(timeline) ?? {
      timeline,
      ranges: [],
      gaps: [],
      storedBytes: 0,
      newestAt: null,
      partials: [],
    };
    timelines.set(timeline, known);
    known.storedBytes += file.sizeBytes;
    if (file.parsed.kind === 'partial') known.partials.push(file.name);
    if (file.parsed.kind === 'segment') addSegment(known, file, segmentBytes);
  }
  return {
    timelines: [...timelines.values()].sort((a, b) => a.timeline - b.timeline),
    histories,
    segmentBytes,
  };
}

/** Segments come in the order of their names. */
function addSegment(coverage: TimelineCoverage, file: StoredWal, segmentBytes: number): void {
  coverage.newestAt = file.modifiedAt;
  const range = coverage.ranges.at(-1);
  const number = segmentNumber(file.name, segmentBytes);
  const last = range === undefined ? undefined : segmentNumber(range.last, segmentBytes);
  if (range !== undefined && number - 1n === last) {
    range.last = file.name;
    range.segments += 1;
    return;
  }
  if (last !== undefined) {
    coverage.gaps.push({
      first: segmentName(coverage.timeline, last + 1n, segmentBytes),
      last: segmentName(coverage.timeline, number - 1n, segmentBytes),
      segments: Number(number - last - 1n),
    });
  }
  coverage.ranges.push({ first: file.name, last: file.name, segments: 1 });
}

/** How far a recovery gets without a gap. */
export interface Reach {
  /** The segments that it reads, one range a timeline. Empty when the very first is missing. */
  ranges: WalRange[];
  /** Behind the last of them: nothing at or after it can be reached. */
  endLsn: bigint;
  /** The first segment that is not there; it may come yet when it is the newest. */
  missing: string;
}

/**
 * What a recovery to the end of `history` can read, from the segment with `startLsn` on. The segment in which a timeline
 * was left may be there as a part of the next one alone. Pure.
 */
export function reachFrom(survey: WalSurvey, history: TimelineHistory, startLsn: bigint): Reach {
  const bytes = BigInt(survey.segmentBytes);
  const path = [...history.ancestors.map((item) => item.timeline), history.timeline];
  const begins = path.map((_, index) => history.ancestors[index - 1]?.until ?? 0n);
  const ranges: WalRange[] = [];
  let number = startLsn / bytes;
  let index = Math.max(0, path.indexOf(timelineAt(history, startLsn)));
  for (;;) {
    // The server looks on the newest timeline that may have a segment first.
    while (index + 1 < path.length && (begins[index + 1] ?? 0n) / bytes <= number) index += 1;
    const found =
      findRange(survey, path[index] ?? 0, number) ?? findBefore(survey, path, begins, index, number);
    if (found === undefined) break;
    const { timeline, last } = found;
    const switchAt = index + 1 < path.length ? (begins[index + 1] ?? 0n) / bytes : undefined;
    const end = [last, ...(switchAt === undefined ? [] : [switchAt - 1n])].reduce((a, b) => (a < b ? a : b));
    // Of an ancestor that stands in for its descendant only the one segment is read.
    const until = timeline === path[index] && end >= number ? end : number;
    addRange(ranges, timeline, number, until, survey.segmentBytes);
    number = until + 1n;
  }
  return {
    ranges,
    endLsn: number * bytes,
    missing: segmentName(path[index] ?? history.timeline, number, survey.segmentBytes),
  };
}

/** The segment of the switch, as its ancestor has it whole. */
function findBefore(survey: WalSurvey, path: number[], begins: bigint[], index: number, number: bigint) {
  const isSwitch = index > 0 && (begins[index] ?? 0n) / BigInt(survey.segmentBytes) === number;
  return isSwitch ? findRange(survey, path[index - 1] ?? 0, number) : undefined;
}

function findRange(survey: WalSurvey, timeline: number, number: bigint) {
  const { segmentBytes } = survey;
  const ranges = survey.timelines.find((item) => item.timeline === timeline)?.ranges ?? [];
  const range = ranges.find(
    (item) =>
      segmentNumber(item.first, segmentBytes) <= number && number <= segmentNumber(item.last, segmentBytes),
  );
  return range === undefined ? undefined : { timeline, last: segmentNumber(range.last, segmentBytes) };
}

function addRange(
  ranges: WalRange[],
  timeline: number,
  from: bigint,
  to: bigint,
  segmentBytes: number,
): void {
  const last = ranges.at(-1);
  const count = Number(to - from + 1n);
  if (last !== undefined && timelineOf(last.last) === timeline) {
    last.last = segmentName(timeline, to, segmentBytes);
    last.segments += count;
    return;
  }
  ranges.push({
    first: segmentName(timeline, from, segmentBytes),
    last: segmentName(timeline, to, segmentBytes),
    segments: count,
  });
}

/**
 * The history of a timeline: one without a file has no ancestors. Of several stores that tell it a good copy counts. Throws
 * copy_damaged where there is none. Pure.
 */
export function historyOf(survey: Pick<WalSurvey, 'histories'>, timeline: number): TimelineHistory {
  const told = survey.histories.filter((item) => item.timeline === timeline);
  const good = told.find((item) => item.damage === undefined);
  const damage = told[0]?.damage;
  if (good === undefined && damage !== undefined) throw damage;
  return good ?? { timeline, ancestors: [] };
}

/**
 * The newest timeline of which the archive knows: that with the greatest number, as recovery_target_timeline = 'latest'
 * takes it. Undefined when there is no WAL at all. Pure.
 */
export function newestTimeline(survey: WalSurvey): number | undefined {
  const numbers = [
    ...survey.timelines.map((item) => item.timeline),
    ...survey.histories.map((item) => item.timeline),
  ];
  return numbers.length === 0 ? undefined : Math.max(...numbers);
}

/** For people: "timeline 2 from 0/5000028". Pure. */
export function describeTimeline(history: TimelineHistory): string {
  const start = startOfTimeline(history);
  return `timeline ${String(history.timeline)}${start === 0n ? '' : ` from ${formatLsn(start)}`}`;
}
