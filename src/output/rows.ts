import { toJson } from './json.ts';

/** A line of CSV as PostgreSQL's COPY writes it: NULL is nothing, an empty text is "". */
export function csvLine(values: unknown[]): string {
  return `${values.map(csvField).join(',')}\n`;
}

function csvField(value: unknown): string {
  if (value === null || value === undefined) return '';
  const text = plainText(value);
  return text === '' || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A value for people or for CSV: what is nested is JSON. */
export function plainText(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'bigint' ? value.toString() : toJson(value, 0);
}

/** Names for the fields of a row as JSON: a second one of a name gets a number. */
export function fieldNames(names: string[]): string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    let free = name;
    for (let number = 2; taken.has(free); number += 1) free = `${name}_${String(number)}`;
    taken.add(free);
    return free;
  });
}
