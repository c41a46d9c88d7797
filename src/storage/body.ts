import { Readable } from 'node:stream';
import { DbopsError, interrupted } from '../errors.ts';

/** The error of whoever makes a body, kept apart from those of the store that takes it. */
export class ProducerFailure extends Error {
  constructor(cause: unknown) {
    super('the body of an object could not be read', { cause });
  }
}

/** What a caller of put() is told: the producer's own error as it was thrown. */
export function withoutWrapper(error: unknown): unknown {
  return error instanceof ProducerFailure ? error.cause : error;
}

/**
 * The chunks of a body; throws ProducerFailure with the error that it ends with. An interruption ends the waiting for a
 * producer that has stopped, which is then told to let go without being waited for.
 */
export async function* chunksOf(
  body: AsyncIterable<Uint8Array> | Uint8Array,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  if (signal?.aborted === true) throw interrupted(signal);
  if (body instanceof Uint8Array) {
    if (body.byteLength > 0) yield body;
    return;
  }
  const iterator = body[Symbol.asyncIterator]();
  let isDone = false;
  try {
    for (;;) {
      const next = await nextUnlessAborted(iterator, signal);
      if (next.done === true) {
        isDone = true;
        return;
      }
      if (next.value.byteLength > 0) yield next.value;
    }
  } catch (error) {
    throw error instanceof DbopsError ? error : new ProducerFailure(error);
  } finally {
    // A generator that is waiting itself answers only after that wait, which may be for ever.
    if (!isDone) void iterator.return?.().catch(() => undefined);
    if (!isDone && body instanceof Readable) body.destroy();
  }
}

/**
 * The next chunk, or the interruption. Not Promise.race with one promise for the whole body: that promise would remember
 * every chunk that it was raced against.
 */
async function nextUnlessAborted(
  iterator: AsyncIterator<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<IteratorResult<Uint8Array>> {
  if (signal === undefined) return await iterator.next();
  // An abort while the last chunk was written is told to no listener that comes later.
  if (signal.aborted) throw interrupted(signal);
  let onAbort = (): void => undefined;
  try {
    return await new Promise((resolve, reject) => {
      onAbort = () => reject(interrupted(signal));
      signal.addEventListener('abort', onAbort, { once: true });
      iterator.next().then(resolve, reject);
    });
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

export interface CheckedBodyOptions {
  /** How many bytes must come; undefined where the store did not say. */
  expectedBytes: number | undefined;
  /** After this time without a byte, while one is wanted, the store is given up. 0: never. */
  idleTimeoutMs: number;
  signal: AbortSignal | undefined;
  /** Makes the error that readers see. */
  describe: (cause: unknown) => Error;
}

/**
 * What a store sends, watched: too few or too many bytes, an error, silence and an interruption all end it with an
 * error. Silence counts only while the reader waits: one that is slow itself (psql behind a lock) is no fault of the
 * store.
 */
export class CheckedBody extends Readable {
  readonly #source: Readable;
  readonly #options: CheckedBodyOptions;
  readonly #onAbort: () => void;
  #seenBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(source: Readable, options: CheckedBodyOptions) {
    super();
    this.#source = source;
    this.#options = options;
    const { signal } = options;
    this.#onAbort = () => signal !== undefined && this.destroy(interrupted(signal));
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    source.pause();
    source.on('data', (chunk: Buffer) => this.#take(chunk));
    source.on('end', () => this.#end());
    source.on('error', (cause) => this.destroy(options.describe(cause)));
    source.on('close', () => {
      if (!source.readableEnded) this.destroy(options.describe(new Error('the connection was closed')));
    });
    source.pause();
    if (signal?.aborted === true) this.#onAbort();
  }

  override _read(): void {
    this.#wait();
    this.#source.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    clearTimeout(this.#timer);
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#source.destroy();
    callback(error);
  }

  #take(chunk: Buffer): void {
    if (this.destroyed) return;
    clearTimeout(this.#timer);
    this.#seenBytes += chunk.byteLength;
    const { expectedBytes } = this.#options;
    if (expectedBytes !== undefined && this.#seenBytes > expectedBytes) {
      this.destroy(this.#options.describe(new Error(`more than the ${String(expectedBytes)} bytes came`)));
      return;
    }
    if (this.push(chunk)) this.#wait();
    else this.#source.pause();
  }

  #end(): void {
    clearTimeout(this.#timer);
    if (this.destroyed) return;
    const { expectedBytes } = this.#options;
    if (expectedBytes !== undefined && this.#seenBytes < expectedBytes) {
      const counts = `it ended after ${String(this.#seenBytes)} of ${String(expectedBytes)} bytes`;
      this.destroy(this.#options.describe(new Error(counts)));
      return;
    }
    this.push(null);
  }

  #wait(): void {
    clearTimeout(this.#timer);
    const { idleTimeoutMs } = this.#options;
    if (idleTimeoutMs === 0) return;
    this.#timer = setTimeout(() => {
      const silence = Object.assign(new Error(`no byte came for ${String(idleTimeoutMs / 1000)} s`), {
        name: 'TimeoutError',
      });
      this.destroy(this.#options.describe(silence));
    }, idleTimeoutMs);
  }
}
