import { humanBytes } from './human.ts';
import type { Log } from './log.ts';

const everyMs = 10_000;

/** Says every ten seconds how far long work has come: bytes so far, and their rate. */
export class Progress {
  readonly #timer: NodeJS.Timeout;
  readonly #started = performance.now();
  #bytes = 0;

  constructor(log: Log, what: string, event: string) {
    this.#timer = setInterval(() => {
      const seconds = (performance.now() - this.#started) / 1000;
      log.info(
        { event, bytes: this.#bytes, seconds: Math.round(seconds) },
        `${what}: ${humanBytes(this.#bytes)} so far, ${humanBytes(this.#bytes / seconds)}/s`,
      );
    }, everyMs);
    this.#timer.unref();
  }

  add(bytes: number): void {
    this.#bytes += bytes;
  }

  end(): void {
    clearInterval(this.#timer);
  }
}
