import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { once } from 'node:events';
import { DbopsError, interrupted } from '../../errors.ts';
import type { Account } from '../../process/account.ts';
import { isAlive, startDaemon, type Daemon } from '../../process/daemon.ts';
import { followLog } from './log.ts';
import { makeOwnDirectory } from './owner.ts';

/** How a server is started on a data directory that was restored or initialised here. */
export interface StartOptions {
  /** Path of the program, of the major that wrote the data directory. */
  postgres: string;
  dataDirectory: string;
  /** The owner of the data directory; never root. */
  account: Account;
  /** Its output is appended to this file; in the data directory by default. */
  logFile?: string;
  /** Listens on 127.0.0.1 too: on this port, or on a free one. Without it there is no TCP at all. */
  loopback?: { port: number | undefined };
  /** Further settings of this run; they win over the files of the cluster. */
  settings?: Record<string, string>;
  /** Added to its environment, and to that of its restore_command. */
  env?: Record<string, string>;
  /** Ends the server, unless it was released. */
  signal: AbortSignal;
  onLine?: (line: string) => void;
}

/** A server of our own. It ends with this process, kill -9 included, unless it is released. */
export interface RunningServer {
  pid: number;
  /** Where its socket is: only its owner (and root) can enter. */
  socketDirectory: string;
  port: number;
  logFile: string;
  /**
   * Resolves when it takes connections, also such that only read during a recovery, unless that must be over
   * (`isWritable`): then all that it said of the recovery was told before. Throws tool_failed with what it said when it
   * ended instead.
   */
  ready: (options?: { isWritable?: boolean }) => Promise<void>;
  /** Resolves when it has ended by itself or was stopped; all lines were told before. */
  ended: Promise<{ code: number | null }>;
  /** Ends it fast, and after half a minute immediately. Resolves when it is gone. */
  stop: () => Promise<void>;
  /** Lets it go on after this process has ended. */
  release: () => Promise<void>;
}

/** The longest path of a unix socket, less /.s.PGSQL.65535, on the system that allows the least. */
const longestSocketDirectory = 103 - 15;

/** Not that of a hot standby, which says "read-only connections"; its lock file says "ready" of both. */
const openLine = /database system is ready to accept connections/;

const pollMs = 50;
const fastStopMs = 30_000;
const keptLines = 200;

/**
 * Starts a server on a data directory, as the owner of it, with a private socket. Messages are in English and go to a
 * file that is followed, whatever the cluster's own settings say.
 */
export async function startServer(options: StartOptions): Promise<RunningServer> {
  const { dataDirectory, account, signal } = options;
  if (signal.aborted) throw interrupted(signal);
  const logFile = options.logFile ?? join(dataDirectory, 'dbops-server.log');
  const { socketDirectory, removeSocketDirectory } = await socketPlace(dataDirectory, account);
  const port = options.loopback === undefined ? 5432 : (options.loopback.port ?? (await freePort()));
  const settings = {
    listen_addresses: options.loopback === undefined ? '' : '127.0.0.1',
    unix_socket_directories: socketDirectory,
    logging_collector: 'off',
    log_destination: 'stderr',
    log_min_messages: 'warning',
    // Otherwise each message has a code before it, which nobody who reads it here expects.
    log_error_verbosity: 'default',
    lc_messages: 'C',
    ...options.settings,
  };
  const from = (await stat(logFile).catch(() => undefined))?.size ?? 0;
  const daemon = await startDaemon(
    options.postgres,
    [
      ...['-D', dataDirectory, '-p', String(port)],
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    { account, cwd: dataDirectory, env: { LC_ALL: 'C', ...options.env }, logFile },
  );
  const lines: string[] = [];
  let isOpen = false;
  const log = followLog(logFile, from, (line) => {
    isOpen ||= openLine.test(line);
    lines.push(line);
    if (lines.length > keptLines) lines.shift();
    options.onLine?.(line);
  });
  const onAbort = () => void stopDaemon(daemon);
  signal.addEventListener('abort', onAbort, { once: true });
  // What was aborted meanwhile told nobody.
  if (signal.aborted) onAbort();
  const ended = daemon.ended.then(async ({ code }) => {
    signal.removeEventListener('abort', onAbort);
    await log.end();
    await removeSocketDirectory();
    return { code };
  });
  return {
    pid: daemon.pid,
    socketDirectory,
    port,
    logFile,
    ended,
    ready: async ({ isWritable = false } = {}) =>
      await waitUntilReady(
        daemon,
        options,
        async () => isOpen || (!isWritable && (await takesConnections(dataDirectory, daemon.pid))),
        async () => {
          await ended;
          return lines;
        },
      ),
    stop: async () => {
      await stopDaemon(daemon);
      await ended;
    },
    release: async () => {
      signal.removeEventListener('abort', onAbort);
      daemon.release();
      await log.end();
    },
  };
}

async function stopDaemon(daemon: Daemon): Promise<void> {
  daemon.kill('SIGINT');
  const timer = setTimeout(() => daemon.kill('SIGQUIT'), fastStopMs);
  await daemon.ended;
  clearTimeout(timer);
}

async function waitUntilReady(
  daemon: Daemon,
  { dataDirectory, signal }: StartOptions,
  isReady: () => Promise<boolean>,
  lastLines: () => Promise<string[]>,
): Promise<void> {
  while (!daemon.hasEnded()) {
    if (await isReady()) return;
    await sleep(pollMs);
  }
  const lines = await lastLines();
  if (signal.aborted) throw interrupted(signal);
  throw new DbopsError('tool_failed', `the server on ${dataDirectory} ended before it took connections`, {
    detail: lines.slice(-20).join('\n'),
  });
}

/** By what the server wrote into its lock file, which is where pg_ctl looks; the pid tells one of an earlier run apart. */
async function takesConnections(dataDirectory: string, pid: number): Promise<boolean> {
  const text = await readFile(join(dataDirectory, 'postmaster.pid'), 'utf8').catch(() => '');
  const lines = text.split('\n');
  return Number(lines[0]) === pid && ['ready', 'standby'].includes(lines[7]?.trim() ?? '');
}

/** The data directory is as private as can be; where its path is too long for a socket, one under /tmp. */
async function socketPlace(
  dataDirectory: string,
  account: Account,
): Promise<{ socketDirectory: string; removeSocketDirectory: () => Promise<void> }> {
  if (Buffer.byteLength(dataDirectory) <= longestSocketDirectory)
    return { socketDirectory: dataDirectory, removeSocketDirectory: () => Promise.resolve() };
  const directory = await mkdtemp('/tmp/dbops-socket-');
  await makeOwnDirectory(directory, account);
  return {
    socketDirectory: directory,
    removeSocketDirectory: async () => await rm(directory, { recursive: true, force: true }),
  };
}

/** A port of 127.0.0.1 that nobody listens on. */
async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  listener.close();
  await once(listener, 'close');
  return port;
}

/** Whether a server runs on a data directory: one whose process is there. */
export async function isRunning(dataDirectory: string): Promise<boolean> {
  const text = await readFile(join(dataDirectory, 'postmaster.pid'), 'utf8').catch(() => '');
  const pid = Number(text.split('\n')[0]);
  if (!Number.isInteger(pid) || pid <= 0) return false;
  return isAlive(pid);
}
