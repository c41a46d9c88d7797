import type { Store } from '../../storage/store.ts';
import { surveyBackups } from '../catalogue/survey.ts';
import type { PhysicalPart } from '../manifest.ts';
import { findWal } from './archive.ts';
import { closedOn } from './envelope.ts';
import { historyOf, newestTimeline, reachFrom } from './coverage.ts';
import { formatLsn, parseLsn, segmentNumber } from './segment.ts';
import type { StoreWal } from './status.ts';
import { isOnPath } from './timeline.ts';

/** What can be recovered from one base backup: from its end on, without a gap. */
export interface ReachableLine {
  id: string;
  kind: string;
  fromLsn: string;
  from: Date;
  toLsn: string;
  /** When the last segment was closed: nothing after it is safe yet. Null where that is not known. */
  to: Date | null;
}

/** What each base backup in these stores can be taken to, oldest first; on the newest timeline that goes on from it. */
export async function listReachable(
  stores: StoreWal[],
  systemIdentifier: string,
  signal: AbortSignal,
): Promise<ReachableLine[]> {
  const asked = stores.map((item) => item.store);
  const survey = await surveyBackups(asked, { systemIdentifier, database: null, signal, jobs: 4 });
  const lines: ReachableLine[] = [];
  for (const { id, manifest } of survey.backups) {
    const physical = manifest?.physical ?? null;
    if (manifest === undefined || physical === null) continue;
    const best = furthest(stores, physical);
    if (best === undefined) continue;
    lines.push({
      id,
      kind: manifest.kind,
      fromLsn: physical.stopLsn,
      from: new Date(physical.stoppedAt),
      toLsn: formatLsn(best.endLsn),
      to: best.last === undefined ? null : await closedAt(best.store, systemIdentifier, best.last, signal),
    });
  }
  return lines;
}

function furthest(
  stores: StoreWal[],
  physical: PhysicalPart,
): { store: Store; endLsn: bigint; last: string | undefined } | undefined {
  const stopLsn = parseLsn(physical.stopLsn);
  const reaches = stores.flatMap(({ store, survey }) => {
    if (survey === undefined) return [];
    const timelines = [newestTimeline(survey) ?? physical.timeline, physical.timeline];
    const history = timelines
      // What leads over a damaged history is not reached; the store is told as damaged.
      .filter((timeline) => !survey.histories.some((item) => item.timeline === timeline && item.damage))
      .map((timeline) => historyOf(survey, timeline))
      .find((item) => isOnPath(item, physical.timeline, stopLsn));
    if (history === undefined) return [];
    const bytes = BigInt(survey.segmentBytes);
    // A backup that brings its own WAL goes on behind that.
    const start =
      physical.wal === 'archive'
        ? parseLsn(physical.startLsn)
        : (segmentNumber(physical.stopWal, survey.segmentBytes) + 1n) * bytes;
    const { endLsn, ranges } = reachFrom(survey, history, start);
    return endLsn < stopLsn ? [] : [{ store, endLsn, last: ranges.at(-1)?.last }];
  });
  return reaches.sort((a, b) => (a.endLsn < b.endLsn ? 1 : -1))[0];
}

async function closedAt(
  store: Store,
  systemIdentifier: string,
  name: string,
  signal: AbortSignal,
): Promise<Date | null> {
  const envelope = await findWal(store, systemIdentifier, name, signal);
  return closedOn(envelope);
}
