import { setTimeout as sleep } from 'node:timers/promises';
import { resolve } from 'node:path';
import { DbopsError, interrupted } from '../../errors.ts';
import type { Store } from '../../storage/store.ts';
import { findWal, readWal } from './archive.ts';
import { findCluster } from './cluster.ts';
import type { WalContext } from './context.ts';
import { parseWalName } from './segment.ts';

export interface FetchWish {
  systemIdentifier: string;
  /** As restore_command gives it by %f. */
  name: string;
  /** Where it is wanted; replaced only once the file is whole and checked. */
  path: string;
  /** Undefined: for as long as it takes. */
  deadlineMs: number | undefined;
  /** Throws when whoever asked is gone: a server that was killed, and started again, asks for something else meanwhile. */
  checkWanted: () => Promise<void>;
}

/** Before another round over all stores; it doubles up to the longest. */
const firstPauseMs = 200;
const longestPauseMs = 5000;
const sayEveryMs = 10_000;

/**
 * Fetches a file for restore_command. 'found': it is at its place, whole and checked. 'absent': every store answered that
 * it does not have it. Nothing else is an answer: while a store cannot be asked, refuses, is silent, does not know the
 * cluster, or holds nothing but damaged copies, it is asked again, since PostgreSQL would take the answer for the end of
 * the WAL and open the database without what was committed after it. Throws store_failed after the deadline.
 */
export async function fetchWal(
  context: WalContext,
  stores: Store[],
  wish: FetchWish,
): Promise<'found' | 'absent'> {
  if (parseWalName(wish.name) === undefined) {
    throw new DbopsError('usage', `${wish.name} is not the name of a file that PostgreSQL archives`, {
      hint: 'restore_command gives it as %f: "dbops wal commands" prints the whole line.',
    });
  }
  if (stores.length === 0) {
    throw new DbopsError('store_unknown', 'there is no store to fetch WAL from', {
      hint: 'Name one under "stores:" in the configuration, with its url (file:///path or s3://bucket/prefix).',
    });
  }
  const deadline = wish.deadlineMs === undefined ? undefined : AbortSignal.timeout(wish.deadlineMs);
  const signal = AbortSignal.any([context.signal, ...(deadline === undefined ? [] : [deadline])]);
  const trouble = new Trouble(context, wish.name);
  try {
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(longestPauseMs, pauseMs * 2)) {
      const answer = await askOnce({ ...context, signal }, stores, wish, trouble);
      if (answer !== 'trouble') return answer;
      await wish.checkWanted();
      if (!signal.aborted) await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
      if (context.signal.aborted) throw interrupted(context.signal);
      if (deadline?.aborted === true) throw trouble.atDeadline();
    }
  } finally {
    trouble.end();
  }
}

/** One round over all stores at once: the first good copy wins, and absence takes the answer of all. */
async function askOnce(
  context: WalContext,
  stores: Store[],
  wish: FetchWish,
  trouble: Trouble,
): Promise<'found' | 'absent' | 'trouble'> {
  const { signal } = context;
  const { systemIdentifier, name } = wish;
  const path = resolve(wish.path);
  const others = new AbortController();
  const asking = AbortSignal.any([signal, others.signal]);
  let isTrouble = false;
  // Reading goes one at a time: all would write the same file.
  let reading: Promise<boolean> = Promise.resolve(false);
  const read = async (store: Store): Promise<boolean> => {
    await readWal(store, systemIdentifier, name, path, { signal, beforeUse: wish.checkWanted });
    return true;
  };
  const ask = async (store: Store): Promise<void> => {
    try {
      // Of a single store the file itself is asked for at once.
      const isThere =
        stores.length === 1 || (await findWal(store, systemIdentifier, name, asking)) !== undefined;
      if (isThere) {
        const turn = reading.then(async (isDone) => isDone || (await read(store)));
        reading = turn.catch(() => false);
        if (await turn) others.abort();
        return;
      }
    } catch (error) {
      if (others.signal.aborted) return;
      if (!(error instanceof DbopsError) || error.code !== 'store_missing') {
        isTrouble = true;
        trouble.add(store, error);
        return;
      }
    }
    if (await knowsCluster(store)) return;
    isTrouble = true;
  };
  const knowsCluster = async (store: Store): Promise<boolean> => {
    try {
      if ((await findCluster(store, systemIdentifier, asking)) !== undefined) return true;
      trouble.add(
        store,
        new Error(`it knows nothing of the cluster ${systemIdentifier}; is its disk mounted?`),
      );
    } catch (error) {
      if (!others.signal.aborted) trouble.add(store, error);
    }
    return false;
  };
  await Promise.all(stores.map(ask));
  if (await reading) return 'found';
  return isTrouble ? 'trouble' : 'absent';
}

/** What keeps a fetch from an answer, said once as it changes and then every ten seconds. */
class Trouble {
  readonly #context: WalContext;
  readonly #name: string;
  readonly #since = Date.now();
  readonly #reasons = new Map<string, string>();
  readonly #timer: NodeJS.Timeout;
  #isSaid = false;

  constructor(context: WalContext, name: string) {
    this.#context = context;
    this.#name = name;
    this.#timer = setInterval(() => this.#say(), sayEveryMs);
  }

  add(store: Store, error: unknown): void {
    const reason =
      error instanceof DbopsError && error.detail !== undefined && error.detail !== ''
        ? `${error.message} (${error.detail.split('\n')[0] ?? ''})`
        : error instanceof Error
          ? error.message
          : String(error);
    const isOfHost = error instanceof DbopsError && error.code === 'output_failed';
    const place = isOfHost ? 'this host' : `store "${store.name}"`;
    const isNew = this.#reasons.get(place) !== reason;
    this.#reasons.set(place, reason);
    if (isNew || !this.#isSaid) this.#say();
  }

  end(): void {
    clearInterval(this.#timer);
  }

  /** The error when there is no more time. */
  atDeadline(): DbopsError {
    return new DbopsError('store_failed', `${this.#name} could not be fetched before the deadline`, {
      detail: this.#words(),
      hint: 'It is not known whether it exists: let the recovery wait, and look after the stores ("dbops doctor" tries them).',
    });
  }

  #say(): void {
    this.#isSaid = true;
    const seconds = Math.round((Date.now() - this.#since) / 1000);
    this.#context.log.warn(
      { event: 'wal_fetch_waits', file: this.#name, seconds },
      `${this.#name} is asked for again: no answer yet after ${String(seconds)} s: ${this.#words().replaceAll('\n', '; ')}`,
    );
  }

  #words(): string {
    const words = [...this.#reasons].map(([place, reason]) => `${place}: ${reason}`);
    return words.length === 0 ? 'the stores have not answered' : words.join('\n');
  }
}
