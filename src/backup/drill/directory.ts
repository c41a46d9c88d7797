import { readdir, readFile, readlink, realpath, rm, stat, statfs, utimes } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DbopsError } from '../../errors.ts';
import { humanBytes } from '../../output/human.ts';
import type { Log } from '../../output/log.ts';
import type { Account } from '../../process/account.ts';
import { endImmediately, isAlive } from '../../process/daemon.ts';
import { ownPid } from '../../process/detached.ts';
import { makeOwnDirectory } from '../cluster/owner.ts';
import type { Drilling } from './context.ts';
import { isRunning } from '../cluster/server.ts';

/** dbops-drill-<id of the drill>-<process id>-<host>: whose it is can be told without opening it. */
const pattern = /^dbops-drill-\w+-\w+-(\d+)-(.+)$/;

/** A drill says by the time of its directory that it is alive: another host's is left over when that stands still. */
const heartbeatMs = 60_000;
const staleAfterMs = 24 * 3_600_000;
/** A server whose drill was killed ends by itself, at the latest after half a minute. */
const serverEndMs = 45_000;

/** Where the data directory of a scratch cluster lies below the directory of its drill. */
export const dataName = 'data';

/** The part of the spool that "wal fetch" uses for the cluster of a backup. */
export function spoolOf({ settings, backup }: Pick<Drilling, 'settings' | 'backup'>): string {
  return join(settings.wal.spool, backup.manifest.server.systemIdentifier);
}

/**
 * Does something in a directory of a drill's own below `parent`, which only `account` (and root) can enter, and removes it
 * unless it is to be kept. What killed drills left there goes first. Throws refused.
 */
export async function withDrillDirectory<T>(
  options: {
    parent: string;
    drill: string;
    account: Account;
    host: string;
    keep: boolean;
    log: Log;
    /** Where fetched WAL lies in wait, under the path of each data directory. */
    spool: string;
  },
  work: (directory: string) => Promise<T>,
): Promise<T> {
  const { parent, account } = options;
  const host = encodeURIComponent(options.host);
  await sweepDrills(options, host);
  const directory = join(parent, `dbops-drill-${options.drill}-${String(ownPid())}-${host}`);
  await makeOwnDirectory(directory, account);
  const timer = setInterval(() => {
    const now = new Date();
    utimes(directory, now, now).catch(() => undefined);
  }, heartbeatMs);
  timer.unref();
  try {
    return await work(directory);
  } finally {
    clearInterval(timer);
    if (!options.keep) await remove(directory, options.spool);
  }
}

/** Removes what killed drills left, their servers first. */
async function sweepDrills(
  { parent, spool, log }: { parent: string; spool: string; log: Log },
  ownHost: string,
): Promise<void> {
  for (const name of await readdir(parent)) {
    const match = pattern.exec(name);
    if (match === null) continue;
    const directory = join(parent, name);
    if (!(await isLeftOver(directory, Number(match[1]), match[2] === ownHost))) continue;
    await endServer(join(directory, dataName));
    await remove(directory, spool);
    log.info({ event: 'drill_swept', directory }, `removed ${directory}, which a killed drill left`);
  }
}

async function remove(directory: string, spool: string): Promise<void> {
  // Of another user's spool nothing can be removed, and nothing was left by us.
  await rm(join(spool, directory), { recursive: true, force: true }).catch(() => undefined);
  await rm(directory, { recursive: true, force: true, maxRetries: 3 });
}

async function isLeftOver(directory: string, pid: number, isOfHost: boolean): Promise<boolean> {
  // Of this process there was none before: in a container the next run has the same id.
  if (isOfHost) return pid === ownPid() || !isAlive(pid);
  const found = await stat(directory).catch(() => undefined);
  return found !== undefined && Date.now() - found.mtimeMs > staleAfterMs;
}

/** Waits for a server to end by itself, and ends it when it does not. */
async function endServer(dataDirectory: string): Promise<void> {
  const deadline = Date.now() + serverEndMs;
  while (await isRunning(dataDirectory)) {
    if (Date.now() > deadline) await endNow(dataDirectory);
    if (Date.now() > deadline + serverEndMs) return;
    await sleep(100);
  }
}

/** Only a process that works in this very directory is its server: ids are used again. */
async function endNow(dataDirectory: string): Promise<void> {
  const text = await readFile(join(dataDirectory, 'postmaster.pid'), 'utf8').catch(() => '');
  const pid = Number(text.split('\n')[0]);
  const worksIn = await readlink(`/proc/${String(pid)}/cwd`).catch(() => undefined);
  if (worksIn !== undefined && worksIn === (await realpath(dataDirectory))) endImmediately(pid);
}

/**
 * Refuses a directory that is or lies in one of a server: those of the source as far as they are known, and any data
 * directory at all. Beside one a drill has a directory of a name that nobody else uses. Throws refused.
 */
export async function refuseServerDirectory(parent: string, known: readonly string[]): Promise<void> {
  const own = await realpath(parent);
  for (const path of known) {
    const other = await realpath(path).catch(() => path);
    if (isWithin(own, other)) throw isServers(parent, other);
  }
  for (let folder = own; ; folder = dirname(folder)) {
    if ((await stat(join(folder, 'PG_VERSION')).catch(() => undefined)) !== undefined)
      throw isServers(parent, folder);
    if (dirname(folder) === folder) return;
  }
}

/** Whether a path is another one, or lies in it. Pure. */
function isWithin(path: string, other: string): boolean {
  return path === other || path.startsWith(other.endsWith(sep) ? other : other + sep);
}

function isServers(parent: string, other: string): DbopsError {
  return new DbopsError('refused', `a drill cannot restore into ${parent}: ${other} belongs to a server`, {
    hint: 'Name a directory of its own under "backup.drill.directory" in the configuration.',
  });
}

/** Refuses a directory with less space than a restore takes. Throws refused. */
export async function refuseTooFull(parent: string, needBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(parent);
  const free = bavail * bsize;
  if (free >= needBytes) return;
  throw new DbopsError(
    'refused',
    `${parent} has ${humanBytes(free)} free, and the drill needs about ${humanBytes(needBytes)}`,
    { hint: 'Name a larger directory under "backup.drill.directory" in the configuration.' },
  );
}
