import { visible } from '../../../sql/quote.ts';

/** So many errors are shown; all are counted. */
const shown = 5;
const longest = 160;

/** Statements whose text may hold a password, of which nothing is shown. */
const secret = /password|user mapping|subscription|\bserver\b/i;

/** What a program said that restores, as it says it. */
export class RestoreErrors {
  count = 0;
  /** pg_restore went on to its end. */
  isComplete = false;
  readonly #first: string[] = [];

  /** Takes one line of stderr. Returns whether it is to be kept for the message of a failure of the program itself. */
  take(line: string): boolean {
    if (/warning: errors ignored on restore: \d+/.test(line)) {
      this.isComplete = true;
      return false;
    }
    const statement = /^Command was: (.*)$/.exec(line)?.[1];
    if (statement !== undefined) {
      if (this.count === this.#first.length && !secret.test(statement)) {
        const last = this.#first.pop() ?? '';
        this.#first.push(`${last}: ${visible(statement.slice(0, longest))}`);
      }
      return false;
    }
    const error =
      /^pg_restore: (?:\[[^\]]+\] )?error: (?:could not execute query: )?(.*)$/.exec(line)?.[1] ??
      /^psql:.*?:\d+: ((?:ERROR|FATAL|PANIC): .*)$/.exec(line)?.[1];
    // Further lines of a statement may hold anything.
    if (error === undefined) return false;
    this.count += 1;
    if (this.#first.length < shown) this.#first.push(visible(error));
    return true;
  }

  /** The first ones for people, one a line. */
  describe(): string {
    const more = this.count - this.#first.length;
    return [...this.#first, ...(more > 0 ? [`and ${String(more)} more`] : [])].join('\n');
  }
}
