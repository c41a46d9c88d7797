import { nearest } from '../config/nearest.ts';
import { DbopsError } from '../errors.ts';
import { displayName, ident, relation, visible, type RelationName } from '../sql/quote.ts';

/** An index that is wanted, as it was written. */
export interface IndexSpec {
  table: RelationName;
  /** Columns or expressions, each with what may follow it: "created_at desc", "lower(email)". */
  columns: string[];
  include: string[];
  unique: boolean;
  /** SQL condition of a partial index. */
  where?: string | undefined;
  method: string;
  /** Without one it gets the name that PostgreSQL would give it. */
  name?: string | undefined;
}

/** Splits "a, b desc, lower(c)" at its outer commas. Throws usage for what is no list. Pure. */
export function splitList(text: string, what: string): string[] {
  const parts: string[] = [''];
  for (const { char, depth, isQuoted } of walk(text, what))
    if (char === ',' && depth === 0 && !isQuoted) parts.push('');
    else parts.push(`${parts.pop() ?? ''}${char}`);
  const trimmed = parts.map((part) => part.trim());
  if (trimmed.includes(''))
    throw new DbopsError('usage', `${what} names nothing between two commas: "${visible(text)}"`);
  return trimmed;
}

/** PostgreSQL cuts what is longer, and the index would have another name than the one that was wished for. */
const longestName = 63;

/** What stands behind the table in CREATE INDEX. Throws usage for a name that cannot be and columns that are not there. Pure. */
export function bodyOf(spec: IndexSpec, columns: string[]): string {
  checkName(spec);
  const keys = spec.columns.map((text) => columnSql(spec, text, columns));
  const included = spec.include.map((name) => ident(knownColumn(spec, name, columns)));
  if (spec.where !== undefined) checkSql(spec.where, 'where');
  return [
    `using ${ident(spec.method)} (${keys.join(', ')})`,
    ...(included.length === 0 ? [] : [`include (${included.join(', ')})`]),
    ...(spec.where === undefined ? [] : [`where (${spec.where})`]),
  ].join(' ');
}

function checkName({ name, table }: IndexSpec): void {
  if (name === undefined) return;
  if (name === '' || Buffer.byteLength(name) > longestName)
    throw new DbopsError(
      'usage',
      `the name of an index has 1 to ${String(longestName)} bytes: "${visible(name)}"`,
    );
  if (name.startsWith(`${table.schema}.`))
    throw new DbopsError('usage', `the name of an index stands without its schema: "${visible(name)}"`, {
      hint: `It is in the schema of its table: ${name.slice(table.schema.length + 1)}`,
    });
}

/** The columns that are keys as they are, without expressions. Pure. */
export function plainColumns(spec: IndexSpec, columns: string[]): string[] {
  return spec.columns.flatMap((text) => leadingColumn(text, columns)?.name ?? []);
}

/** Finds the rows of a table that a unique index cannot have: for people, to be run as it is. Pure. */
export function duplicatesSql(spec: IndexSpec, table: RelationName, columns: string[]): string {
  const keys = spec.columns
    .map((text) => {
      const leading = leadingColumn(text, columns);
      return leading === undefined ? withoutOrder(text) : ident(leading.name);
    })
    .join(', ');
  const some = spec.where === undefined ? '' : ` and (${spec.where})`;
  return (
    `select ${keys}, count(*) from ${relation(table)} where num_nulls(${keys}) = 0${some} ` +
    `group by ${keys} having count(*) > 1;`
  );
}

/** The name that PostgreSQL gives: table_column_idx, within 63 bytes. Pure. */
export function defaultName(spec: Pick<IndexSpec, 'columns'>, table: string, columns: string[]): string {
  const parts = spec.columns.map((text) => leadingColumn(text, columns)?.name ?? 'expr');
  return fit(fit(table, 29) + '_' + fit(parts.join('_'), 29), 59) + '_idx';
}

/** The first so many bytes of a name, with no character cut. Pure. */
export function fit(text: string, bytes: number): string {
  let kept = text;
  while (Buffer.byteLength(kept) > bytes) kept = Array.from(kept).slice(0, -1).join('');
  return kept;
}

function columnSql(spec: IndexSpec, text: string, columns: string[]): string {
  checkSql(text, 'columns');
  const leading = leadingColumn(text, columns);
  if (leading !== undefined) return `${ident(leading.name)}${leading.rest}`;
  if (/^[\p{L}_][\p{L}\p{N}_$]*(\s+(asc|desc|nulls)\b.*)?$/iu.test(text))
    return ident(knownColumn(spec, text.split(/\s/)[0] ?? text, columns));
  const expression = withoutOrder(text);
  return `(${expression})${text.slice(expression.length)}`;
}

function withoutOrder(text: string): string {
  const order = /(?:\s+(?:asc|desc))?(?:\s+nulls\s+(?:first|last))?$/i.exec(text)?.[0] ?? '';
  return text.slice(0, text.length - order.length);
}

/** The longest column that a text begins with, as a word of its own; names may hold blanks. */
function leadingColumn(text: string, columns: string[]): { name: string; rest: string } | undefined {
  const fits = columns.flatMap((name) =>
    [name, `"${name.replaceAll('"', '""')}"`]
      .filter((form) => text === form || text.startsWith(`${form} `))
      .map((form) => ({ name, rest: text.slice(form.length) })),
  );
  return fits.sort((a, b) => a.rest.length - b.rest.length)[0];
}

function knownColumn(spec: IndexSpec, name: string, columns: string[]): string {
  if (columns.includes(name)) return name;
  const guess = nearest(name, columns);
  throw new DbopsError('usage', `${displayName(spec.table)} has no column "${visible(name)}"`, {
    hint: `${guess === undefined ? '' : `Did you mean "${guess}"? `}Columns stand as in the catalog; expressions have parentheses: (a + b).`,
  });
}

/** One expression, and nothing behind it. */
function checkSql(text: string, what: string): void {
  if (text.trim() === '') throw new DbopsError('usage', `${what} is empty`);
  let before = '';
  for (const { char, isQuoted } of walk(text, what)) {
    const isComment = (before === '-' && char === '-') || (before === '/' && char === '*');
    if (!isQuoted && (char === ';' || isComment))
      throw new DbopsError(
        'usage',
        `${what} is one expression, without ";" and comments: "${visible(text)}"`,
      );
    before = isQuoted ? '' : char;
  }
}

/** Characters with how deep in parentheses they are. Throws usage where those or quotes do not match. */
function walk(text: string, what: string): { char: string; depth: number; isQuoted: boolean }[] {
  let quote = '';
  let depth = 0;
  const wrong = () =>
    new DbopsError('usage', `${what} has quotes or parentheses that do not match: "${visible(text)}"`);
  const walked = Array.from(text).map((char) => {
    if (quote !== '') {
      if (char === quote) quote = '';
      return { char, depth, isQuoted: true };
    }
    if (char === "'" || char === '"') quote = char;
    if (char === '(') depth += 1;
    if (char === ')') depth -= 1;
    if (depth < 0) throw wrong();
    return { char, depth, isQuoted: quote !== '' };
  });
  if (depth !== 0 || quote !== '') throw wrong();
  return walked;
}
