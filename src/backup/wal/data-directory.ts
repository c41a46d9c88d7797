import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { DbopsError } from '../../errors.ts';
import { isAlive } from '../../process/daemon.ts';
import { parseControlIdentifier, parseSegmentHeader, segmentHeaderBytes } from './page-header.ts';
import { readStart } from './local-file.ts';
import { parseWalName } from './segment.ts';

/** Where a server's files are, as its WAL commands see it. */
export interface DataDirectory {
  /** Without links, as `pwd -P` prints it. */
  path: string;
  systemIdentifier: string;
}

/**
 * The data directory: PostgreSQL runs archive_command and restore_command in it. Where `file` is given and the working
 * directory is none, that to which this file in pg_wal belongs. Throws refused.
 */
export async function findDataDirectory(cwd: string, file?: string): Promise<DataDirectory> {
  const places = [cwd, ...(file === undefined ? [] : [dirname(dirname(resolve(cwd, file)))])];
  for (const place of places) {
    const systemIdentifier = await readIdentifier(join(place, 'global', 'pg_control'));
    if (systemIdentifier !== undefined) return { path: await realpath(place), systemIdentifier };
  }
  throw new DbopsError('refused', `there is no data directory of PostgreSQL at ${cwd}`, {
    hint: 'PostgreSQL runs archive_command and restore_command in its data directory; by hand, change to it first, as the user that owns it.',
  });
}

async function readIdentifier(path: string): Promise<string | undefined> {
  try {
    return parseControlIdentifier(await readStart(path, 8));
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw new DbopsError('refused', `cannot read ${path}`, {
      detail: (error as Error).message,
      hint: 'Run it as the user that owns the data directory.',
      cause: error,
    });
  }
}

/**
 * Since when the server that runs on a data directory does so, in milliseconds, as its postmaster.pid says: the process
 * in the first line, the seconds since 1970 in the third. Undefined where none runs on this host.
 */
export async function findWriter({ path }: DataDirectory): Promise<{ sinceMs: number } | undefined> {
  const running = await runningServer(path);
  const seconds = Number(running?.startedAt);
  return running !== undefined && seconds > 0 && isAlive(running.pid)
    ? { sinceMs: seconds * 1000 }
    : undefined;
}

/** Whether there is something at this path. */
export async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

/** The size of segments in bytes, as the first page of one of them tells. Throws refused where there is none. */
export async function findSegmentBytes(dataDirectory: string): Promise<number> {
  const folder = join(dataDirectory, 'pg_wal');
  for (const name of await readdir(folder)) {
    if (parseWalName(name)?.kind !== 'segment') continue;
    const header = parseSegmentHeader(await readStart(join(folder, name), segmentHeaderBytes));
    if (header !== undefined) return header.segmentBytes;
  }
  throw new DbopsError('refused', `there is no segment in ${folder}`, {
    hint: 'Start the server, and let dbops ask it: --url, or "connection:" in the configuration.',
  });
}

/**
 * A check that the server which runs in this directory now is still the one, to be called later. It throws refused once
 * that has ended or another has started: what was asked for by the first would be taken by the second for something else.
 * Where no server runs there is nothing to check.
 */
export async function watchServer(dataDirectory: string): Promise<() => Promise<void>> {
  const asked = await runningServer(dataDirectory);
  return async () => {
    if (asked === undefined) return;
    const now = await runningServer(dataDirectory);
    if (now?.pid === asked.pid && now.startedAt === asked.startedAt && isAlive(asked.pid)) return;
    throw new DbopsError('refused', `the server that asked for it does not run in ${dataDirectory} any more`);
  };
}

/** The first and the third line of postmaster.pid (miscadmin.h: LOCK_FILE_LINE_PID, LOCK_FILE_LINE_START_TIME). */
async function runningServer(dataDirectory: string): Promise<{ pid: number; startedAt: string } | undefined> {
  const text = await readFile(join(dataDirectory, 'postmaster.pid'), 'utf8').catch(() => '');
  const [pid = '', , startedAt = ''] = text.split('\n');
  const number = Math.abs(Number(pid));
  return Number.isInteger(number) && number > 0 ? { pid: number, startedAt: startedAt.trim() } : undefined;
}
