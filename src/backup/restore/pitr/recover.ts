import { platform, release } from 'node:os';
import { join } from 'node:path';
import { DbopsError } from '../../../errors.ts';
import type { Log } from '../../../output/log.ts';
import { startServer, type RunningServer } from '../../cluster/server.ts';
import type { Account } from '../../../process/account.ts';
import { parseTime } from './target.ts';

/** What the server said of its recovery. */
export interface Reached {
  /** Where the last record begins that was replayed. */
  lsn: string | null;
  /** Of the last transaction that was replayed, in microseconds; null: there was none after the backup. */
  lastCommitMicros: bigint | null;
  /** The timeline that the server went on with; null while it is paused. */
  timeline: number | null;
  /** Why it stopped, in its own words; null: at the end of the archive. */
  stoppedBy: string | null;
  consistentLsn: string | null;
  isPaused: boolean;
  /** Of WAL that were read. */
  segments: number;
}

export interface RecoverOptions {
  account: Account;
  programs: { postgres: string };
  dataDirectory: string;
  port: number | undefined;
  action: 'promote' | 'pause';
  /** Whether it must stop at a target: otherwise the end of the archive is where it ends. */
  hasStop: boolean;
  /** Looks at where it ended, in the words of the server; what it throws ends the server. */
  checkEnd?: ((lsn: string | null) => Promise<void>) | undefined;
  environment: Record<string, string>;
  /** Of this run; they win over the files of the cluster. */
  settings?: Record<string, string>;
  log: Log;
  signal: AbortSignal;
}

const restoredLine = /restored log file "([0-9A-F]{24})" from archive/;
const tooSmall = /insufficient parameter settings/;
const sayEveryMs = 10_000;

/**
 * Starts the server on a data directory that is ready for its recovery, follows what it says until it takes writes (or
 * has paused at its target), and lets it go on. Throws tool_failed with its words and what helps, the server being gone.
 */
export async function recover(options: RecoverOptions): Promise<{ server: RunningServer; reached: Reached }> {
  const { dataDirectory, account, programs, port, action, log, signal } = options;
  const watch = new RecoveryWatch(log);
  const server = await startServer({
    postgres: programs.postgres,
    dataDirectory,
    account,
    signal,
    logFile: join(dataDirectory, 'dbops-recovery.log'),
    env: options.environment,
    ...(port === undefined ? {} : { loopback: { port } }),
    settings: {
      log_timezone: 'UTC',
      log_line_prefix: '%m [%p] ',
      // A recovery that nobody looks at needs no settings as large as its source's, and never waits for larger ones.
      hot_standby: action === 'pause' ? 'on' : 'off',
      ...syncSettings(platform(), release()),
      ...options.settings,
    },
    onLine: (line) => watch.take(line),
  });
  const { reached } = watch;
  try {
    // Connections that only read are taken long before a target behind the end of the backup is reached.
    const opened = server.ready({ isWritable: true });
    await (action === 'pause' ? Promise.race([opened, watch.paused]) : opened);
    if (action === 'pause' && !reached.isPaused)
      throw unexpected('the server opened instead of pausing', watch);
    if (options.hasStop && reached.stoppedBy === null)
      throw unexpected('the server opened without a word of having reached its target', watch);
  } catch (error) {
    await server.stop();
    if (signal.aborted || !(error instanceof DbopsError)) throw error;
    throw watch.explain(error);
  }
  try {
    await options.checkEnd?.(reached.lsn);
  } catch (error) {
    await server.stop();
    throw error;
  }
  return { server, reached };
}

/**
 * Before its recovery the server syncs all that was unpacked: one call for a file system takes less than half the time of
 * one for each file. Of a Linux before 5.8 it would not be told that the disk has failed. Pure.
 * https://www.postgresql.org/docs/current/runtime-config-error-handling.html#GUC-RECOVERY-INIT-SYNC-METHOD
 */
export function syncSettings(system: string, kernel: string): Record<string, string> {
  const [major = 0, minor = 0] = kernel.split('.').map(Number);
  const tells = system === 'linux' && (major > 5 || (major === 5 && minor >= 8));
  return tells ? { recovery_init_sync_method: 'syncfs' } : {};
}

function unexpected(message: string, watch: RecoveryWatch): DbopsError {
  return new DbopsError('tool_failed', message, { detail: watch.words() });
}

/** Reads the log of a recovery. */
class RecoveryWatch {
  readonly reached: Reached = {
    lsn: null,
    lastCommitMicros: null,
    timeline: null,
    stoppedBy: null,
    consistentLsn: null,
    isPaused: false,
    segments: 0,
  };
  /** Resolves when it has paused at its target. Rejects when it waits elsewhere, for larger settings. */
  readonly paused: Promise<void>;
  #pause: () => void = () => undefined;
  #stall: (error: DbopsError) => void = () => undefined;
  readonly #log: Log;
  readonly #problems: string[] = [];
  readonly #last: string[] = [];
  #saidAt = performance.now();

  constructor(log: Log) {
    this.#log = log;
    this.paused = new Promise((resolve, reject) => {
      this.#pause = resolve;
      this.#stall = reject;
    });
    this.paused.catch(() => undefined);
  }

  take(line: string): void {
    const { reached } = this;
    this.#last.push(line);
    if (this.#last.length > 20) this.#last.shift();
    if (/ (FATAL|PANIC|ERROR|WARNING|DETAIL|HINT): /.test(line)) this.#problems.push(line);
    if (this.#problems.length > 20) this.#problems.shift();
    // What the restore_command says has no time before it: it waits for a store, most often.
    if (line !== '' && !/^\d{4}-\d{2}-\d{2} |^\s/.test(line))
      this.#log.warn({ event: 'recovery_waits' }, `restore_command: ${line}`);
    if (restoredLine.test(line)) this.#tell();
    const stopped = /LOG: +(recovery stopping .*)$/.exec(line)?.[1];
    if (stopped !== undefined) reached.stoppedBy = stopped;
    reached.lsn = /redo done at ([0-9A-F]+\/[0-9A-F]+)/.exec(line)?.[1] ?? reached.lsn;
    reached.consistentLsn =
      /consistent recovery state reached at ([0-9A-F]+\/[0-9A-F]+)/.exec(line)?.[1] ?? reached.consistentLsn;
    const commit = /last completed transaction was at log time (.*)$/.exec(line)?.[1];
    if (commit !== undefined) reached.lastCommitMicros = timeOf(commit);
    const timeline = /selected new timeline ID: (\d+)/.exec(line)?.[1];
    if (timeline !== undefined) reached.timeline = Number(timeline);
    if (/pausing at the end of recovery/.test(line)) {
      reached.isPaused = true;
      this.#pause();
    }
    // The source had raised a setting behind the backup: without a word of anybody's it would wait for ever.
    if (/recovery has paused/.test(line) && this.#problems.some((text) => tooSmall.test(text)))
      this.#stall(unexpected('the recovery waits for larger settings', this));
  }

  #tell(): void {
    this.reached.segments += 1;
    if (performance.now() - this.#saidAt < sayEveryMs) return;
    this.#saidAt = performance.now();
    this.#log.info(
      { event: 'recovery_running', segments: this.reached.segments },
      `recovery: ${String(this.reached.segments)} segments of WAL replayed so far`,
    );
  }

  /** The last lines. */
  words(): string {
    return this.#last.join('\n');
  }

  /** The failure with the words that matter, and what helps. */
  explain(error: DbopsError): DbopsError {
    const words = this.#problems.length > 0 ? this.#problems.join('\n') : (error.detail ?? this.words());
    const hint = helps.find(([pattern]) => pattern.test(words))?.[1];
    return new DbopsError('tool_failed', 'the recovery did not reach its target, and the server is stopped', {
      detail: words,
      hint: hint ?? 'dbops-recovery.log in the data directory has all that it said.',
      cause: error,
    });
  }
}

/** The time as the server writes it; null for one that has no place in our calendar. */
function timeOf(text: string): bigint | null {
  try {
    return parseTime(text);
  } catch {
    return null;
  }
}

/** What the server says when a recovery fails, and what to do about it. */
const helps: readonly (readonly [RegExp, string])[] = [
  [
    /recovery ended before configured recovery target was reached/,
    'WAL that was in the archive before is not there now: "dbops wal status" shows gaps. What is reachable is taken by --clamp or --to latest.',
  ],
  [
    /requested recovery stop point is before consistent recovery point/,
    'Choose a later target, or an earlier backup by its id.',
  ],
  [
    /could not access file "|could not load library/,
    'The cluster needs a library that is not installed on this host: install the package of that extension for the same major, then run the same command again.',
  ],
  [
    /is not a child of this server's history/,
    'Choose another --timeline: "dbops wal status" shows which there are.',
  ],
  [tooSmall, 'Raise the settings that it names in postgresql.conf, then start the server again.'],
  [
    /could not (load|access|open).*(certificate|key|\.crt|\.pem)/,
    'The configuration names a certificate that is not on this host: put it there, or set ssl = off in postgresql.conf of the data directory.',
  ],
  [
    /No space left on device/,
    'Make room on the file system of the data directory, then run the same command again.',
  ],
  [/Address already in use|could not create any TCP\/IP sockets/, 'Choose another --port.'],
];
