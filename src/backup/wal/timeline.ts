import { parseLsn } from './segment.ts';

/** How a timeline came to be, as its history file tells. */
export interface TimelineHistory {
  timeline: number;
  /** Its ancestors, the oldest first: each was left at `until`, where the next one begins. */
  ancestors: { timeline: number; until: bigint }[];
}

/**
 * Reads TTTTTTTT.history: lines of "parent<tab>LSN<tab>reason", comments begin with #. Throws for what is none, as
 * readTimeLineHistory() of the server does: ancestors ascend and are older than the timeline. Pure.
 */
export function parseHistory(timeline: number, text: string): TimelineHistory {
  const ancestors: TimelineHistory['ancestors'] = [];
  for (const line of text.split('\n')) {
    if (/^\s*(#|$)/.test(line)) continue;
    const match = /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/.exec(line);
    const parent = Number(match?.[1]);
    if (match === null || parent <= (ancestors.at(-1)?.timeline ?? 0) || parent >= timeline)
      throw new Error(`"${line}" is not a line of the history of timeline ${String(timeline)}`);
    ancestors.push({ timeline: parent, until: parseLsn(match[2] ?? '') });
  }
  return { timeline, ancestors };
}

/** Where a timeline begins; 0 for one without ancestors. Pure. */
export function startOfTimeline(history: TimelineHistory): bigint {
  return history.ancestors.at(-1)?.until ?? 0n;
}

/**
 * The timeline on which a recovery to `history` reads what lies at `lsn`. Pure.
 */
export function timelineAt(history: TimelineHistory, lsn: bigint): number {
  return history.ancestors.find((item) => lsn < item.until)?.timeline ?? history.timeline;
}

/**
 * Whether a recovery to `history` passes through the point `lsn` of `timeline`: whether a backup that ended there can be
 * taken to it. Pure.
 */
export function isOnPath(history: TimelineHistory, timeline: number, lsn: bigint): boolean {
  if (timeline === history.timeline) return lsn >= startOfTimeline(history);
  const ancestor = history.ancestors.findIndex((item) => item.timeline === timeline);
  if (ancestor === -1) return false;
  const begins = history.ancestors[ancestor - 1]?.until ?? 0n;
  return lsn >= begins && lsn <= (history.ancestors[ancestor]?.until ?? 0n);
}
