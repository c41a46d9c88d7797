import { text as readText } from 'node:stream/consumers';
import { DbopsError } from '../errors.ts';
import { visible } from '../sql/quote.ts';
import { manifestName } from '../storage/copies.ts';
import type { Store } from '../storage/store.ts';

/** A folder in which one archive or backup lies or was begun: it is one when a manifest lies in it. */
export interface Folder {
  store: Store;
  /** Ends with /; the last part is the id. */
  place: string;
  id: string;
}

/** What tells archives and backups apart. */
export interface Sort<Manifest extends { id: string }> {
  noun: 'archive' | 'backup';
  /** Every folder of a store in which one lies or was begun. */
  folders: (store: Store, signal?: AbortSignal) => AsyncIterable<Folder>;
  /** Throws copy_damaged or unsupported_version; `where` is for the message. */
  parse: (json: string, where: string) => Manifest;
}

/** An archive or a backup as it was found in one or more stores. */
export interface Found<Manifest> {
  id: string;
  /** Its folder in each of the stores, ending with /. */
  place: string;
  manifest: Manifest;
  /** The stores that have it with a manifest that can be read; the first one's is `manifest`. */
  stores: Store[];
}

export interface SearchOptions {
  signal?: AbortSignal | undefined;
  /** Told of a store that cannot be asked, or of a copy that cannot be read, when the others answer. */
  onProblem?: ((store: Store, error: DbopsError) => void) | undefined;
}

/**
 * The one with this id, or with the only id that begins so, in whatever store has it. Throws archive_not_found or
 * backup_not_found, usage (several ids begin so), copy_damaged (no copy has a manifest that can be read), or what the
 * stores throw when none of them could be asked.
 */
export async function findStored<Manifest extends { id: string }>(
  sort: Sort<Manifest>,
  stores: Store[],
  id: string,
  options: SearchOptions = {},
): Promise<Found<Manifest>> {
  refuseNoId(sort.noun, id);
  refuseNoStores(sort.noun, stores);
  const problems: DbopsError[] = [];
  const note = (store: Store, error: unknown): void => {
    const known = ours(error);
    problems.push(known);
    options.onProblem?.(store, known);
  };
  const folders: Folder[] = [];
  for (const store of stores) {
    try {
      for await (const folder of sort.folders(store, options.signal)) {
        if (folder.id.startsWith(id)) folders.push(folder);
      }
    } catch (error) {
      note(store, error);
    }
  }
  const ids = [...new Set(folders.map((folder) => folder.id))];
  const wanted = ids.includes(id) ? [id] : ids;
  const [found] = wanted;
  if (found === undefined) throw problems[0] ?? notFound(sort.noun, id, stores);
  if (wanted.length > 1) throw ambiguous(sort.noun, id, wanted);
  const copies = folders.filter((folder) => folder.id === found);
  return await readCopies(sort, found, copies, options.signal, note);
}

async function readCopies<Manifest extends { id: string }>(
  sort: Sort<Manifest>,
  id: string,
  copies: Folder[],
  signal: AbortSignal | undefined,
  note: (store: Store, error: unknown) => void,
): Promise<Found<Manifest>> {
  let first: { place: string; manifest: Manifest } | undefined;
  let problem: unknown;
  const stores: Store[] = [];
  for (const { store, place } of copies) {
    try {
      const manifest = await readStored(sort, store, place, signal);
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

/** Reads a manifest from one store. Throws copy_damaged where there is none, or that of another. */
export async function readStored<Manifest extends { id: string }>(
  sort: Sort<Manifest>,
  store: Store,
  place: string,
  signal?: AbortSignal,
): Promise<Manifest> {
  const key = `${place}${manifestName}`;
  const where = `${key} in store "${store.name}"`;
  if ((await store.head(key, { signal })) === undefined) {
    throw new DbopsError('copy_damaged', `there is no ${where}`, {
      hint: 'Without a manifest it does not exist: it was interrupted while it was made, or somebody removed it.',
    });
  }
  const manifest = sort.parse(await readText(await store.get(key, { signal })), where);
  const id = place.split('/').at(-2);
  if (manifest.id === id) return manifest;
  throw new DbopsError(
    'copy_damaged',
    `${where} is that of ${sort.noun} ${visible(manifest.id)}, not of ${id ?? ''}`,
  );
}

/** Every id begins with nothing: a variable that a script forgot to set must not name anything. Throws usage. */
export function refuseNoId(noun: Sort<never>['noun'], id: string): void {
  if (id !== '') return;
  throw new DbopsError('usage', `the id of the ${noun} is empty`, {
    hint: `Is the variable that it comes from set? "dbops ${noun} list" shows the ids.`,
  });
}

function refuseNoStores(noun: Sort<never>['noun'], stores: Store[]): void {
  if (stores.length > 0) return;
  throw new DbopsError('store_unknown', `there is no store to look for ${noun}s in`, {
    hint: 'The configuration has no stores: name one under "stores:", with its url.',
  });
}

function notFound(noun: Sort<never>['noun'], id: string, stores: Store[]): DbopsError {
  const names = stores.map((store) => `"${store.name}"`).join(', ');
  return new DbopsError(`${noun}_not_found`, `there is no ${noun} "${visible(id)}" in ${names}`, {
    hint: `"dbops ${noun} list --rebuild" shows the ${noun}s of the stores that are configured.`,
  });
}

/** Several ids begin with what was typed. */
function ambiguous(noun: Sort<never>['noun'], id: string, ids: string[]): DbopsError {
  return new DbopsError(
    'usage',
    `${String(ids.length)} ${noun}s have an id that begins with "${visible(id)}"`,
    {
      detail: ids.slice(0, 10).map(visible).join('\n'),
      hint: 'Give more of the id.',
    },
  );
}

/**
 * The one that an id or the beginning of it names among those at hand. Throws archive_not_found or backup_not_found, and
 * usage where several begin so.
 */
export function chooseOne<Item extends { id: string }>(
  noun: Sort<never>['noun'],
  items: readonly Item[],
  id: string,
): Item {
  refuseNoId(noun, id);
  const begun = items.filter((item) => item.id.startsWith(id));
  const found = begun.find((item) => item.id === id) ?? begun[0];
  if (found === undefined) {
    throw new DbopsError(`${noun}_not_found`, `there is no ${noun} "${visible(id)}" in these stores`, {
      hint: `"dbops ${noun} list --rebuild" shows what lies in the stores.`,
    });
  }
  if (begun.length > 1 && found.id !== id)
    throw ambiguous(
      noun,
      id,
      begun.map((item) => item.id),
    );
  return found;
}

/** Failures of a store or a manifest; everything else is thrown on. */
export function ours(error: unknown): DbopsError {
  if (error instanceof DbopsError && error.exitCode < 128) return error;
  throw error;
}
