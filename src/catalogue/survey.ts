import type { DbopsError } from '../errors.ts';
import { inParallel } from '../process/parallel.ts';
import { manifestName } from '../storage/copies.ts';
import type { Store } from '../storage/store.ts';
import { findHold, type HoldEntry } from './hold.ts';
import { ours, readStored, type Folder, type Sort } from './stored.ts';

/** An archive or a backup, or what was to become one, as it lies in one store. */
export interface Copy<Manifest> extends Folder {
  /** Undefined when it cannot be read; `problem` says why. */
  manifest: Manifest | undefined;
  /** Whether there is a manifest at all: without one, it is none. */
  hasManifest: boolean;
  problem: DbopsError | undefined;
  hold: HoldEntry | undefined;
}

/** All copies of one id. */
export interface Surveyed<OneCopy extends Copy<unknown>> {
  id: string;
  copies: OneCopy[];
  /** Of the first copy that has one that can be read. */
  manifest: OneCopy['manifest'];
}

export interface SurveyResult<OneCopy extends Copy<unknown>> {
  /** In the order of their ids. */
  items: Surveyed<OneCopy>[];
  /** Names of the stores that answered. */
  asked: string[];
  /** Stores that did not. */
  failed: { store: string; error: DbopsError }[];
}

export interface SurveyOptions {
  /** Only folders for which this is true are looked into. */
  isWanted?: ((folder: Folder) => boolean) | undefined;
  signal: AbortSignal;
  /** Folders that are looked into at a time. */
  jobs: number;
}

/**
 * What lies in the stores, without a database. A store that fails and a manifest that cannot be read are told, never
 * thrown; an interruption is.
 */
export async function survey<Manifest extends { id: string }, OneCopy extends Copy<Manifest>>(
  sort: Sort<Manifest>,
  stores: Store[],
  options: SurveyOptions,
  look: (folder: Folder, signal: AbortSignal) => Promise<OneCopy>,
): Promise<SurveyResult<OneCopy>> {
  const result: SurveyResult<OneCopy> = { items: [], asked: [], failed: [] };
  const folders: Folder[] = [];
  for (const store of stores) {
    try {
      const own: Folder[] = [];
      for await (const folder of sort.folders(store, options.signal)) {
        if (options.isWanted?.(folder) ?? true) own.push(folder);
      }
      folders.push(...own);
      result.asked.push(store.name);
    } catch (error) {
      result.failed.push({ store: store.name, error: ours(error) });
    }
  }
  const copies = await inParallel(options.jobs, folders, options.signal, look);
  const byId = new Map<string, OneCopy[]>();
  for (const copy of copies) byId.set(copy.id, [...(byId.get(copy.id) ?? []), copy]);
  result.items = [...byId]
    .map(([id, own]) => ({
      id,
      copies: own,
      manifest: own.find((copy) => copy.manifest !== undefined)?.manifest,
    }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  return result;
}

/** Reads the manifest and the hold of one copy. */
export async function lookAtCopy<Manifest extends { id: string }>(
  sort: Sort<Manifest>,
  folder: Folder,
  signal: AbortSignal,
): Promise<Copy<Manifest>> {
  const { store, place } = folder;
  const copy: Copy<Manifest> = {
    ...folder,
    manifest: undefined,
    hasManifest: true,
    problem: undefined,
    hold: undefined,
  };
  try {
    copy.manifest = await readStored(sort, store, place, signal);
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
