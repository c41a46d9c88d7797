import type { DrillTimes } from './report.ts';

/** Measures the parts of a drill by a clock that nobody sets. */
export class DrillClock {
  readonly #seconds: DrillTimes = { fetch: null, restore: null, open: null, verify: null };

  /** Adds what `work` takes to one part, also when it fails. */
  async time<T>(part: keyof DrillTimes, work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    try {
      return await work();
    } finally {
      this.add(part, (performance.now() - started) / 1000);
    }
  }

  add(part: keyof DrillTimes, seconds: number): void {
    this.#seconds[part] = (this.#seconds[part] ?? 0) + seconds;
  }

  get seconds(): DrillTimes {
    return { ...this.#seconds };
  }

  /** Until applications could have connected: what the promise of a recovery time is about. Null: it never came to that. */
  get restoreSeconds(): number | null {
    const { fetch, restore, open } = this.#seconds;
    return fetch === null || open === null ? null : fetch + (restore ?? 0) + open;
  }
}
