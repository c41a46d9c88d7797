import type { KeyCodec, Point } from './key.ts';

/** A partition's bound, as pg_get_expr(relpartbound) prints it, taken apart. */
export type Bound =
  | { kind: 'default' }
  | { kind: 'range'; from: BoundValue[]; to: BoundValue[] }
  | { kind: 'other'; text: string };

/** One value of a bound: the text, or an open end. */
export type BoundValue = { kind: 'value'; text: string } | { kind: 'minvalue' } | { kind: 'maxvalue' };

/** A range on the key's axis; undefined is an open end. Lower inclusive, upper exclusive, as PostgreSQL has it. */
export interface Range {
  from: Point | undefined;
  to: Point | undefined;
}

/** Reads "FOR VALUES FROM (...) TO (...)" and "DEFAULT"; lists and hashes come back as `other`. */
export function parseBound(text: string): Bound {
  if (text === 'DEFAULT') return { kind: 'default' };
  const other: Bound = { kind: 'other', text };
  const start = 'FOR VALUES FROM (';
  if (!text.startsWith(start)) return other;
  const from = readValues(text, start.length);
  if (from === undefined || !text.startsWith(' TO (', from.end)) return other;
  const to = readValues(text, from.end + ' TO ('.length);
  if (to?.end !== text.length) return other;
  return { kind: 'range', from: from.values, to: to.values };
}

/** Reads values up to the closing parenthesis; `end` is behind it. */
function readValues(text: string, start: number): { values: BoundValue[]; end: number } | undefined {
  const pattern = /(?:(MINVALUE)|(MAXVALUE)|'((?:[^']|'')*)'|(-?[\d.]+))(, |\))/y;
  const values: BoundValue[] = [];
  pattern.lastIndex = start;
  for (;;) {
    const match = pattern.exec(text);
    if (match === null) return undefined;
    if (match[1] !== undefined) values.push({ kind: 'minvalue' });
    else if (match[2] !== undefined) values.push({ kind: 'maxvalue' });
    else values.push({ kind: 'value', text: match[3]?.replaceAll("''", "'") ?? match[4] ?? '' });
    if (match[5] === ')') return { values, end: pattern.lastIndex };
  }
}

/** The first column's range of a bound on the key's axis. Undefined when a value is none that the codec knows. */
export function rangeOf(bound: Bound, codec: KeyCodec): Range | undefined {
  if (bound.kind !== 'range') return undefined;
  const from = endOf(bound.from[0], codec);
  const to = endOf(bound.to[0], codec);
  return from === null || to === null ? undefined : { from, to };
}

/** Undefined: open; null: not to be understood. */
function endOf(value: BoundValue | undefined, codec: KeyCodec): Point | undefined | null {
  if (value === undefined) return null;
  if (value.kind !== 'value' || value.text === 'infinity' || value.text === '-infinity') return undefined;
  return codec.parse(value.text) ?? null;
}

/** Orders ranges by their lower ends; an open end comes first. */
export function compareRanges(a: Range, b: Range): number {
  if (a.from === b.from) return 0;
  if (a.from === undefined) return -1;
  if (b.from === undefined) return 1;
  return a.from < b.from ? -1 : 1;
}

/** Whether two ranges share a point. */
export function overlaps(a: Range, b: Range): boolean {
  const startsBefore = a.from === undefined || b.to === undefined || a.from < b.to;
  const endsAfter = a.to === undefined || b.from === undefined || a.to > b.from;
  return startsBefore && endsAfter;
}

/** Whether a point lies in a range. */
export function contains(range: Range, point: Point): boolean {
  return (range.from === undefined || range.from <= point) && (range.to === undefined || point < range.to);
}
