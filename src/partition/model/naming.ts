import { createHash } from 'node:crypto';
import type { IntervalUnit } from '../../config/schema.ts';
import { toWall } from './grid.ts';
import type { KeyCodec, Point } from './key.ts';
import { utc, type Zone } from './zone.ts';

/** PostgreSQL's NAMEDATALEN less one, in bytes. */
export const maxNameBytes = 63;

/** Names for people when the configuration gives none. */
export function defaultNaming(interval: IntervalUnit | number): string {
  if (typeof interval === 'number') return '{table}_p{from}';
  return {
    hour: '{table}_y{yyyy}m{mm}d{dd}h{hh}',
    day: '{table}_y{yyyy}m{mm}d{dd}',
    week: '{table}_y{iyyy}w{iw}',
    month: '{table}_y{yyyy}m{mm}',
    quarter: '{table}_y{yyyy}q{q}',
    year: '{table}_y{yyyy}',
  }[interval];
}

/** The tokens of a naming template without which two periods would get one name. */
const neededTokens: Record<IntervalUnit, string[][]> = {
  hour: [['yyyy', 'mm', 'dd', 'hh'], ['from']],
  day: [['yyyy', 'mm', 'dd'], ['from']],
  week: [['iyyy', 'iw'], ['yyyy', 'mm', 'dd'], ['from']],
  month: [['yyyy', 'mm'], ['from']],
  quarter: [['yyyy', 'q'], ['yyyy', 'mm'], ['from']],
  year: [['yyyy'], ['from']],
};
const knownTokens = ['schema', 'table', 'yyyy', 'mm', 'dd', 'hh', 'q', 'iyyy', 'iw', 'from'];

/** What is wrong with a naming template, or undefined. */
export function namingProblem(template: string, interval: IntervalUnit | number): string | undefined {
  const tokens = [...template.matchAll(/\{(\w*)\}/g)].map((match) => match[1] ?? '');
  const unknown = tokens.find((token) => !knownTokens.includes(token));
  if (unknown !== undefined)
    return `unknown token {${unknown}}; known are ${knownTokens.map((token) => `{${token}}`).join(' ')}`;
  const alternatives = typeof interval === 'number' ? [['from']] : neededTokens[interval];
  if (alternatives.some((needed) => needed.every((token) => tokens.includes(token)))) return undefined;
  const needed = (alternatives[0] ?? []).map((token) => `{${token}}`).join(' ');
  return `two partitions would get the same name; use ${needed}`;
}

/** The values of a template's tokens for a period that begins at `from`. */
function tokenValues(codec: KeyCodec, zone: Zone, from: Point): Record<string, string> {
  if (!codec.isTime) return { from: String(from).replace('-', 'm') };
  const effective = codec.isInstant ? zone : utc;
  const wallMs = Number(toWall(effective, from) / 1000n);
  const date = new Date(wallMs);
  const pad = (value: number, width = 2) => String(value).padStart(width, '0');
  const week = isoWeek(date);
  // The second of two hours that a fall-back repeats: its name must differ from the first one's.
  const repeated = effective.isRepeated(Number(from / 1000n)) ? 'b' : '';
  return {
    yyyy: pad(date.getUTCFullYear(), 4),
    mm: pad(date.getUTCMonth() + 1),
    dd: pad(date.getUTCDate()),
    hh: `${pad(date.getUTCHours())}${repeated}`,
    q: String(Math.floor(date.getUTCMonth() / 3) + 1),
    iyyy: pad(week.year, 4),
    iw: pad(week.week),
    from: `${date.toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}${repeated}`,
  };
}

/** ISO 8601: the week belongs to the year that holds its Thursday. */
function isoWeek(date: Date): { year: number; week: number } {
  const thursday = new Date(date);
  thursday.setUTCDate(date.getUTCDate() - ((date.getUTCDay() + 6) % 7) + 3);
  const year = thursday.getUTCFullYear();
  const days = Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / 86_400_000);
  return { year, week: Math.floor(days / 7) + 1 };
}

/**
 * The name of the partition that begins at `from`. A name over 63 bytes keeps its end, which tells the period, and gets
 * its table part cut and a hash of the whole put in: always the same for the same table and period.
 */
export function partitionName(
  template: string,
  table: { schema: string; name: string },
  codec: KeyCodec,
  zone: Zone,
  from: Point,
): string {
  const values = tokenValues(codec, zone, from);
  const fillWith = (tableText: string) =>
    template.replaceAll(/\{(\w+)\}/g, (_, token: string) =>
      token === 'table' ? tableText : token === 'schema' ? table.schema : (values[token] ?? ''),
    );
  const full = fillWith(table.name);
  if (Buffer.byteLength(full) <= maxNameBytes) return full;
  const hash = createHash('sha256').update(full).digest('hex').slice(0, 8);
  const rest = Buffer.byteLength(fillWith('')) + 1 + hash.length;
  const room = maxNameBytes - rest;
  if (template.split('{table}').length === 2 && room > 0) {
    return fillWith(`${cutBytes(table.name, room)}_${hash}`);
  }
  return `${cutBytes(full, maxNameBytes - 1 - hash.length)}_${hash}`;
}

/** Cuts a text to at most so many bytes of UTF-8, never inside a character. */
export function cutBytes(text: string, bytes: number): string {
  let length = 0;
  let result = '';
  for (const character of text) {
    length += Buffer.byteLength(character);
    if (length > bytes) break;
    result += character;
  }
  return result;
}

/** A name for an object that belongs to a table, within 63 bytes: <stem>_<hash of the parts>. */
export function derivedName(stem: string, ...parts: string[]): string {
  const hash = createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 8);
  return `${cutBytes(stem, maxNameBytes - 9)}_${hash}`;
}

/**
 * The template that would have given these names to partitions that begin at these points, read from the names that are
 * there: `orders_2026_07` becomes `{table}_{yyyy}_{mm}`. Undefined when no template explains all of them.
 */
export function inferNaming(
  table: { schema: string; name: string },
  codec: KeyCodec,
  zone: Zone,
  interval: IntervalUnit | number,
  samples: { name: string; from: Point }[],
): string | undefined {
  for (const sample of samples.slice(-3)) {
    const values = tokenValues(codec, zone, sample.from);
    for (const template of candidateTemplates(sample.name, table.name, values)) {
      if (namingProblem(template, interval) !== undefined) continue;
      if (samples.every((other) => partitionName(template, table, codec, zone, other.from) === other.name)) {
        return template;
      }
    }
  }
  return undefined;
}

/** The name with its digits read in every order of tokens that can stand there. */
function candidateTemplates(name: string, table: string, values: Record<string, string>): string[] {
  const at = name.startsWith(table) ? table.length : -1;
  const head = at < 0 ? '' : '{table}';
  const orders = [
    ['from'],
    ['yyyy', 'mm', 'dd', 'hh'],
    ['yyyy', 'mm', 'dd'],
    ['iyyy', 'iw'],
    // Before the quarter: the 1 of January's 01 is the number of its quarter as well.
    ['yyyy', 'mm'],
    ['yyyy', 'q'],
    ['yyyy'],
  ];
  return orders.flatMap((order) => {
    let rest = at < 0 ? name : name.slice(at);
    let template = head;
    for (const token of order) {
      const value = values[token] ?? '';
      const position = value === '' ? -1 : rest.indexOf(value);
      if (position < 0) return [];
      template += `${rest.slice(0, position)}{${token}}`;
      rest = rest.slice(position + value.length);
    }
    return [template + rest];
  });
}
