import { DbopsError } from '../../../errors.ts';
import { describeTimeline, historyOf, newestTimeline, type WalSurvey } from '../../wal/coverage.ts';
import { formatLsn } from '../../wal/segment.ts';
import { isOnPath, type TimelineHistory } from '../../wal/timeline.ts';
import type { PhysicalBackup } from './candidates.ts';
import { describeTarget, formatTime, type Target } from './target.ts';

/** Which timeline a recovery ends on: a number, that of the backup, or the newest of the archive. */
export type TimelineWish = number | 'current' | 'latest' | undefined;

/** Where a recovery begins, and the way it takes. */
export interface Choice {
  backup: PhysicalBackup;
  history: TimelineHistory;
}

/**
 * The newest backup that ends before the target and lies on the way to its timeline; the given one where an id was given,
 * which must. Throws refused: every reason names what is reachable. Pure.
 */
export function chooseBackup(
  all: PhysicalBackup[],
  survey: Pick<WalSurvey, 'timelines' | 'histories' | 'segmentBytes'>,
  wish: { given: PhysicalBackup | undefined; target: Target; timeline: TimelineWish },
): Choice {
  const { given, target } = wish;
  const eligible = all.filter((backup) => endsBefore(backup, target));
  if (given !== undefined) {
    if (!endsBefore(given, target)) throw tooEarly(given, target, eligible);
    const history = pickHistory(survey, wish.timeline, given);
    if (!isOnPath(history, given.physical.timeline, given.stopLsn)) throw otherTimeline(given, history);
    return { backup: given, history };
  }
  const [oldest] = all;
  const newest = eligible.at(-1);
  if (oldest === undefined) throw new Error('a choice between no backups');
  if (newest === undefined) throw tooEarly(oldest, target, []);
  const history = pickHistory(survey, wish.timeline, newest);
  const backup = eligible.findLast((item) => isOnPath(history, item.physical.timeline, item.stopLsn));
  if (backup === undefined) throw otherTimeline(newest, history);
  // A test server that was promoted on an old state leaves a higher number behind than the cluster that matters.
  if (wish.timeline === undefined && backup !== newest) throw ambiguous(newest, backup, history);
  return { backup, history };
}

function endsBefore(backup: PhysicalBackup, target: Target): boolean {
  if (target.kind === 'time') return backup.stopMicros < target.micros;
  return target.kind !== 'lsn' || backup.stopLsn <= target.lsn;
}

function pickHistory(
  survey: Pick<WalSurvey, 'timelines' | 'histories' | 'segmentBytes'>,
  wish: TimelineWish,
  backup: PhysicalBackup,
): TimelineHistory {
  const own = backup.physical.timeline;
  const number =
    wish === 'current' ? own : typeof wish === 'number' ? wish : Math.max(own, newestTimeline(survey) ?? 0);
  const isKnown =
    number === 1 || number === own || survey.histories.some((history) => history.timeline === number);
  if (!isKnown) {
    throw new DbopsError('refused', `timeline ${String(number)} has no history file in the archive of WAL`, {
      detail: `there are: ${knownTimelines(survey, own)}`,
      hint: 'Name another one with --timeline, or restore the .history file into the archive.',
    });
  }
  return historyOf(survey, number);
}

function knownTimelines(survey: Pick<WalSurvey, 'histories'>, own: number): string {
  const numbers = new Set([1, own, ...survey.histories.map((history) => history.timeline)]);
  return [...numbers]
    .sort((a, b) => a - b)
    .map((timeline) => describeTimeline(historyOf(survey, timeline)))
    .join(', ');
}

function endOf(backup: PhysicalBackup): string {
  return `backup ${backup.id} ends at ${formatTime(backup.stopMicros)}, LSN ${formatLsn(backup.stopLsn)}`;
}

function tooEarly(backup: PhysicalBackup, target: Target, earlier: PhysicalBackup[]): DbopsError {
  const fits = earlier.at(-1);
  return new DbopsError('refused', `${describeTarget(target)} is before the end of backup ${backup.id}`, {
    detail: [
      `${endOf(backup)}; it reaches nothing earlier`,
      ...(fits === undefined ? [] : [endOf(fits)]),
    ].join('\n'),
    hint:
      fits === undefined
        ? 'There is no earlier backup in the stores: a later target can be reached.'
        : `Backup ${fits.id} reaches it: name that one, or leave out the id.`,
  });
}

function otherTimeline(backup: PhysicalBackup, history: TimelineHistory): DbopsError {
  const { timeline } = backup.physical;
  const left = history.ancestors.find((item) => item.timeline === timeline);
  const why =
    left === undefined
      ? `timeline ${String(history.timeline)} does not come from timeline ${String(timeline)}`
      : `timeline ${String(history.timeline)} left timeline ${String(timeline)} at ${formatLsn(left.until)}, before that`;
  return new DbopsError(
    'refused',
    `backup ${backup.id} is not on the way to timeline ${String(history.timeline)}`,
    {
      detail: `${endOf(backup)}, on timeline ${String(timeline)}; ${why}`,
      hint: `Choose --timeline ${String(timeline)} (or "current"), or a backup of the other timeline.`,
    },
  );
}

function ambiguous(newest: PhysicalBackup, onPath: PhysicalBackup, history: TimelineHistory): DbopsError {
  const timelines = [newest.physical.timeline, history.timeline].map(String);
  return new DbopsError(
    'refused',
    `the newest backup is on timeline ${timelines[0] ?? ''}, and the newest timeline ${timelines[1] ?? ''} does not come from it`,
    {
      detail: `${endOf(newest)}\nthe newest one on the way to timeline ${timelines[1] ?? ''}: ${endOf(onPath)}`,
      hint: `Say which one is meant: --timeline ${timelines.join(' or --timeline ')}. A test server that was promoted may have pushed the other.`,
    },
  );
}
