import { spawn, type ChildProcess } from 'node:child_process';
import os from 'node:os';
import type { Readable } from 'node:stream';
import { DbopsError, interrupted } from '../errors.ts';
import type { Account } from './account.ts';

/** What a child is run with. Secrets go into its environment, never into its arguments. */
export interface ChildOptions {
  /** Added to what a program needs of ours; none of our own PG* and DBOPS_* variables reach it. */
  env?: Record<string, string>;
  signal?: AbortSignal | undefined;
  /** Gives way to everything else on this host. */
  isNice?: boolean;
  /** Further pipes, as file descriptors from 3 on. */
  pipes?: number;
  /** Runs it as this user; only root can run a program as another one. */
  account?: Account | undefined;
  /** Our own working directory when it is left out, which another user may not be able to enter. */
  cwd?: string | undefined;
}

/** A running child; `finished` rejects with tool_failed, or the reason of the interruption. */
export interface Child {
  process: ChildProcess;
  /** Resolves when it has ended with 0. */
  finished: Promise<void>;
  stop: () => void;
}

/** So much of what a program said on stderr is kept for the message. */
const mostStderr = 4000;

/** What went wrong with a program: a stream that breaks off says less than its exit code, or the interruption. */
export async function reasonOf(error: unknown, finished: Promise<unknown>): Promise<unknown> {
  if (error instanceof DbopsError) return error;
  return await finished.then(
    () => error,
    (reason: unknown) => reason,
  );
}

/** Starts a program with pipes for stdin, stdout and stderr. */
export function startChild(path: string, args: string[], options: ChildOptions = {}): Child {
  const { signal } = options;
  const pipes = Array.from({ length: 3 + (options.pipes ?? 0) }, () => 'pipe' as const);
  const child = spawn(path, args, { stdio: pipes, ...placeOf(options) });
  if (options.isNice === true && child.pid !== undefined) lowerPriority(child.pid);
  // Writing to a program that has ended is no error of its own: its exit code tells.
  for (const stream of child.stdio) stream?.on('error', () => undefined);
  const said = tail(child.stderr);
  const stop = () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    for (const stream of child.stdio) stream?.destroy();
  };
  const onAbort = () => stop();
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted === true) stop();
  const finished = new Promise<void>((resolve, reject) => {
    child.once('error', (cause) => reject(cannotStart(path, cause)));
    child.once('exit', (code, killedBy) => {
      if (code === 0 && signal?.aborted !== true) resolve();
      else if (signal?.aborted === true) reject(interrupted(signal));
      else void said.then((words) => reject(toolFailure(path, code, killedBy, words)));
    });
  }).finally(() => signal?.removeEventListener('abort', onAbort));
  finished.catch(() => undefined);
  return { process: child, finished, stop };
}

/** As whom, where and with which environment a child is run. */
export function placeOf(options: Pick<ChildOptions, 'env' | 'account' | 'cwd'>): {
  uid?: number;
  gid?: number;
  cwd: string | undefined;
  env: Record<string, string>;
} {
  const { account, cwd, env } = options;
  const isOther = account !== undefined && account.uid !== process.getuid?.();
  return {
    cwd,
    env: { ...inherited(isOther), ...(isOther ? { HOME: account.home, USER: account.name } : {}), ...env },
    ...(isOther ? { uid: account.uid, gid: account.gid } : {}),
  };
}

/** The end of what a stream says. A program that is killed leaves it open when a child of its own goes on. */
async function tail(stream: Readable): Promise<string> {
  let words = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => (words = (words + chunk).slice(-mostStderr)));
  await new Promise<void>((resolve) => {
    stream.once('close', resolve);
    stream.once('end', resolve);
  });
  return words.trim();
}

/** The name of a program without its folder. */
function nameOf(path: string): string {
  return path.split('/').at(-1) ?? path;
}

/** A program that is missing or may not be run. */
export function cannotStart(path: string, cause: Error): DbopsError {
  return new DbopsError('tool_failed', `${nameOf(path)} cannot be started`, {
    detail: cause.message,
    hint: 'Run "dbops doctor": it says which programs are missing and how to get them.',
    cause,
  });
}

/** A program that ended otherwise than with 0; `words` is what it said. */
export function toolFailure(
  path: string,
  code: number | null,
  killedBy: NodeJS.Signals | null,
  words: string,
): DbopsError {
  const how = killedBy === null ? `ended with exit code ${String(code)}` : `was ended by ${killedBy}`;
  return new DbopsError('tool_failed', `${nameOf(path)} ${how}`, {
    detail: words === '' ? undefined : words,
  });
}

function lowerPriority(pid: number): void {
  try {
    os.setPriority(pid, os.constants.priority.PRIORITY_LOW);
  } catch {
    // It has ended already; its exit code says why.
  }
}

/** Keys to our stores; a program of another user is given its own. */
const storeSecret = /^AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|CONTAINER_AUTHORIZATION_TOKEN)$/;

/** Our environment without what is meant for us, or for a connection of our own choice. */
function inherited(byOther: boolean): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value === undefined) continue;
    // The password file is a place, which the URL and the settings do not name; pgBackRest is set up by variables too.
    if (/^(PG|DBOPS_|DATABASE_URL)/.test(name) && !/^(PGPASSFILE$|PGBACKREST_)/.test(name)) continue;
    if (byOther && storeSecret.test(name)) continue;
    kept[name] = value;
  }
  return kept;
}
