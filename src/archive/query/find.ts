import { DbopsError } from '../../errors.ts';
import { visible } from '../../sql/quote.ts';
import { keyPart } from '../../storage/key.ts';
import type { Store } from '../../storage/store.ts';
import { readManifest } from '../catalogue.ts';
import type { Manifest } from '../manifest.ts';
import { databasePrefix } from '../place.ts';
import type { TableReference } from './statement.ts';
import { manifestName } from '../../storage/copies.ts';

/** Which cluster and database are meant; what is undefined must be the only one in the stores. */
export interface DatabaseChoice {
  system: string | undefined;
  database: string | undefined;
  /** What the configured connection leads to, asked only when the stores hold several. */
  connected: () => Promise<{ system: string; database: string }>;
}

/** An archive that a query may read, with the store that it is read from. */
export interface StoredArchive {
  store: Store;
  /** Its folder, ending with /. */
  place: string;
  manifest: Manifest;
}

/** A folder of a table in a store. */
interface TableFolder {
  store: Store;
  prefix: string;
  /** The name of the folder, decoded: schema.table. */
  label: string;
}

/**
 * Settles whose archives are meant. Throws archive_not_found where there are none, and usage where there are several and
 * neither a flag nor a connection tells.
 */
export async function chooseDatabase(
  stores: Store[],
  choice: DatabaseChoice,
): Promise<{ system: string; database: string }> {
  const found = new Map<string, { system: string; database: string }>();
  for (const store of stores) {
    for (const system of await store.listFolders('')) {
      if (choice.system !== undefined && system !== keyPart(choice.system)) continue;
      for (const folder of await store.listFolders(`${system}/archive/`)) {
        if (choice.database !== undefined && folder !== keyPart(choice.database)) continue;
        found.set(`${system}/${folder}`, { system, database: choice.database ?? decoded(folder) });
      }
    }
  }
  const places = [...found.values()];
  const [only] = places;
  if (only === undefined) throw noArchives(stores, choice);
  if (places.length === 1) return only;
  const own = await choice.connected().catch(() => undefined);
  const match = places.find((item) => item.system === own?.system && item.database === own.database);
  if (match !== undefined) return match;
  throw new DbopsError('usage', `there are archives of ${String(places.length)} databases`, {
    detail: places.map((item) => `--system ${item.system} --database ${visible(item.database)}`).join('\n'),
    hint: 'Say which one with --system and --database, or with a connection to it.',
  });
}

/**
 * The archives of every table that a query names, by "schema.table" as the manifests have it. Throws archive_not_found
 * naming the table, or copy_damaged for a manifest that cannot be read: a query must not leave rows out in silence.
 */
export async function findTables(
  stores: Store[],
  place: { system: string; database: string },
  references: TableReference[],
  ownNames: Set<string>,
  signal: AbortSignal,
): Promise<Map<TableReference, StoredArchive[]>> {
  const folders = await tableFolders(stores, place);
  const found = new Map<TableReference, StoredArchive[]>();
  for (const reference of references) {
    const isOwn = reference.schema === null && ownNames.has(reference.name.toLowerCase());
    const matching = matchingFolders(folders, reference);
    if (matching.length === 0 && isOwn) continue;
    if (matching.length === 0) throw unknownTable(reference, folders);
    const labels = [...new Set(matching.map((folder) => folder.label))];
    if (labels.length > 1) throw ambiguousTable(reference, labels);
    found.set(reference, await archivesIn(matching, signal));
  }
  return found;
}

async function tableFolders(
  stores: Store[],
  place: { system: string; database: string },
): Promise<TableFolder[]> {
  const folders: TableFolder[] = [];
  const prefix = databasePrefix(place.system, place.database);
  for (const store of stores) {
    for (const folder of await store.listFolders(prefix)) {
      folders.push({ store, prefix: `${prefix}${folder}/`, label: decoded(folder) });
    }
  }
  return folders;
}

/** As it is written, else without regard to case: what was typed without quotes may be written in any. */
function matchingFolders(folders: TableFolder[], reference: TableReference): TableFolder[] {
  const { schema, name } = reference;
  const isMatch = (label: string, wanted: string) =>
    schema === null ? label.endsWith(`.${wanted}`) : label === `${schema}.${wanted}`;
  const exact = folders.filter((folder) => isMatch(folder.label, name));
  if (exact.length > 0) return exact;
  return folders.filter((folder) =>
    schema === null
      ? folder.label.toLowerCase().endsWith(`.${name.toLowerCase()}`)
      : folder.label.toLowerCase() === `${schema}.${name}`.toLowerCase(),
  );
}

/** Manifests are small and many: some are read at a time. */
const readersAtOnce = 8;

async function archivesIn(folders: TableFolder[], signal: AbortSignal): Promise<StoredArchive[]> {
  const places = new Map<string, { store: Store; place: string }>();
  for (const { store, prefix } of folders) {
    for await (const object of store.list(prefix, { signal })) {
      if (!object.key.endsWith(`/${manifestName}`)) continue;
      const place = object.key.slice(0, -manifestName.length);
      // The first store that has an archive is the one to read it from.
      if (!places.has(place)) places.set(place, { store, place });
    }
  }
  const waiting = [...places.values()];
  const archives: StoredArchive[] = [];
  const read = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      archives.push({ ...next, manifest: await readManifest(next.store, next.place, signal) });
    }
  };
  await Promise.all(Array.from({ length: readersAtOnce }, read));
  return archives;
}

function decoded(folder: string): string {
  try {
    return decodeURIComponent(folder);
  } catch {
    return folder;
  }
}

function noArchives(stores: Store[], choice: DatabaseChoice): DbopsError {
  const wanted = [choice.system, choice.database].filter((item) => item !== undefined).map(visible);
  const of = wanted.length === 0 ? '' : ` of ${wanted.join(', ')}`;
  return new DbopsError(
    'archive_not_found',
    `there is no archive${of} in ${stores.map((store) => store.url).join(', ')}`,
    {
      hint: 'A store holds <system identifier>/archive/<database>/...; "--store" takes a name of the configuration or a URL.',
    },
  );
}

function unknownTable(reference: TableReference, folders: TableFolder[]): DbopsError {
  const label = reference.schema === null ? reference.name : `${reference.schema}.${reference.name}`;
  const known = [...new Set(folders.map((folder) => folder.label))].slice(0, 20);
  return new DbopsError('archive_not_found', `there is no archive of a table "${visible(label)}"`, {
    hint: `Archived tables of this database: ${known.map(visible).join(', ') || 'none'}.`,
  });
}

function ambiguousTable(reference: TableReference, labels: string[]): DbopsError {
  return new DbopsError('usage', `"${visible(reference.name)}" may be ${labels.map(visible).join(' or ')}`, {
    hint: 'Name it with its schema, and in quotes where two names differ in case only.',
  });
}
