import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { DbopsError, type ErrorCode } from '../../errors.ts';
import { Screen, type Frame } from '../../output/screen.ts';
import type { Db } from '../../pg/connection.ts';
import type { Result } from '../command.ts';
import { countOption } from '../options.ts';

/** A day: timers of Node.js end at once where they are asked for more than 24 of them. */
const longestSeconds = 86_400;

/** How often --watch asks; undefined where it was not given. */
export function watchOption({ watch, json }: { watch?: string | true; json?: boolean }): number | undefined {
  if (watch === undefined) return undefined;
  if (json === true) throw new DbopsError('usage', '--json and --watch exclude each other');
  const seconds = watch === true ? 2 : countOption('--watch', watch);
  if (seconds <= longestSeconds) return seconds;
  throw new DbopsError(
    'usage',
    `--watch is at most ${String(longestSeconds)} seconds, not "${String(watch)}"`,
  );
}

/** Asks once; what it returns makes a frame for the terminal as it is then. */
export type Glance = (db: Db) => Promise<() => Promise<Frame>>;

/** A look that failed this way may succeed the next time. */
const passing: ErrorCode[] = ['lock_timeout', 'statement_timeout', 'object_changed', 'out_of_resources'];
const lost: ErrorCode[] = ['connection_lost', 'connection_failed'];

/**
 * Shows a look again and again until Ctrl-C or until its reader has gone. A server that restarts meanwhile is waited for:
 * what happens to it is what somebody who watches wants to see. Only the first look may fail for good.
 */
export async function watch(
  glance: Glance,
  { db, everySeconds, signal }: { db: Db; everySeconds: number; signal: AbortSignal },
): Promise<Result> {
  const gone = new AbortController();
  process.stdout.once('error', () => gone.abort());
  const ended = AbortSignal.any([signal, gone.signal]);
  const watched = new WatchedSession(db);
  const screen = new Screen();
  try {
    let frame = await glance(db);
    while (!ended.aborted) {
      await showUntil(Date.now() + everySeconds * 1000, ended, async () => screen.show(await frame()));
      frame = await watched.look(glance);
    }
  } catch (error) {
    if (!ended.aborted) throw error;
  } finally {
    await watched.close();
  }
  return { data: null, text: '', exitCode: !signal.aborted ? 0 : signal.reason === 'SIGINT' ? 130 : 143 };
}

/** Draws, and draws anew when the size of the window changes. Throws when the watch ends. */
async function showUntil(deadline: number, ended: AbortSignal, draw: () => Promise<void>): Promise<void> {
  await draw();
  while (Date.now() < deadline) {
    const resized = new AbortController();
    const either = AbortSignal.any([ended, resized.signal]);
    const waits = [
      sleep(deadline - Date.now(), false, { signal: either }),
      once(process.stdout, 'resize', { signal: either }).then(() => true),
    ];
    try {
      if (await Promise.race(waits)) await draw();
    } finally {
      resized.abort();
      await Promise.allSettled(waits);
    }
  }
}

/** A session that is opened anew after it was lost. */
class WatchedSession {
  readonly #first: Db;
  #db: Db;
  #isLost = false;

  constructor(db: Db) {
    this.#first = db;
    this.#db = db;
  }

  /** A look, or in its place why there is none now. */
  async look(glance: Glance): ReturnType<Glance> {
    try {
      if (this.#isLost) {
        const opened = await this.#db.openAnother();
        await this.close();
        this.#db = opened;
        this.#isLost = false;
      }
      return await glance(this.#db);
    } catch (error) {
      if (!(error instanceof DbopsError) || ![...passing, ...lost].includes(error.code)) throw error;
      this.#isLost ||= lost.includes(error.code);
      const lines = [timeLine(), error.message, 'trying again; Ctrl-C ends it'];
      return () => Promise.resolve({ head: lines, table: [], tail: [] });
    }
  }

  /** The first session is closed by the runner. */
  async close(): Promise<void> {
    if (this.#db !== this.#first) await this.#db.close();
  }
}

/** When a frame was made. */
export function timeLine(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}
