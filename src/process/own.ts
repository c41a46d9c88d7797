import { spawn } from 'node:child_process';
import { constants, userInfo } from 'node:os';
import { cannotStart } from './child.ts';

/** How dbops was started: what a scheduler has to repeat. */
export function ownProgram(): { node: string; entry: string; path: string; user: string } {
  const { PATH = '/usr/local/bin:/usr/bin:/bin' } = process.env;
  return { node: process.execPath, entry: process.argv[1] ?? '', path: PATH, user: userInfo().username };
}

export interface OwnOptions {
  /** Added to our own environment, which is that of the same program. */
  env?: Record<string, string>;
  signal: AbortSignal;
  timeLimitMs: number | undefined;
  /** How long it may take to end when it was asked to. */
  graceMs: number;
  /** Where its results go; a document of ours may have stdout for itself. */
  stdout: 'inherit' | 'stderr';
  /** Gets what it says on stderr as it says it. */
  onStderr: (text: string) => void;
}

/** How a run of dbops ended. */
export interface OwnEnd {
  /** As a shell has it: 128 and the number of the signal for one that was killed. */
  exitCode: number;
  hasHitLimit: boolean;
  /** The end of what it said on stderr. */
  said: string;
}

/** So much of what it says is kept. */
const mostSaid = 2000;

/**
 * Runs dbops once more, in a process group of its own, and waits for its end. At the time limit, or when this run is
 * interrupted, the group gets SIGTERM, and SIGKILL when it has not ended within the grace.
 */
export async function runOwn(args: string[], options: OwnOptions): Promise<OwnEnd> {
  const { signal, timeLimitMs, graceMs } = options;
  const { node, entry } = ownProgram();
  const child = spawn(node, [entry, ...args], {
    // A program that it has started, such as pg_dump, is ended with it.
    detached: true,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', options.stdout === 'inherit' ? 'inherit' : 2, 'pipe'],
  });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-mostSaid);
    options.onStderr(text);
  });
  let hasHitLimit = false;
  let killing: NodeJS.Timeout | undefined;
  const end = () => {
    signalGroup(child.pid, 'SIGTERM');
    killing ??= setTimeout(() => signalGroup(child.pid, 'SIGKILL'), graceMs);
  };
  const limit =
    timeLimitMs === undefined
      ? undefined
      : setTimeout(() => {
          hasHitLimit = true;
          end();
        }, timeLimitMs);
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  try {
    const exitCode = await new Promise<number>((resolve, reject) => {
      child.once('error', (cause) => reject(cannotStart(node, cause)));
      child.once('exit', (code, killedBy) =>
        resolve(code ?? 128 + (killedBy === null ? 0 : constants.signals[killedBy])),
      );
    });
    // What it had started may have stayed behind.
    if (hasHitLimit || signal.aborted) signalGroup(child.pid, 'SIGKILL');
    return { exitCode, hasHitLimit, said: said.trim() };
  } finally {
    clearTimeout(limit);
    clearTimeout(killing);
    signal.removeEventListener('abort', end);
    child.stderr?.destroy();
  }
}

function signalGroup(pid: number | undefined, name: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, name);
  } catch {
    // It has ended already.
  }
}
