import { lstat, readdir, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative } from 'node:path';
import { DbopsError } from '../../../errors.ts';
import { humanBytes } from '../../../output/human.ts';
import { isAlive } from '../../../process/daemon.ts';
import { isRunning } from '../../cluster/server.ts';

/** Lies in a directory while it is filled: what is in it then is of no use to anybody, and may be thrown away. */
export const markerName = 'dbops-restore.json';

/** What a restore says of itself in the directories that it fills. */
export interface Marker {
  formatVersion: 1;
  backup: string;
  target: string;
  startedAt: string;
  host: string;
  pid: number;
  dataDirectory: string;
  /** A server was started on it, which may have opened it for writing since. */
  isStarted: boolean;
}

/** What was found where a restore is to write. */
export type DirectoryState = 'absent' | 'empty' | 'unfinished';

/**
 * Looks at a directory that a restore wants to fill: one that is not there, is empty, or was begun by a restore that does
 * not run any more. Throws refused for any other, and changes nothing.
 */
export async function inspectDirectory(path: string, host: string): Promise<DirectoryState> {
  if (!isAbsolute(path)) {
    throw new DbopsError('refused', `"${path}" is not an absolute path`, {
      hint: 'The server and its restore_command run elsewhere: name the directory from / on.',
    });
  }
  const found = await stat(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw unusable(path, error);
  });
  if (found === undefined) return 'absent';
  if (!found.isDirectory()) throw new DbopsError('refused', `${path} is not a directory`);
  if (await isRunning(path)) {
    throw new DbopsError('refused', `a server runs on ${path}`, {
      hint: 'Restore beside it, into an empty directory.',
    });
  }
  const names = await readdir(path).catch((error: unknown) => {
    throw unusable(path, error);
  });
  // A file system of its own has this one.
  if (names.every((name) => name === 'lost+found')) return 'empty';
  const marker = await readMarker(path);
  if (marker === undefined) {
    throw new DbopsError('refused', `${path} is not empty`, {
      detail: `it has ${names.slice(0, 5).join(', ')}${names.length > 5 ? ' ...' : ''}`,
      hint: 'Restore into an empty directory; nothing in this one was touched.',
    });
  }
  if (marker.host === host && isAlive(marker.pid)) {
    throw new DbopsError('refused', `another restore fills ${path} (process ${String(marker.pid)})`, {
      detail: `backup ${marker.backup}, begun at ${marker.startedAt}`,
      hint: `Wait for it. If that process is none of dbops, remove ${join(path, markerName)} and all else in it.`,
    });
  }
  if (marker.isStarted && !(await isUnopened(marker))) {
    throw new DbopsError('refused', `${path} belongs to a cluster that a restore has made and started`, {
      detail: `backup ${marker.backup}, begun at ${marker.startedAt}, in ${marker.dataDirectory}`,
      hint: `Nothing in it was touched. Empty it yourself if nobody needs that cluster; if it is in use, remove ${join(path, markerName)} alone.`,
    });
  }
  return 'unfinished';
}

/** The server removes recovery.signal at the end of its recovery, before anybody can write. */
async function isUnopened({ dataDirectory }: Marker): Promise<boolean> {
  return await lstat(join(dataDirectory, 'recovery.signal')).then(
    () => true,
    () => false,
  );
}

function unusable(path: string, cause: unknown): DbopsError {
  return new DbopsError('refused', `${path} cannot be used`, { detail: (cause as Error).message, cause });
}

async function readMarker(path: string): Promise<Marker | undefined> {
  try {
    const value = JSON.parse(await readFile(join(path, markerName), 'utf8')) as Partial<Marker> | null;
    const isOurs =
      value?.formatVersion === 1 && typeof value.backup === 'string' && typeof value.pid === 'number';
    return isOurs ? ({ isStarted: false, dataDirectory: path, ...value } as Marker) : undefined;
  } catch {
    return undefined;
  }
}

/** Throws away what an unfinished restore left, its marker last: until then it can be begun anew. */
export async function clearDirectory(path: string): Promise<void> {
  const names = await readdir(path);
  for (const name of names) {
    if (name !== markerName && name !== 'lost+found')
      await rm(join(path, name), { recursive: true, force: true });
  }
}

/** Throws refused where something has come into a directory that was empty when it was looked at; takes the marker back. */
export async function refuseForeign(path: string): Promise<void> {
  const foreign = (await readdir(path)).filter((name) => name !== markerName && name !== 'lost+found');
  if (foreign.length === 0) return;
  await removeMarker(path);
  throw new DbopsError('refused', `${path} is not empty any more`, {
    detail: `it has ${foreign.slice(0, 5).join(', ')}`,
    hint: 'Restore into an empty directory; nothing in this one was touched.',
  });
}

/** Marks a directory as being filled, or marks it anew. Throws refused when another restore has just done so. */
export async function putMarker(path: string, state: DirectoryState, marker: Marker): Promise<void> {
  const file = join(path, markerName);
  const text = `${JSON.stringify(marker, null, 2)}\n`;
  try {
    if (state !== 'unfinished') {
      await writeFile(file, text, { mode: 0o600, flag: 'wx' });
      return;
    }
    // Whole at any time, and through no link that somebody has laid there.
    await rm(`${file}.new`, { force: true });
    await writeFile(`${file}.new`, text, { mode: 0o600, flag: 'wx' });
    await rename(`${file}.new`, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw unusable(path, error);
    throw new DbopsError('refused', `another restore has begun to fill ${path}`);
  }
}

/** From here on what is in it is a data directory, or a tablespace of one. */
export async function removeMarker(path: string): Promise<void> {
  await rm(join(path, markerName), { force: true });
}

/** The nearest directory above that is there. */
async function existing(path: string): Promise<string> {
  for (let at = path; ; at = dirname(at)) {
    if (
      at === dirname(at) ||
      (await stat(at).then(
        () => true,
        () => false,
      ))
    )
      return at;
  }
}

/** Throws refused where a file system has less room than is needed. An unfinished restore's own space counts as free. */
export async function refuseWithoutSpace(
  path: string,
  neededBytes: number,
  freedBytes: number,
): Promise<void> {
  const at = await existing(path);
  const { bavail, bsize } = await statfs(at);
  const free = bavail * bsize + freedBytes;
  if (free >= neededBytes) return;
  throw new DbopsError(
    'refused',
    `${path} has room for ${humanBytes(free)}, and the restore needs ${humanBytes(neededBytes)}`,
    {
      hint: 'Choose another --data-dir, or map tablespaces to another file system with --tablespace-mapping.',
    },
  );
}

/** Bytes that an unfinished restore takes. */
export async function usedBytes(path: string): Promise<number> {
  let sum = 0;
  for (const entry of await readdir(path, { withFileTypes: true, recursive: true }).catch(() => [])) {
    if (!entry.isFile()) continue;
    const found = await stat(join(entry.parentPath, entry.name)).catch(() => undefined);
    sum += (found?.blocks ?? 0) * 512;
  }
  return sum;
}

/** Whether one path is, or lies in, the other. Pure. */
export function isInside(path: string, directory: string): boolean {
  const way = relative(directory, path);
  return way === '' || (!way.startsWith('..') && !isAbsolute(way));
}
