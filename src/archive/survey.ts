import { DbopsError } from '../errors.ts';
import type { Db } from '../pg/connection.ts';
import { getServerIdentity } from '../sql/export.ts';
import { keyPart } from '../storage/key.ts';
import type { Store } from '../storage/store.ts';
import { archiveFolders, readManifest, type Folder } from './catalogue.ts';
import { findHold, type HoldEntry } from './hold.ts';
import type { Manifest } from './manifest.ts';
import { inParallel } from '../process/parallel.ts';
import { manifestName } from '../storage/copies.ts';

/** An archive, or what was to become one, as it lies in one store. */
export interface Copy {
  store: Store;
  /** Its folder, ending with /. */
  place: string;
  id: string;
  /** Undefined when it cannot be read; `problem` says why. */
  manifest: Manifest | undefined;
  /** Whether there is a manifest at all: without one, it is no archive. */
  hasManifest: boolean;
  problem: DbopsError | undefined;
  hold: HoldEntry | undefined;
}

/** All copies of one id. */
export interface Surveyed {
  id: string;
  copies: Copy[];
  /** Of the first copy that has one that can be read. */
  manifest: Manifest | undefined;
}

export interface Survey {
  /** In the order of their ids, which is that of time. */
  archives: Surveyed[];
  /** Names of the stores that answered. */
  asked: string[];
  /** Stores that did not. */
  failed: { store: string; error: DbopsError }[];
}

export interface SurveyOptions {
  /** Only folders for which this is true are looked into. */
  isWanted?: ((parts: PlaceParts, id: string) => boolean) | undefined;
  signal: AbortSignal;
  jobs: number;
}

/** The parts of a place, encoded as keys are. */
export interface PlaceParts {
  system: string;
  database: string;
  table: string;
  partition: string;
}

/** Reads a place: <system>/archive/<database>/<table>/<partition>/<id>/. */
export function partsOfPlace(place: string): PlaceParts {
  const [system = '', , database = '', table = '', partition = ''] = place.split('/');
  return { system, database, table, partition };
}

/**
 * What lies in the stores, without a database. A store that fails and a manifest that cannot be read are told, never
 * thrown; an interruption is.
 */
export async function surveyStores(stores: Store[], options: SurveyOptions): Promise<Survey> {
  const survey: Survey = { archives: [], asked: [], failed: [] };
  const folders: Folder[] = [];
  for (const store of stores) {
    try {
      for await (const folder of archiveFolders(store, options.signal)) {
        if (options.isWanted?.(partsOfPlace(folder.place), folder.id) ?? true) folders.push(folder);
      }
      survey.asked.push(store.name);
    } catch (error) {
      survey.failed.push({ store: store.name, error: ours(error) });
    }
  }
  const copies = await inParallel(options.jobs, folders, options.signal, lookAt);
  const byId = new Map<string, Copy[]>();
  for (const copy of copies) byId.set(copy.id, [...(byId.get(copy.id) ?? []), copy]);
  survey.archives = [...byId]
    .map(([id, own]) => ({
      id,
      copies: own,
      manifest: own.find((copy) => copy.manifest !== undefined)?.manifest,
    }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  return survey;
}

/** Whether a place is one of this cluster and database. */
export async function ownPlaces(db: Db): Promise<(parts: PlaceParts) => boolean> {
  const { systemIdentifier } = await getServerIdentity(db);
  const [system, database] = [keyPart(systemIdentifier), keyPart(db.server.database)];
  return (parts) => parts.system === system && parts.database === database;
}

/** Reads the manifest and the hold of one copy. */
export async function lookAt(folder: Folder, signal: AbortSignal): Promise<Copy> {
  const { store, place } = folder;
  const copy: Copy = {
    ...folder,
    manifest: undefined,
    hasManifest: true,
    problem: undefined,
    hold: undefined,
  };
  try {
    copy.manifest = await readManifest(store, place, signal);
  } catch (error) {
    copy.problem = ours(error);
  }
  try {
    if (copy.problem !== undefined) {
      copy.hasManifest = (await store.head(`${place}${manifestName}`, { signal })) !== undefined;
    }
    copy.hold = await findHold(store, place, signal);
  } catch (error) {
    copy.problem ??= ours(error);
  }
  return copy;
}

/** Failures of a store or a manifest; everything else is thrown on. */
export function ours(error: unknown): DbopsError {
  if (error instanceof DbopsError && error.exitCode < 128) return error;
  throw error;
}
