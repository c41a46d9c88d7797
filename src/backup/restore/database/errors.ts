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
  /** What psql said last. In the language of the server: only the statement that follows tells an error from a notice. */
  #said = 'an error of psql';

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
        this.#first.push(`${last}: ${shortened(statement)}`);
      }
      return false;
    }
    const said = /^psql:.*?:\d+: (.*)$/.exec(line)?.[1];
    if (said?.startsWith('STATEMENT:  ') === false) this.#said = said;
    const error =
      /^pg_restore: (?:\[[^\]]+\] )?error: (?:could not execute query: )?(.*)$/.exec(line)?.[1] ??
      (said?.startsWith('STATEMENT:  ') === true ? this.#said : undefined);
    // Further lines of a statement may hold anything.
    if (error === undefined) return false;
    this.add(error);
    return true;
  }

  add(error: string, statement?: string): void {
    this.count += 1;
    const more = statement === undefined ? '' : `: ${shortened(statement)}`;
    if (this.#first.length < shown) this.#first.push(`${visible(error)}${more}`);
  }

  /** Those of a program that ran later. */
  addAll(later: RestoreErrors): void {
    this.count += later.count;
    this.#first.push(...later.#first.slice(0, shown - this.#first.length));
  }

  /** The first ones for people, one a line. */
  describe(): string {
    const more = this.count - this.#first.length;
    return [...this.#first, ...(more > 0 ? [`and ${String(more)} more`] : [])].join('\n');
  }
}

function shortened(statement: string): string {
  return visible(statement.slice(0, longest));
}
