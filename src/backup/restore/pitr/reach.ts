import { DbopsError } from '../../../errors.ts';
import { reachFrom, type Reach, type WalSurvey } from '../../wal/coverage.ts';
import { formatLsn, parseLsn, segmentNumber } from '../../wal/segment.ts';
import type { TimelineHistory } from '../../wal/timeline.ts';
import type { PhysicalBackup } from './candidates.ts';
import { findLastEndings, findLastRecord, type ScanContext } from './scan.ts';
import { describeTarget, formatTime, type Target } from './target.ts';

/** What PostgreSQL is told, and what is said about it. */
export interface Stop {
  /** One of recovery_target, _time, _lsn, _name; undefined: the end of the archive. */
  setting: { name: string; value: string } | undefined;
  /** What a person should know, a sentence each. */
  notes: string[];
  /** For the end of the archive: throws tool_failed when a recovery has ended before it, at `lsn` in the words of the server. */
  checkEnd?: (lsn: string | null) => Promise<void>;
}

/**
 * A segment is full before it is written to its end, and a commit takes its time before it is written: so much later than
 * the target must a segment have been closed to prove that no commit before the target is missing. Microseconds.
 */
export const quietMarginMicros = 5_000_000n;

export interface ReachWish {
  backup: PhysicalBackup;
  history: TimelineHistory;
  target: Target;
  /** Takes what is reachable where the target is not. */
  clamp: boolean;
  /** The recovery is to wait at its target, which it does at none but a named one. */
  pause: boolean;
  /** The archive has been looked at: false for a backup that brings its own WAL where there is none. */
  hasArchive: boolean;
  /** When the server had closed a segment, in microseconds; undefined where nobody knows. */
  closedAt: (segment: string) => Promise<bigint | undefined>;
  /** Where the restore point lies; undefined for other targets. */
  pointLsn: bigint | undefined;
}

/**
 * Whether the WAL reaches from the start of the backup to the target, without a gap, and what PostgreSQL is told so that
 * it stops there. Throws refused naming the segments that are missing, or the last commit that can be reached.
 */
export async function planStop(scan: ScanContext, wish: ReachWish): Promise<Stop> {
  const { backup, target } = wish;
  const { survey } = scan.view;
  const reach = reachOf(survey, wish);
  if (reach.endLsn < backup.stopLsn) throw gap(scan, reach, wish, 'the end of the backup');
  if (target.kind === 'immediate')
    return { setting: { name: 'recovery_target', value: 'immediate' }, notes: [] };
  if (!wish.hasArchive) return ownEnd(scan, wish);
  if (target.kind === 'latest') return await stopAtEnd(scan, reach, wish);
  if (target.kind === 'lsn') return await stopAtLsn(scan, reach, wish, target.lsn);
  if (target.kind === 'name') {
    if (wish.pointLsn === undefined || wish.pointLsn >= reach.endLsn)
      throw gap(scan, reach, wish, describeTarget(target));
    return { setting: { name: 'recovery_target_name', value: target.name }, notes: [] };
  }
  return await stopAtTime(scan, reach, wish, target.micros);
}

/** What a backup brings itself need not be in the archive. */
function reachOf(survey: WalSurvey, { backup, history }: Pick<ReachWish, 'backup' | 'history'>): Reach {
  const { physical } = backup;
  if (physical.wal === 'archive') return reachFrom(survey, history, parseLsn(physical.startLsn));
  const bytes = BigInt(survey.segmentBytes);
  const after = (segmentNumber(physical.stopWal, survey.segmentBytes) + 1n) * bytes;
  // The archive may have the last segment again, and continues from there.
  return reachFrom(survey, history, after);
}

/** What a search for a restore point reads: all from the start of the backup on where the archive has that. */
export function searchReach(survey: WalSurvey, choice: Pick<ReachWish, 'backup' | 'history'>): Reach {
  const archived = reachFrom(survey, choice.history, parseLsn(choice.backup.physical.startLsn));
  return archived.endLsn >= choice.backup.stopLsn ? archived : reachOf(survey, choice);
}

function ownEnd(scan: ScanContext, { backup, target, clamp }: ReachWish): Stop {
  const { unasked } = scan.view;
  if (unasked.length > 0 && !clamp) throw withoutStores(scan, target);
  const notes = [
    unasked.length > 0
      ? `The stores of WAL were not asked (${unasked.map(({ store }) => store).join(', ')}): the end of backup ${backup.id} itself is restored, as --clamp says.`
      : `No WAL is archived after backup ${backup.id}: its own end is all that can be reached.`,
  ];
  if (target.kind === 'latest' || clamp)
    return { setting: { name: 'recovery_target', value: 'immediate' }, notes };
  throw new DbopsError(
    'refused',
    `${describeTarget(target)} cannot be reached: no WAL is archived after backup ${backup.id}`,
    {
      detail: `the backup ends at ${formatTime(backup.stopMicros)}, LSN ${formatLsn(backup.stopLsn)}`,
      hint: 'Take its end with --to immediate, or with --clamp.',
    },
  );
}

/** What a store that is not asked has may be the very end that is wanted. */
function withoutStores({ view }: ScanContext, target: Target): DbopsError {
  const names = view.unasked.map(({ store }) => `"${store}"`).join(', ');
  return new DbopsError(
    'refused',
    `what is archived for ${describeTarget(target)} cannot be told: store ${names} could not be asked for WAL`,
    {
      detail: unaskedLines(view).join('\n'),
      hint: 'Bring it back (is its disk mounted?), or take what the backup and the other stores have with --clamp. The end of a backup that has its own WAL is taken by --to immediate.',
    },
  );
}

function unaskedLines(view: ScanContext['view']): string[] {
  return view.unasked.map(({ store, error }) => `store "${store}" could not be asked: ${error.message}`);
}

/**
 * Whether WAL lies behind the first segment that is missing, on the way that is taken: then it is a gap, and not the end.
 * Other timelines go on where this one was left.
 */
function isGap({ view }: ScanContext, reach: Reach, { history }: ReachWish): boolean {
  const bytes = view.survey.segmentBytes;
  const path = [...history.ancestors.map((item) => item.timeline), history.timeline];
  return view.survey.timelines.some(({ timeline, ranges }) =>
    ranges.some(
      (range) =>
        path.includes(timeline) &&
        timeline >= Number.parseInt(reach.missing.slice(0, 8), 16) &&
        segmentNumber(range.last, bytes) >= segmentNumber(reach.missing, bytes),
    ),
  );
}

function gap(scan: ScanContext, reach: Reach, wish: ReachWish, before: string, last?: string): DbopsError {
  const { view } = scan;
  const bytes = view.survey.segmentBytes;
  const number = segmentNumber(reach.missing, bytes);
  const timeline = Number.parseInt(reach.missing.slice(0, 8), 16);
  const known = view.survey.timelines
    .find((item) => item.timeline === timeline)
    ?.gaps.find(
      (item) => segmentNumber(item.first, bytes) <= number && number <= segmentNumber(item.last, bytes),
    );
  const span =
    known === undefined || known.last === reach.missing ? reach.missing : `${reach.missing} to ${known.last}`;
  return new DbopsError(
    'refused',
    `the archive of WAL lacks ${span}, between the start of backup ${wish.backup.id} and ${before}`,
    {
      detail: [
        reach.endLsn < wish.backup.stopLsn
          ? `the backup is not consistent before LSN ${wish.backup.physical.stopLsn}`
          : `reachable: LSN ${formatLsn(wish.backup.stopLsn)} up to LSN ${formatLsn(reach.endLsn)}`,
        ...(last === undefined ? [] : [last]),
        ...unaskedLines(view),
      ].join('\n'),
      hint:
        reach.endLsn < wish.backup.stopLsn
          ? 'Bring the segments back with "dbops wal push", or restore another backup by its id.'
          : 'Bring the segments back with "dbops wal push", or take what is before the gap with --clamp.',
    },
  );
}

async function stopAtEnd(scan: ScanContext, reach: Reach, wish: ReachWish): Promise<Stop> {
  const { unasked } = scan.view;
  const hasGap = isGap(scan, reach, wish);
  if (hasGap && !wish.clamp) throw gap(scan, reach, wish, describeTarget(wish.target));
  if (unasked.length > 0 && !wish.clamp) throw withoutStores(scan, wish.target);
  const timeline = Number.parseInt(reach.missing.slice(0, 8), 16);
  const partials = scan.view.survey.timelines.find((item) => item.timeline === timeline)?.partials ?? [];
  const notes = [
    ...(hasGap
      ? [`The WAL has a gap at ${reach.missing}: what is before it is restored, as --clamp says.`]
      : []),
    ...unasked.map(
      ({ store }) =>
        `Store "${store}" could not be asked for WAL: what the others have is restored, as --clamp says.`,
    ),
    ...(partials.includes(`${reach.missing}.partial`)
      ? [`${reach.missing} is archived as .partial alone, which a recovery does not read: it ends before it.`]
      : []),
  ];
  // Without a target a server opens at once, whatever it is to do at its target.
  if (wish.pause) return { setting: await endSetting(scan, reach, wish), notes };
  return { setting: undefined, notes, checkEnd: (lsn) => checkEnd(scan, reach, lsn) };
}

/** A recovery that reads up to the last segment has its last record there, unless that is only the rest of a long one. */
async function checkEnd(scan: ScanContext, reach: Reach, lsn: string | null): Promise<void> {
  if (reach.ranges.length === 0) return;
  const lastSegment = reach.endLsn - BigInt(scan.view.survey.segmentBytes);
  const ended = lsn === null ? undefined : parseLsn(lsn);
  if (ended !== undefined && ended >= lastSegment) return;
  const last = await findLastRecord(scan, reach).catch((error: unknown) => {
    if (!(error instanceof DbopsError) || error.exitCode > 128) throw error;
    return undefined;
  });
  if (ended !== undefined && last !== undefined && last <= ended) return;
  throw new DbopsError(
    'tool_failed',
    'the recovery ended before the end of the archive, and the server is stopped',
    {
      detail: `the last record that was replayed begins at LSN ${lsn ?? 'unknown'}, and WAL was archived up to LSN ${formatLsn(reach.endLsn)}`,
      hint: 'WAL that was in the archive before is not there now, or is damaged: "dbops wal status" and dbops-recovery.log in the data directory tell. Empty the directory, then restore again.',
    },
  );
}

/** A recovery stops at an LSN when a record begins there or behind. */
async function stopAtLsn(scan: ScanContext, reach: Reach, wish: ReachWish, lsn: bigint): Promise<Stop> {
  const at = (value: bigint): Stop['setting'] => ({ name: 'recovery_target_lsn', value: formatLsn(value) });
  const isInside = lsn < reach.endLsn - BigInt(scan.view.survey.segmentBytes);
  const last = isInside ? undefined : await findLastRecord(scan, reach);
  if (isInside || (last !== undefined && last >= lsn)) return { setting: at(lsn), notes: [] };
  const lastWords = `the last record that is archived begins at LSN ${last === undefined ? 'unknown' : formatLsn(last)}`;
  if (wish.clamp && last !== undefined)
    return {
      setting: at(last),
      notes: [`LSN ${formatLsn(lsn)} is not archived; ${lastWords}, and is taken instead.`],
    };
  if (isGap(scan, reach, wish)) throw gap(scan, reach, wish, describeTarget(wish.target), lastWords);
  throw new DbopsError('refused', `LSN ${formatLsn(lsn)} is behind the end of the archive of WAL`, {
    detail: lastWords,
    hint: 'Take that with --clamp or --to latest, or wait until more WAL is archived.',
  });
}

async function stopAtTime(scan: ScanContext, reach: Reach, wish: ReachWish, micros: bigint): Promise<Stop> {
  const endings = await findLastEndings(scan, reach, wish.backup.stopLsn);
  if (endings.any !== undefined && endings.any.micros > micros)
    return { setting: { name: 'recovery_target_time', value: formatTime(micros) }, notes: [] };
  const last = endings.commit;
  const lastWords =
    last === undefined
      ? `no commit is archived after the end of backup ${wish.backup.id}, ${formatTime(wish.backup.stopMicros)}, LSN ${formatLsn(wish.backup.stopLsn)}`
      : `the last commit that is archived is of ${formatTime(last.micros)}, at LSN ${formatLsn(last.lsn)}`;
  const lastSegment = reach.ranges.at(-1)?.last;
  const closedAt = lastSegment === undefined ? undefined : await wish.closedAt(lastSegment);
  const isQuiet = closedAt !== undefined && closedAt - quietMarginMicros > micros;
  if (isQuiet || wish.clamp) {
    const note = isQuiet
      ? `Nothing was committed between then and ${formatTime(micros)}: ${lastWords}, and WAL is archived up to ${formatTime(closedAt)}. The end of it is restored.`
      : `${formatTime(micros)} is not archived: ${lastWords}, and the end of the archive is taken instead.`;
    return { setting: await endSetting(scan, reach, wish), notes: [note] };
  }
  if (isGap(scan, reach, wish)) throw gap(scan, reach, wish, describeTarget(wish.target), lastWords);
  throw new DbopsError(
    'refused',
    `${describeTarget(wish.target)} is after the last commit that is archived, and whether more was committed before it cannot be told`,
    {
      detail: [
        lastWords,
        closedAt === undefined
          ? 'when the last segment was closed is not known'
          : `the last segment was closed at ${formatTime(closedAt)}`,
        ...unaskedLines(scan.view),
      ].join('\n'),
      hint: 'Take that with --clamp or --to latest, or wait until more WAL is archived ("select pg_switch_wal()" on a source that lives).',
    },
  );
}

/** The end of the archive as it is now: a source that lives archives more meanwhile. */
async function endSetting(scan: ScanContext, reach: Reach, { backup }: ReachWish): Promise<Stop['setting']> {
  const record = await findLastRecord(scan, reach);
  return record === undefined || record < backup.stopLsn
    ? { name: 'recovery_target', value: 'immediate' }
    : { name: 'recovery_target_lsn', value: formatLsn(record) };
}
