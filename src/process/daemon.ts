import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { DbopsError } from '../errors.ts';
import { placeOf, type ChildOptions } from './child.ts';

/** A server that was started here. Its output goes to a file, so that it can go on without us. */
export interface Daemon {
  pid: number;
  /** Resolves when it has ended, however that was. */
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  hasEnded: () => boolean;
  kill: (signal: NodeJS.Signals) => void;
  /** Lets it go on after this process has ended. */
  release: () => void;
}

/** Waits for a word before it becomes the server: when this process dies first, there never is one. */
const gate = 'read -r word || exit 0; exec "$@" </dev/null';

/**
 * The end of this process, kill -9 included, closes the pipe that this reads: then it ends the server, in the way that
 * PostgreSQL calls fast (SIGINT), and after half a minute immediate (SIGQUIT).
 */
const watchdog = `read -r word
[ "$word" = release ] && exit 0
kill -INT "$1" 2>/dev/null
waited=0
while kill -0 "$1" 2>/dev/null; do
  waited=$((waited + 1))
  [ "$waited" -gt 300 ] && { kill -QUIT "$1"; exit 0; }
  sleep 0.1
done`;

/**
 * Starts a server in a session of its own, where Ctrl-C does not reach it, with its output appended to `logFile`. It ends
 * with this process unless it is released. Throws tool_failed when no process can be had.
 */
export async function startDaemon(
  path: string,
  args: string[],
  options: Pick<ChildOptions, 'env' | 'account' | 'cwd'> & { logFile: string },
): Promise<Daemon> {
  const place = placeOf(options);
  // Through no link: who runs the server may have laid one there, and we may be root.
  const { O_WRONLY, O_CREAT, O_APPEND, O_NOFOLLOW } = constants;
  const log = await open(options.logFile, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0o600);
  try {
    if (place.uid !== undefined && place.gid !== undefined) await log.chown(place.uid, place.gid);
    const child = spawn('/bin/sh', ['-c', gate, 'sh', path, ...args], {
      ...place,
      stdio: ['pipe', log.fd, log.fd],
      detached: true,
    });
    const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }));
      child.once('error', () => resolve({ code: null, signal: null }));
    });
    const { pid, stdin } = child;
    if (pid === undefined || stdin === null) {
      throw new DbopsError('tool_failed', `${path} cannot be started`);
    }
    stdin.on('error', () => undefined);
    const guard = spawn('/bin/sh', ['-c', watchdog, 'sh', String(pid)], {
      ...place,
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    guard.on('error', () => undefined);
    guard.stdin.on('error', () => undefined);
    // Without a guard the server would outlive a crash of ours: then it is not started at all.
    stdin.end(guard.pid === undefined ? undefined : 'start\n');
    const letGo = () => {
      guard.stdin.end('release\n');
      guard.unref();
    };
    // A process id that is free again must not be signalled.
    void ended.then(letGo);
    return {
      pid,
      ended,
      hasEnded: () => child.exitCode !== null || child.signalCode !== null,
      kill: (signal) => void child.kill(signal),
      release: () => {
        letGo();
        child.unref();
      },
    };
  } finally {
    await log.close();
  }
}

/** Ends a server at once, as one that was started elsewhere. One that has ended meanwhile is no error. */
export function endImmediately(pid: number): void {
  try {
    process.kill(pid, 'SIGQUIT');
  } catch {
    // Gone, or somebody else's.
  }
}

/** Whether there is another process of this id on this host, whoever owns it. In a container every run has the same id. */
export function isAlive(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
