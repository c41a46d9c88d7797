import {
  findStored,
  readStored,
  type Folder,
  type Found,
  type SearchOptions,
  type Sort,
} from '../catalogue/stored.ts';
import type { Store } from '../storage/store.ts';
import { parseManifest, type Manifest } from './manifest.ts';

/** An archive as it was found in one or more stores. */
export type FoundArchive = Found<Manifest>;

/** <system identifier>/archive/<database>/<table>/<partition>/<id>/; see place.ts. */
const archiveFolder = 'archive';

export const archiveSort: Sort<Manifest> = {
  noun: 'archive',
  folders: archiveFolders,
  parse: parseManifest,
};

/**
 * The archive of this id, or of the only id that begins so, in whatever store has it. Throws archive_not_found, usage
 * (several ids begin so), copy_damaged (no copy has a manifest that can be read), or what the stores throw when none of
 * them could be asked.
 */
export async function findArchive(
  stores: Store[],
  id: string,
  options: SearchOptions = {},
): Promise<FoundArchive> {
  return await findStored(archiveSort, stores, id, options);
}

/** Reads the manifest of an archive from one store. Throws copy_damaged where there is none, or that of another. */
export async function readManifest(store: Store, place: string, signal?: AbortSignal): Promise<Manifest> {
  return await readStored(archiveSort, store, place, signal);
}

/** Every folder of a store in which an archive lies or was begun. */
export async function* archiveFolders(store: Store, signal?: AbortSignal): AsyncGenerator<Folder> {
  for (const system of await store.listFolders('', { signal })) {
    const databases = await below(store, [`${system}/${archiveFolder}/`], signal);
    const prefixes = await below(store, await below(store, databases, signal), signal);
    for (const prefix of prefixes) {
      for (const id of await store.listFolders(prefix, { signal }))
        yield { store, place: `${prefix}${id}/`, id };
    }
  }
}

async function below(store: Store, prefixes: string[], signal: AbortSignal | undefined): Promise<string[]> {
  const found: string[] = [];
  for (const prefix of prefixes) {
    for (const folder of await store.listFolders(prefix, { signal })) found.push(`${prefix}${folder}/`);
  }
  return found;
}
