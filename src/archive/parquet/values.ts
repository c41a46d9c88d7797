import type { DuckDb as Api } from './duckdb.ts';

/** A value as it is shown, without a digit lost. */
export type Cell = null | boolean | number | bigint | string | Cell[] | { [key: string]: Cell };

/**
 * A value of DuckDB in a form that keeps all of it: 64-bit integers as bigint, decimals as text, times in ISO 8601 (with
 * Z where they are instants), bytes as PostgreSQL writes them (\x00ff), what JSON has no number for as text.
 */
export function exactValue(api: typeof Api, value: Api.DuckDBValue, type: Api.DuckDBType): Cell {
  if (value === null || value === undefined) return null;
  if (typeof value === 'number') {
    return exactNumber(type.typeId === api.DuckDBTypeId.FLOAT ? shortestFloat(value) : value);
  }
  if (typeof value !== 'object') return value;
  const inner = (item: Api.DuckDBValue, itemType: Api.DuckDBType | undefined) =>
    itemType === undefined ? null : exactValue(api, item, itemType);
  if (value instanceof api.DuckDBListValue || value instanceof api.DuckDBArrayValue) {
    const itemType =
      type instanceof api.DuckDBListType || type instanceof api.DuckDBArrayType ? type.valueType : type;
    return value.items.map((item) => inner(item, itemType));
  }
  if (value instanceof api.DuckDBStructValue && type instanceof api.DuckDBStructType) {
    const { entryNames, entryTypes } = type;
    return Object.fromEntries(
      entryNames.map((name, index) => [name, inner(value.entries[name] ?? null, entryTypes[index])]),
    );
  }
  if (value instanceof api.DuckDBMapValue && type instanceof api.DuckDBMapType) {
    return value.entries.map((entry) => ({
      key: inner(entry.key, type.keyType),
      value: inner(entry.value, type.valueType),
    }));
  }
  return exactText(api, value);
}

function exactText(api: typeof Api, value: { toString(): string }): string {
  if (value instanceof api.DuckDBTimestampTZValue) {
    return isoInstant(new api.DuckDBTimestampValue(value.micros).toString());
  }
  if (value instanceof api.DuckDBBlobValue) return `\\x${Buffer.from(value.bytes).toString('hex')}`;
  if (value instanceof api.DuckDBDateValue) return dateText(value);
  const text = String(value);
  return value instanceof api.DuckDBTimestampValue ? text.replace(' ', 'T') : text;
}

/** JSON has neither NaN nor infinities, and JavaScript writes -0 as 0. */
function exactNumber(value: number): number | string {
  if (Object.is(value, -0)) return '-0';
  return Number.isFinite(value) ? value : String(value);
}

/** The shortest decimal that is the same 32-bit number: 1.1, not 1.10000002384185791. */
function shortestFloat(value: number): number {
  if (value === 0) return value;
  for (let digits = 6; digits < 9; digits += 1) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

/** "2024-05-01 00:00:00.5" is 2024-05-01T00:00:00.5Z; infinities are words, and years before the first say so. */
function isoInstant(text: string): string {
  if (text.endsWith('infinity')) return text;
  const [, time = text, era = ''] = /^(.*?)( \(BC\))?$/.exec(text) ?? [];
  return `${time.replace(' ', 'T')}Z${era}`;
}

/** The library writes the two infinities as far days. */
function dateText(value: Api.DuckDBDateValue): string {
  if (value.days === 2_147_483_647) return 'infinity';
  return value.days === -2_147_483_647 ? '-infinity' : value.toString();
}
