import { DbopsError } from '../../errors.ts';
import type { Store } from '../../storage/store.ts';
import { newestDrill } from '../catalogue/find.ts';
import type { DrillMark } from '../catalogue/marks.ts';
import { momentOf, surveyBackups, type SurveyedBackup } from '../catalogue/survey.ts';
import { storedBytesOf, type BackupManifest } from '../manifest.ts';
import { chainOf, listPhysicalBackups, type PhysicalBackup } from '../restore/pitr/candidates.ts';
import { chooseBackup } from '../restore/pitr/choose.ts';
import { quietMarginMicros } from '../restore/pitr/reach.ts';
import { describeTarget, formatTime, type Target } from '../restore/pitr/target.ts';
import { segmentsOf, viewWal, type WalView } from '../restore/pitr/wal.ts';
import { reachFrom, type Reach } from '../wal/coverage.ts';
import { formatLsn, parseLsn } from '../wal/segment.ts';

/** A moment or a position that somebody wants back. */
export type Wanted = Extract<Target, { kind: 'time' | 'lsn' }>;

/** One way to get there, from what the stores have. Durations in seconds. */
export interface Way {
  with: 'base backup and WAL' | 'logical backup';
  /** In the order in which they are used. */
  backups: string[];
  /** Segments that are replayed; null: none. */
  wal: { first: string; last: string; segments: number } | null;
  /** What of the wanted state is missing at most; 0: nothing; null: it cannot be told. */
  lostSeconds: number | null;
  /** Measured by drills and scaled by size; null: no drill has measured it. */
  seconds: number | null;
  notes: string[];
  /** What to type. */
  command: string;
}

export interface Ways {
  wanted: string;
  ways: Way[];
  /** Why there is no way by base backup and WAL, or none that loses nothing. */
  problems: string[];
}

interface Context {
  stores: Store[];
  walStores: Store[];
  /** The program; nothing is decompressed but the histories. */
  zstd: string;
  system: string | undefined;
  database: string | undefined;
  signal: AbortSignal;
  jobs: number;
  onProblem: (store: Store, error: DbopsError) => void;
}

/** How one can get to a moment or a position, the way that loses least first. Reads manifests, listings and heads of WAL. */
export async function findWays(context: Context, wanted: Wanted): Promise<Ways> {
  const result: Ways = { wanted: describeTarget(wanted), ways: [], problems: [] };
  const { stores, signal, jobs, onProblem } = context;
  const { backups } = await surveyBackups(stores, {
    isBrief: true,
    systemIdentifier: context.system,
    signal,
    jobs,
    onProblem,
  });
  try {
    result.ways.push(await physicalWay(context, wanted, backups, result.problems));
  } catch (error) {
    if (!(error instanceof DbopsError) || error.exitCode > 128) throw error;
    result.problems.push([error.message, error.detail].filter((text) => text !== undefined).join(': '));
  }
  if (wanted.kind === 'time') result.ways.push(...logicalWays(context, wanted.micros, backups));
  else result.problems.push('a logical backup has no position in the WAL to compare with');
  const loss = (way: Way) => way.lostSeconds ?? Infinity;
  result.ways.sort((a, b) => loss(a) - loss(b));
  return result;
}

async function physicalWay(
  context: Context,
  wanted: Wanted,
  surveyed: SurveyedBackup[],
  problems: string[],
): Promise<Way> {
  const { stores, walStores, system, signal, jobs, zstd } = context;
  const { all } = await listPhysicalBackups(stores, {
    system,
    id: undefined,
    signal,
    jobs,
    onProblem: () => undefined,
  });
  const [first] = all;
  if (first === undefined) throw new Error('a list of no backups');
  const { walSegmentBytes } = first.physical;
  const view = await viewWal(walStores, first.manifest.server.systemIdentifier, walSegmentBytes, {
    zstd,
    signal,
  });
  for (const { store, error } of view.unasked) problems.push(`store "${store}" of WAL: ${error.message}`);
  const { backup, history } = chooseBackup(all, view.survey, {
    given: undefined,
    target: wanted,
    timeline: undefined,
  });
  const chain = chainOf(backup, all);
  const reach = reachFrom(view.survey, history, parseLsn(backup.physical.startLsn));
  const isConsistent = backup.physical.wal === 'included' || reach.endLsn >= backup.stopLsn;
  if (!isConsistent) {
    throw new DbopsError(
      'refused',
      `WAL ${reach.missing} is missing, which backup ${backup.id} needs to be consistent`,
    );
  }
  const end = await endOf(view, reach, backup, wanted, signal);
  const exact = `${wanted.kind}:${wanted.kind === 'time' ? formatTime(wanted.micros) : formatLsn(wanted.lsn)}`;
  if (end.lostSeconds !== 0)
    problems.push(`the archive of WAL ends before it: ${reach.missing} is the first segment that is missing`);
  return {
    with: 'base backup and WAL',
    backups: chain.map((item) => item.id),
    wal: end.wal,
    lostSeconds: end.lostSeconds,
    seconds: recoverySeconds(chain, end.wal?.segments ?? 0, surveyed),
    notes: end.notes,
    command: `dbops restore pitr --to "${end.lostSeconds === 0 ? exact : 'latest'}" --system ${backup.manifest.server.systemIdentifier} --data-dir <directory> --start`,
  };
}

interface End {
  wal: Way['wal'];
  lostSeconds: number | null;
  notes: string[];
}

/** Up to which segment is replayed, and what is missing then. Segments are closed in the order of their names. */
async function endOf(
  view: WalView,
  reach: Reach,
  backup: PhysicalBackup,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<End> {
  const bytes = backup.physical.walSegmentBytes;
  const { count, at } = segmentsOf(reach, bytes);
  const upTo = (index: number) =>
    count === 0 ? null : { first: at(0), last: at(index), segments: index + 1 };
  if (wanted.kind === 'lsn') {
    if (wanted.lsn >= reach.endLsn) return { wal: upTo(count - 1), lostSeconds: null, notes: [] };
    const steps = wanted.lsn / BigInt(bytes) - parseLsn(backup.physical.startLsn) / BigInt(bytes);
    return { wal: upTo(Number(steps)), lostSeconds: 0, notes: [] };
  }
  const closedAt = async (index: number) => await view.closedAt(at(index), signal);
  const last = count === 0 ? undefined : await closedAt(count - 1);
  const proven = wanted.micros + quietMarginMicros;
  if (last !== undefined && last >= proven) {
    // The first one that was closed after the target has the last commit before it.
    let [low, high] = [0, count - 1];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const closed = await closedAt(middle);
      if (closed !== undefined && closed >= proven) high = middle;
      else low = middle + 1;
    }
    return { wal: upTo(high), lostSeconds: 0, notes: [] };
  }
  const known = last ?? backup.stopMicros;
  return {
    wal: count === 0 ? null : upTo(count - 1),
    lostSeconds: Math.max(0, Math.ceil(Number(wanted.micros - known) / 1_000_000)) || 1,
    notes: [
      `the last segment that can be reached was closed at ${formatTime(known)}; whether something was committed between then and the target is not known`,
    ],
  };
}

/** Scaled from the last drill of a base backup that told how long it took; null where none did. */
function recoverySeconds(
  chain: PhysicalBackup[],
  segments: number,
  surveyed: SurveyedBackup[],
): number | null {
  const measured = newestMeasured(surveyed, (manifest) => manifest.physical !== null);
  if (measured === undefined) return null;
  const { drill, manifest } = measured;
  const stored = chain.reduce((sum, item) => sum + storedBytesOf(item.manifest), 0);
  const replay = drill.replaySeconds ?? 0;
  const fetched = ((drill.restoreSeconds ?? 0) - replay) * (stored / Math.max(storedBytesOf(manifest), 1));
  if (segments === 0) return Math.ceil(fetched);
  if (drill.replaySeconds === null || (drill.replayedSegments ?? 0) === 0) return null;
  return Math.ceil(fetched + (replay / (drill.replayedSegments ?? 1)) * segments);
}

function newestMeasured(
  surveyed: SurveyedBackup[],
  isWanted: (manifest: BackupManifest) => boolean,
): { drill: DrillMark; manifest: BackupManifest } | undefined {
  const measured = surveyed.flatMap(({ manifest, copies }) => {
    const drill = newestDrill(copies.flatMap((copy) => (copy.drill === undefined ? [] : [copy.drill])));
    const isMeasured = drill?.passed === true && drill.restoreSeconds !== null;
    return manifest !== undefined && drill !== undefined && isMeasured && isWanted(manifest)
      ? [{ drill, manifest }]
      : [];
  });
  const newest = newestDrill(measured.map((item) => item.drill));
  return measured.find((item) => item.drill === newest);
}

/** The newest whole dump of each database that is not younger. */
function logicalWays(context: Context, micros: bigint, surveyed: SurveyedBackup[]): Way[] {
  const wantedMs = Number(micros / 1000n);
  const nearest = new Map<string, BackupManifest>();
  for (const { manifest } of surveyed) {
    if (manifest?.kind !== 'logical' || manifest.database === null) continue;
    if (context.database !== undefined && manifest.database !== context.database) continue;
    if (momentOf(manifest).getTime() > wantedMs) continue;
    const key = `${manifest.server.systemIdentifier} ${manifest.database}`;
    const known = nearest.get(key);
    if (known === undefined || momentOf(known) < momentOf(manifest)) nearest.set(key, manifest);
  }
  return [...nearest.values()].map((manifest): Way => {
    const measured = newestMeasured(surveyed, (item) => item.kind === 'logical');
    const share =
      measured === undefined ? 0 : storedBytesOf(manifest) / Math.max(storedBytesOf(measured.manifest), 1);
    return {
      with: 'logical backup',
      backups: [manifest.id],
      wal: null,
      lostSeconds: Math.ceil((wantedMs - momentOf(manifest).getTime()) / 1000),
      seconds: measured === undefined ? null : Math.ceil((measured.drill.restoreSeconds ?? 0) * share),
      notes: [`database ${manifest.database ?? ''} as of ${momentOf(manifest).toISOString()}`],
      command: `dbops restore database ${manifest.id}`,
    };
  });
}
