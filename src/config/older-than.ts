import { parseDuration, type Duration } from './duration.ts';

/** What "published_at 7 days" says: rows whose column lies further back than that. */
export interface OlderThan {
  /** As it stands in the catalog, not quoted. */
  column: string;
  age: Duration;
}

/** Reads a column and a duration behind it. Undefined when it is not both, or no time at all. */
export function parseOlderThan(text: string): OlderThan | undefined {
  const match = /^\s*(\S.*?)\s+(\d+(?:\.\d+)?\s*[a-z]+)\s*$/is.exec(text);
  const age = parseDuration(match?.[2] ?? '');
  const column = match?.[1];
  if (column === undefined || age === undefined || age.months + age.seconds <= 0) return undefined;
  return { column, age };
}
