import type { Folder, Sort } from '../../catalogue/stored.ts';
import { ours } from '../../catalogue/stored.ts';
import { lookAtCopy, survey, type Copy, type Surveyed, type SurveyResult } from '../../catalogue/survey.ts';
import type { BackupKind } from '../../config/backup.ts';
import type { DbopsError } from '../../errors.ts';
import { keyPart } from '../../storage/key.ts';
import type { Store } from '../../storage/store.ts';
import { parseBackupManifest, type BackupManifest } from '../manifest.ts';
import { findDrillMark, findVerifiedMark, type DrillMark, type VerifiedMark } from './marks.ts';

/** A backup, or what was to become one, as it lies in one store. */
export interface BackupCopy extends Copy<BackupManifest> {
  verified: VerifiedMark | undefined;
  drill: DrillMark | undefined;
}

/** All copies of one backup. */
export type SurveyedBackup = Surveyed<BackupCopy>;

export interface BackupSurvey extends Omit<SurveyResult<BackupCopy>, 'items'> {
  /** Those with a manifest in some store, oldest first within each system identifier: by their times, never by name. */
  backups: SurveyedBackup[];
  /** Folders without a manifest anywhere: begun and not finished, or half removed. */
  remains: SurveyedBackup[];
}

export interface BackupSurveyOptions {
  systemIdentifier?: string | undefined;
  /** Null: those of the whole cluster; undefined: all. */
  database?: string | null | undefined;
  kinds?: readonly BackupKind[] | undefined;
  signal: AbortSignal;
  /** Folders that are looked into at a time. */
  jobs: number;
  /** Leaves out what a manifest says of each table: of many backups of many tables it would fill the memory. */
  isBrief?: boolean;
  /** Told of a store that cannot be asked, and of a copy that cannot be read. */
  onProblem?: ((store: Store, error: DbopsError) => void) | undefined;
}

export const backupSort: Sort<BackupManifest> = {
  noun: 'backup',
  folders: backupFolders,
  parse: parseBackupManifest,
};

/**
 * What lies in the stores, without a database. A backup is a folder with a manifest; where one copy's is damaged and
 * another's is good it is a backup with a problem. A store that fails is told in `failed`, never thrown; an interruption is.
 */
export async function surveyBackups(stores: Store[], options: BackupSurveyOptions): Promise<BackupSurvey> {
  const { systemIdentifier, database, kinds, signal, jobs, isBrief = false } = options;
  const system = systemIdentifier === undefined ? undefined : keyPart(systemIdentifier);
  /** Copies that say the same share it. */
  const known = new Map<string, BackupManifest>();
  const { items, asked, failed } = await survey(
    backupSort,
    stores,
    {
      isWanted: ({ place }) => {
        const parts = partsOfBackupPlace(place);
        if (system !== undefined && parts.system !== system) return false;
        if (database === undefined) return true;
        return parts.database === (database === null ? null : keyPart(database));
      },
      signal,
      jobs,
    },
    async (folder, own) => {
      const copy = await lookAtBackup(folder, own);
      if (isBrief && copy.manifest !== undefined) copy.manifest = sharedWith(known, briefly(copy.manifest));
      return copy;
    },
  );
  for (const { store, error } of failed) {
    const named = stores.find((item) => item.name === store);
    if (named !== undefined) options.onProblem?.(named, error);
  }
  for (const copy of items.flatMap((item) => item.copies)) {
    if (copy.problem !== undefined && copy.hasManifest) options.onProblem?.(copy.store, copy.problem);
  }
  const isWanted = (item: SurveyedBackup) =>
    kinds === undefined || item.manifest === undefined || kinds.includes(item.manifest.kind);
  const isBackup = (item: SurveyedBackup) => item.copies.some((copy) => copy.hasManifest);
  return {
    backups: items.filter((item) => isBackup(item) && isWanted(item)).sort(compareSurveyed),
    remains: items.filter((item) => !isBackup(item)),
    asked,
    failed,
  };
}

function briefly(manifest: BackupManifest): BackupManifest {
  if (manifest.logical === null) return manifest;
  return { ...manifest, logical: { ...manifest.logical, tables: [], sequences: [], collations: [] } };
}

function sharedWith(known: Map<string, BackupManifest>, manifest: BackupManifest): BackupManifest {
  const earlier = known.get(manifest.id);
  if (earlier === undefined) known.set(manifest.id, manifest);
  return earlier !== undefined && JSON.stringify(earlier) === JSON.stringify(manifest) ? earlier : manifest;
}

/** Reads what one store has of a backup beside its files: manifest, hold, marks. */
export async function lookAtBackup(folder: Folder, signal: AbortSignal): Promise<BackupCopy> {
  const copy: BackupCopy = {
    ...(await lookAtCopy(backupSort, folder, signal)),
    verified: undefined,
    drill: undefined,
  };
  if (!copy.hasManifest) return copy;
  try {
    copy.verified = await findVerifiedMark(folder.store, folder.place, signal);
    copy.drill = await findDrillMark(folder.store, folder.place, signal);
  } catch (error) {
    copy.problem ??= ours(error);
  }
  return copy;
}

/** The moment that a restore of this backup brings back, as the server's clock had it. */
export function momentOf(manifest: BackupManifest): Date {
  const { physical, logical, pgbackrest, finishedAt } = manifest;
  return new Date(physical?.stoppedAt ?? pgbackrest?.stoppedAt ?? logical?.snapshot.at ?? finishedAt);
}

/** Oldest first. Only backups of one cluster have an order: timelines and names begin anew with the next one. */
export function compareBackups(a: BackupManifest, b: BackupManifest): number {
  return momentOf(a).getTime() - momentOf(b).getTime() || (a.id < b.id ? -1 : 1);
}

function compareSurveyed(a: SurveyedBackup, b: SurveyedBackup): number {
  const [systemA, systemB] = [a, b].map(systemOf);
  if (systemA !== systemB) return (systemA ?? '') < (systemB ?? '') ? -1 : 1;
  if (a.manifest === undefined || b.manifest === undefined) return a.id < b.id ? -1 : 1;
  return compareBackups(a.manifest, b.manifest);
}

function systemOf(backup: SurveyedBackup): string {
  return partsOfBackupPlace(backup.copies[0]?.place ?? '').system;
}

/** The parts of a place, encoded as keys are; `database` null: the whole cluster. See place.ts. */
export function partsOfBackupPlace(place: string): { system: string; database: string | null } {
  const [system = '', , scope, database = ''] = place.split('/');
  return { system, database: scope === 'cluster' ? null : database };
}

/** Every folder of a store in which a backup lies or was begun. */
async function* backupFolders(store: Store, signal?: AbortSignal): AsyncGenerator<Folder> {
  for (const system of await store.listFolders('', { signal })) {
    const databases = await store.listFolders(`${system}/backup/database/`, { signal });
    const prefixes = [
      `${system}/backup/cluster/`,
      ...databases.map((database) => `${system}/backup/database/${database}/`),
    ];
    for (const prefix of prefixes) {
      for (const id of await store.listFolders(prefix, { signal }))
        yield { store, place: `${prefix}${id}/`, id };
    }
  }
}
