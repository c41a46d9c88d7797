import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import { DbopsError } from '../../errors.ts';
import { isPattern } from '../parquet/duckdb.ts';
import { workError } from '../parquet/work-error.ts';

/** Parquet on this host, of archives that were queried before. Each entry is a directory that is never changed. */
export interface QueryCache {
  /** Where everything lies; files of other users are not there. */
  directory: string;
  /** The files of an entry, made when it is not there yet: in a directory of its own, renamed when all is in it. */
  entry: (name: string, make: (directory: string) => Promise<void>) => Promise<string[]>;
  /** Removes the entries that were not used for the longest time, until the limit holds. */
  evict: () => Promise<void>;
}

const makingPrefix = '.making-';
/** Another run may be reading what was used so lately. */
const restMs = 3_600_000;
/** What a run that was killed has left. */
const abandonedMs = 86_400_000;

/**
 * Opens the cache below a directory, for this user alone. Throws refused when somebody else owns it, and usage for a
 * path that DuckDB would take for a pattern.
 */
export async function openCache(parent: string, limitBytes: number): Promise<QueryCache> {
  try {
    return await openBelow(parent, limitBytes);
  } catch (error) {
    throw workError(error, parent);
  }
}

async function openBelow(parent: string, limitBytes: number): Promise<QueryCache> {
  const { uid } = os.userInfo();
  const directory = join(parent, `dbops-query-${String(uid)}`);
  if (isPattern(directory)) {
    throw new DbopsError('usage', `the directory ${directory} cannot be used for queries`, {
      hint: 'DuckDB takes * ? [ ] { } in a path for a pattern: set archive.workDirectory to one without them.',
    });
  }
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const info = await lstat(directory);
  // In a directory that all may write to, somebody could have laid other rows there.
  if (!info.isDirectory() || (uid !== -1 && (info.uid !== uid || (info.mode & 0o022) !== 0))) {
    throw new DbopsError('refused', `${directory} can be written to by others`, {
      hint: 'Remove it, or set archive.workDirectory to a directory that only this user may write to.',
    });
  }
  return {
    directory,
    entry: (name, make) => findOrMake(directory, name, make),
    evict: () => evict(directory, limitBytes),
  };
}

async function findOrMake(
  directory: string,
  name: string,
  make: (directory: string) => Promise<void>,
): Promise<string[]> {
  const path = join(directory, name);
  const known = await filesOf(path);
  if (known !== undefined) {
    const now = new Date();
    await utimes(path, now, now);
    return known;
  }
  const making = join(directory, `${makingPrefix}${randomBytes(6).toString('hex')}`);
  await mkdir(making, { mode: 0o700 });
  try {
    await make(making);
    await rename(making, path).catch(async (error: unknown) => {
      // Another run was faster; its files are the same.
      if ((await filesOf(path)) === undefined) throw error;
    });
  } catch (error) {
    throw workError(error, directory);
  } finally {
    await rm(making, { recursive: true, force: true });
  }
  return (await filesOf(path)) ?? [];
}

async function filesOf(path: string): Promise<string[] | undefined> {
  const names = await readdir(path).catch(() => undefined);
  return names
    ?.filter((name) => name.endsWith('.parquet'))
    .sort()
    .map((name) => join(path, name));
}

async function evict(directory: string, limitBytes: number): Promise<void> {
  const entries: { path: string; usedAt: number; sizeBytes: number }[] = [];
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    const usedAt = (await stat(path).catch(() => undefined))?.mtimeMs;
    if (usedAt === undefined) continue;
    if (name.startsWith('.')) {
      if (Date.now() - usedAt > abandonedMs) await rm(path, { recursive: true, force: true });
    } else entries.push({ path, usedAt, sizeBytes: await sizeOf(path) });
  }
  entries.sort((a, b) => a.usedAt - b.usedAt);
  let total = entries.reduce((sum, entry) => sum + entry.sizeBytes, 0);
  for (const entry of entries) {
    if (total <= limitBytes || Date.now() - entry.usedAt < restMs) return;
    await rm(entry.path, { recursive: true, force: true });
    total -= entry.sizeBytes;
  }
}

async function sizeOf(path: string): Promise<number> {
  const sizes = await Promise.all(
    ((await filesOf(path)) ?? []).map(async (file) => (await stat(file).catch(() => undefined))?.size ?? 0),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
