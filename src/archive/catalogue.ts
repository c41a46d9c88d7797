import { text as readText } from 'node:stream/consumers';
import { DbopsError } from '../errors.ts';
import { visible } from '../sql/quote.ts';
import type { Store } from '../storage/store.ts';
import { parseManifest, type Manifest } from './manifest.ts';
import { manifestName } from '../storage/copies.ts';

/** An archive as it was found in one or more stores. */
export interface FoundArchive {
  id: string;
  /** Its folder in each of the stores, ending with /. */
  place: string;
  manifest: Manifest;
  /** The stores that have it with a manifest that can be read; the first one's is `manifest`. */
  stores: Store[];
}

/** A folder that may be an archive: it is one when a manifest lies in it. */
export interface Folder {
  store: Store;
  place: string;
  id: string;
}

interface SearchOptions {
  signal?: AbortSignal | undefined;
  /** Told of a store that cannot be asked, or of a copy that cannot be read, when the others answer. */
  onProblem?: (store: Store, error: DbopsError) => void;
}

/** <system identifier>/archive/<database>/<table>/<partition>/<id>/; see place.ts. */
const archiveFolder = 'archive';

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
  refuseNoId(id);
  if (stores.length === 0) {
    throw new DbopsError('store_unknown', 'there is no store to look for archives in', {
      hint: 'The configuration has no stores: name one under "stores:", with its url.',
    });
  }
  const problems: DbopsError[] = [];
  const note = (store: Store, error: unknown): void => {
    if (!(error instanceof DbopsError) || error.exitCode > 128) throw error;
    problems.push(error);
    options.onProblem?.(store, error);
  };
  const folders: Folder[] = [];
  for (const store of stores) {
    try {
      for await (const folder of archiveFolders(store, options.signal)) {
        if (folder.id.startsWith(id)) folders.push(folder);
      }
    } catch (error) {
      note(store, error);
    }
  }
  const ids = [...new Set(folders.map((folder) => folder.id))];
  const wanted = ids.includes(id) ? [id] : ids;
  const [found] = wanted;
  if (found === undefined) throw problems[0] ?? notFound(id, stores);
  if (wanted.length > 1) throw ambiguous(id, wanted);
  const copies = folders.filter((folder) => folder.id === found);
  return await readCopies(found, copies, options.signal, note);
}

async function readCopies(
  id: string,
  copies: Folder[],
  signal: AbortSignal | undefined,
  note: (store: Store, error: unknown) => void,
): Promise<FoundArchive> {
  let first: { place: string; manifest: Manifest } | undefined;
  let problem: unknown;
  const stores: Store[] = [];
  for (const { store, place } of copies) {
    try {
      const manifest = await readManifest(store, place, signal);
      first ??= { place, manifest };
      stores.push(store);
    } catch (error) {
      problem ??= error;
      // One copy is enough; without any, the first one's trouble is the answer.
      if (copies.length > 1) note(store, error);
    }
  }
  if (first === undefined) throw problem;
  return { id, ...first, stores };
}

/** Reads the manifest of an archive from one store. Throws copy_damaged where there is none, or that of another. */
export async function readManifest(store: Store, place: string, signal?: AbortSignal): Promise<Manifest> {
  const key = `${place}${manifestName}`;
  const where = `${key} in store "${store.name}"`;
  if ((await store.head(key, { signal })) === undefined) {
    throw new DbopsError('copy_damaged', `there is no ${where}`, {
      hint: 'An archive without a manifest does not exist: its export was interrupted, or somebody removed it.',
    });
  }
  const manifest = parseManifest(await readText(await store.get(key, { signal })), where);
  const id = place.split('/').at(-2);
  if (manifest.id === id) return manifest;
  throw new DbopsError(
    'copy_damaged',
    `${where} is that of archive ${visible(manifest.id)}, not of ${id ?? ''}`,
  );
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

/** Every id begins with nothing: a variable that a script forgot to set must not name an archive. Throws usage. */
export function refuseNoId(id: string): void {
  if (id !== '') return;
  throw new DbopsError('usage', 'the id of the archive is empty', {
    hint: 'Is the variable that it comes from set? "dbops archive list" shows the ids.',
  });
}

function notFound(id: string, stores: Store[]): DbopsError {
  const names = stores.map((store) => `"${store.name}"`).join(', ');
  return new DbopsError('archive_not_found', `there is no archive "${visible(id)}" in ${names}`, {
    hint: '"dbops archive list" shows the archives of the stores that are configured.',
  });
}

function ambiguous(id: string, ids: string[]): DbopsError {
  return new DbopsError(
    'usage',
    `${String(ids.length)} archives have an id that begins with "${visible(id)}"`,
    {
      detail: ids.slice(0, 10).map(visible).join('\n'),
      hint: 'Give more of the id.',
    },
  );
}
