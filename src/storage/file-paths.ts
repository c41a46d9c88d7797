import { mkdir, open, readdir, realpath, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { DbopsError } from '../errors.ts';
import { compareKeys } from './key.ts';

/** A directory is not readable by everybody: archives hold what the table's grants hide. */
const folderMode = 0o750;

/**
 * Throws store_failed where a symbolic link below the root leads elsewhere. The root itself may be reached through
 * links: its owner chose it. Somebody who may write below the root can still exchange a folder between this look and
 * the use; Node has no openat(2) that would exclude it.
 */
export async function refuseLinks(root: string, path: string): Promise<void> {
  const realRoot = await realpath(root);
  const expected = join(realRoot, path.slice(root.length));
  if ((await realpath(path)) === expected) return;
  throw new DbopsError('store_failed', `a symbolic link leads out of ${path}`, {
    hint: 'Folders of a store are real ones: let the store itself begin elsewhere, or mount the other disk there.',
  });
}

/** As refuseLinks, of the part of a path that is there already: mkdir follows links as well. */
export async function refuseLinksAbove(root: string, path: string): Promise<void> {
  for (let at = path; at.length >= root.length; at = dirname(at)) {
    try {
      await refuseLinks(root, at);
      return;
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    if (at === dirname(at)) return;
  }
}

/**
 * Throws store_failed where the root of a store is not a directory. It is never made: it could lie below the mount point
 * of a disk that is not mounted, and what is written there would be hidden once the disk is.
 */
export async function refuseMissingRoot(store: string, root: string): Promise<void> {
  const info = await stat(root).catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  if (info?.isDirectory() === true) return;
  if (info !== undefined) {
    throw new DbopsError('store_failed', `${root} of the store "${store}" is not a directory`, {
      hint: `Correct stores.${store}.url in the configuration, or move the file away.`,
    });
  }
  throw new DbopsError('store_failed', `the directory ${root} of the store "${store}" is not there`, {
    hint: `Is the disk mounted? If so, make the directory as the user that runs dbops: mkdir -p -m 750 '${root.replaceAll("'", `'\\''`)}'`,
  });
}

/**
 * Makes the folders from a store's root down to `path`, each durable in the one that holds it; also those that are there
 * already, since a run that was killed may have made them and not have synced them. `synced` holds those that were, so
 * that each is synced once. The root itself is never made.
 */
export async function makeFolders(root: string, path: string, synced: Set<string>): Promise<void> {
  const names = path
    .slice(root.length)
    .split(sep)
    .filter((name) => name !== '');
  let folder = root;
  for (const name of names) {
    const parent = folder;
    folder = join(parent, name);
    const isMade = await makeFolder(folder);
    if (!isMade && synced.has(folder)) continue;
    await syncFolder(parent);
    synced.add(folder);
  }
}

/** False when it is there already. */
async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: folderMode });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** A name is on disk only once its directory is. File systems that cannot sync a directory say EINVAL. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } catch (error) {
    if (!['EINVAL', 'ENOTSUP'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  } finally {
    await handle.close();
  }
}

/** Deletes a file for good. Another process may do the same at the same time, with its folder. */
export async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
    await syncFolder(dirname(path));
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

/** Removes the folders above a deleted object that hold nothing any more, up to the root. */
export async function removeEmptyFolders(root: string, path: string): Promise<void> {
  for (let at = path; at.startsWith(root + sep); at = dirname(at)) {
    try {
      await rmdir(at);
    } catch {
      // It holds something else, or is gone already.
      return;
    }
  }
}

export interface FoundFile {
  /** Relative to the root, with slashes. */
  key: string;
  path: string;
}

/**
 * The files whose key begins with `prefix`, in order of the keys, as S3 lists them. Special files are passed over, links
 * are not: get() refuses them, and a listing without what lies behind them would show an archive as lost. Throws
 * store_failed at one. Memory holds the names of the folders on one path.
 */
export async function* walk(
  root: string,
  prefix: string,
  take: (name: string) => boolean,
): AsyncGenerator<FoundFile> {
  const slash = prefix.lastIndexOf('/') + 1;
  yield* walkFolder(root, prefix.slice(0, slash), prefix.slice(slash), take);
}

async function* walkFolder(
  root: string,
  folder: string,
  start: string,
  take: (name: string) => boolean,
): AsyncGenerator<FoundFile> {
  for (const { name, kind } of await entriesOf(join(root, folder))) {
    const key = `${folder}${name}`;
    const isHidden = name.startsWith('.');
    if (kind === 'file') {
      if (take(name) && name.startsWith(start)) yield { key, path: join(root, key) };
    } else if (name.startsWith(start) && !isHidden) {
      if (kind === 'link') throw linkInside(join(root, key));
      yield* walkFolder(root, `${key}/`, '', take);
    }
  }
}

function linkInside(path: string): DbopsError {
  return new DbopsError('store_failed', `a symbolic link lies at ${JSON.stringify(path)}`, {
    hint: 'Folders and objects of a store are real ones: put what it points at in its place, or mount the other disk there, or move the link out of the store.',
  });
}

interface Entry {
  name: string;
  kind: 'file' | 'folder' | 'link';
}

/** Files, folders and links, in the order of the keys: a folder's name counts with its slash. */
async function entriesOf(path: string): Promise<Entry[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    return entries
      .flatMap((entry): Entry[] => {
        const { name } = entry;
        if (entry.isSymbolicLink()) return [{ name, kind: 'link' }];
        if (entry.isDirectory()) return [{ name, kind: 'folder' }];
        return entry.isFile() ? [{ name, kind: 'file' }] : [];
      })
      .sort((a, b) => compareKeys(sortName(a), sortName(b)));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function sortName(entry: Entry): string {
  return entry.kind === 'folder' ? `${entry.name}/` : entry.name;
}

/** The names of the folders in one that hold an object somewhere below; S3 knows no others. Links as in walk(). */
export async function foldersIn(
  root: string,
  prefix: string,
  take: (name: string) => boolean,
): Promise<string[]> {
  const names: string[] = [];
  for (const { name, kind } of await entriesOf(join(root, prefix))) {
    if (kind === 'file' || name.startsWith('.')) continue;
    if (kind === 'link') throw linkInside(join(root, prefix, name));
    const first = await walkFolder(root, `${prefix}${name}/`, '', take).next();
    if (first.done !== true) names.push(name);
  }
  return names;
}

export function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '');
}
