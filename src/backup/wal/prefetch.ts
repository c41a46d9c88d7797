import { mkdir, readdir, readFile, rm, stat, unlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inParallel } from '../../process/parallel.ts';
import { isAlive } from '../../process/daemon.ts';
import { ownPid } from '../../process/detached.ts';
import type { Store } from '../../storage/store.ts';
import { readWal } from './archive.ts';
import type { WalContext } from './context.ts';
import { isThere, type DataDirectory } from './data-directory.ts';
import { nextSegment, parseWalName } from './segment.ts';
import { spoolFolder } from './spool.ts';

/** The spool holds no more than this of segments that may never be asked for. */
const mostBytes = 1024 ** 3;
const lockName = '.lock';
/** Without another segment in this time a lock holds no longer. Two that fetch at once do no harm. */
const lockMs = 5 * 60_000;

/** Whether it is worth to fetch what follows this segment: nobody does, and it is not there yet. */
export async function shouldPrefetch(
  context: WalContext,
  data: DataDirectory,
  name: string,
  segmentBytes: number,
): Promise<boolean> {
  if (context.settings.ahead === 0 || parseWalName(name)?.kind !== 'segment') return false;
  const folder = spoolFolder(context.settings.spool, data, 'fetched');
  return !(await isThere(join(folder, nextSegment(name, segmentBytes)))) && !(await isHeld(folder));
}

/**
 * Fetches the segments that follow into the spool, from where restore_command moves them into place, up to the first that
 * is not there; returns how many. What is in the spool and will not be asked for next is removed. Throws what fails first:
 * nobody depends on it.
 */
export async function prefetchWal(
  context: WalContext,
  stores: Store[],
  data: DataDirectory,
  name: string,
  segmentBytes: number,
): Promise<number> {
  const folder = spoolFolder(context.settings.spool, data, 'fetched');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (await isHeld(folder)) return 0;
  const lock = join(folder, lockName);
  await unlink(lock).catch(() => undefined);
  // Two that start in the same moment: the later one finds it.
  if (
    !(await writeFile(lock, String(ownPid()), { flag: 'wx' }).then(
      () => true,
      () => false,
    ))
  )
    return 0;
  try {
    const wanted = following(
      name,
      segmentBytes,
      Math.min(context.settings.ahead, Math.floor(mostBytes / segmentBytes)),
    );
    const there = await sweep(folder, new Set(wanted), data);
    const state = { isOver: false, fetched: 0 };
    await inParallel(context.settings.jobs, wanted, context.signal, async (item, signal) => {
      if (state.isOver || there.has(item)) return;
      const isFetched = await fromAny(stores, data.systemIdentifier, item, join(folder, item), signal);
      if (!isFetched) {
        state.isOver = true;
        return;
      }
      state.fetched += 1;
      const now = new Date();
      await utimes(lock, now, now).catch(() => undefined);
    });
    return state.fetched;
  } finally {
    await unlink(lock).catch(() => undefined);
  }
}

/** Removes what was fetched ahead and is of no use any more: a recovery is over. */
export async function removeFetched(spool: string, data: DataDirectory): Promise<void> {
  await rm(spoolFolder(spool, data, 'fetched'), { recursive: true, force: true });
}

function following(name: string, segmentBytes: number, count: number): string[] {
  const names: string[] = [];
  for (let at = name; names.length < count;) {
    at = nextSegment(at, segmentBytes);
    names.push(at);
  }
  return names;
}

/** Keeps what is wanted and was fetched since the server started; restore_command passes over what is older. */
async function sweep(folder: string, wanted: Set<string>, data: DataDirectory): Promise<Set<string>> {
  const started = await stat(join(data.path, 'postmaster.pid')).catch(() => undefined);
  const kept = new Set<string>();
  for (const file of await readdir(folder)) {
    if (file === lockName) continue;
    const info = await stat(join(folder, file)).catch(() => undefined);
    if (info === undefined) continue;
    if (wanted.has(file) && started !== undefined && info.mtimeMs > started.mtimeMs) kept.add(file);
    else await unlink(join(folder, file)).catch(() => undefined);
  }
  return kept;
}

async function fromAny(
  stores: Store[],
  systemIdentifier: string,
  name: string,
  path: string,
  signal: AbortSignal,
): Promise<boolean> {
  for (const store of stores) {
    try {
      await readWal(store, systemIdentifier, name, path, { signal });
      return true;
    } catch {
      // The recovery itself asks again, with all patience, and says what is wrong.
    }
  }
  return false;
}

/** A lock that nothing was fetched under for long was left behind: after a restart of the host its number is a stranger's. */
async function isHeld(folder: string): Promise<boolean> {
  const lock = join(folder, lockName);
  const pid = Number(await readFile(lock, 'utf8').catch(() => ''));
  if (!Number.isInteger(pid) || pid <= 0 || !isAlive(pid)) return false;
  const info = await stat(lock).catch(() => undefined);
  return info !== undefined && Math.abs(Date.now() - info.mtimeMs) < lockMs;
}
