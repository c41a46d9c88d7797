import { findStored, type Found, type SearchOptions } from '../../catalogue/stored.ts';
import type { HoldEntry } from '../../catalogue/hold.ts';
import type { BackupKind } from '../../config/backup.ts';
import { DbopsError } from '../../errors.ts';
import type { Store } from '../../storage/store.ts';
import type { BackupManifest } from '../manifest.ts';
import type { DrillMark, VerifiedMark } from './marks.ts';
import {
  backupSort,
  compareBackups,
  lookAtBackup,
  momentOf,
  surveyBackups,
  type BackupCopy,
} from './survey.ts';

/** A backup as it was found in one or more stores. */
export interface FoundBackup extends Found<BackupManifest> {
  hold: HoldEntry | undefined;
  /** The last verification of each copy, by the name of its store; undefined: never. */
  verified: Record<string, VerifiedMark | undefined>;
  /** The newest drill that any copy tells of. */
  drill: DrillMark | undefined;
}

/**
 * The backup of this id, or of the only id that begins so, in whatever store has it. Throws backup_not_found, usage
 * (several ids begin so), copy_damaged (no copy has a manifest that can be read), or what the stores throw when none of
 * them could be asked.
 */
export async function findBackup(
  stores: Store[],
  id: string,
  options: SearchOptions = {},
): Promise<FoundBackup> {
  const found = await findStored(backupSort, stores, id, options);
  const signal = options.signal ?? new AbortController().signal;
  const copies = await Promise.all(
    found.stores.map((store) => lookAtBackup({ store, place: found.place, id: found.id }, signal)),
  );
  return withMarks(found, copies);
}

export interface LatestOptions {
  system: string;
  /** Null: those of the whole cluster. */
  database: string | null;
  kinds: readonly BackupKind[];
  /** Only those that bring back a moment before this one. */
  before?: Date | undefined;
  signal: AbortSignal;
  jobs: number;
  onProblem?: SearchOptions['onProblem'];
}

/**
 * The newest backup of one cluster by its manifest, of these kinds. Throws backup_not_found, or what a store failed with
 * when none of them could be asked.
 */
export async function findLatest(stores: Store[], options: LatestOptions): Promise<FoundBackup> {
  const { system, database, kinds, before, signal, jobs, onProblem } = options;
  const { backups, asked, failed } = await surveyBackups(stores, {
    systemIdentifier: system,
    database,
    kinds,
    signal,
    jobs,
    onProblem,
  });
  const [failure] = failed;
  if (asked.length === 0 && failure !== undefined) throw failure.error;
  const candidates = backups
    .flatMap((item) => {
      const good = item.copies.filter((copy) => copy.manifest !== undefined);
      const [first] = good;
      if (first?.manifest === undefined) return [];
      if (before !== undefined && momentOf(first.manifest) >= before) return [];
      return [{ manifest: first.manifest, place: first.place, good }];
    })
    .sort((a, b) => compareBackups(a.manifest, b.manifest));
  const newest = candidates.at(-1);
  if (newest === undefined) {
    throw new DbopsError(
      'backup_not_found',
      `there is no backup of ${database === null ? 'the cluster' : `database "${database}"`} (${kinds.join(', ')})` +
        (before === undefined ? '' : ` before ${before.toISOString()}`),
      { hint: '"dbops backup list --rebuild" shows the backups of the stores that are configured.' },
    );
  }
  const { manifest, place, good } = newest;
  return withMarks({ id: manifest.id, place, manifest, stores: good.map((copy) => copy.store) }, good);
}

function withMarks(found: Found<BackupManifest>, copies: BackupCopy[]): FoundBackup {
  const drills = copies.flatMap((copy) => (copy.drill === undefined ? [] : [copy.drill]));
  return {
    ...found,
    hold: copies.find((copy) => copy.hold !== undefined)?.hold,
    verified: Object.fromEntries(copies.map((copy) => [copy.store.name, copy.verified])),
    drill: newestDrill(drills),
  };
}

/** The newest of some drills. */
export function newestDrill(drills: DrillMark[]): DrillMark | undefined {
  return drills.reduce<DrillMark | undefined>(
    (newest, drill) =>
      newest === undefined || Date.parse(drill.at) > Date.parse(newest.at) ? drill : newest,
    undefined,
  );
}
