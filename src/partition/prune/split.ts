/** A statement of a file, with where it begins. */
export interface Statement {
  sql: string;
  /** 1 for the first line of the text. */
  line: number;
}

/** A piece of SQL that means one thing: code, or something whose inside is no SQL. */
interface Piece {
  kind: 'code' | 'string' | 'name' | 'comment';
  text: string;
}

/** What opens a piece whose inside is not to be looked at. E'' knows backslashes, '' does not; $tag$ knows neither. */
const openers = /(?:\b[eE])?'|"|--|\/\*|\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/g;

/** Takes SQL apart as the server's lexer does (standard_conforming_strings on). Never fails: what is open ends at the end. */
function pieces(text: string): Piece[] {
  const result: Piece[] = [];
  let at = 0;
  while (at < text.length) {
    openers.lastIndex = at;
    const match = nextOpener(text);
    const start = match?.index ?? text.length;
    if (start > at) result.push({ kind: 'code', text: text.slice(at, start) });
    if (match === null) break;
    const end = endOf(text, start, match[0]);
    const kind = match[0] === '"' ? 'name' : /^(--|\/\*)/.test(match[0]) ? 'comment' : 'string';
    result.push({ kind, text: text.slice(start, end) });
    at = end;
  }
  return result;
}

/** A dollar within a name (`a$b$c`) opens nothing. */
function nextOpener(text: string): RegExpExecArray | null {
  for (;;) {
    const match = openers.exec(text);
    if (match === null) return null;
    const before = text[match.index - 1] ?? '';
    if (!match[0].startsWith('$') || !/[\w$\u0080-\uffff]/.test(before)) return match;
    openers.lastIndex = match.index + 1;
  }
}

/** Where the piece that begins at `start` with `opener` is over. */
function endOf(text: string, start: number, opener: string): number {
  const after = start + opener.length;
  const found = (index: number, length: number) => (index < 0 ? text.length : index + length);
  if (opener === '--') return found(text.indexOf('\n', after), 1);
  if (opener === '/*') return endOfComment(text, after);
  if (opener.startsWith('$')) return found(text.indexOf(opener, after), opener.length);
  const quote = opener.at(-1) ?? '';
  for (let at = after; at < text.length; at += 1) {
    if (opener.length === 2 && text[at] === '\\') at += 1;
    else if (text[at] === quote) {
      if (text[at + 1] !== quote) return at + 1;
      at += 1;
    }
  }
  return text.length;
}

/** Comments nest. */
function endOfComment(text: string, after: number): number {
  const marks = /\/\*|\*\//g;
  marks.lastIndex = after;
  let depth = 1;
  for (;;) {
    const match = marks.exec(text);
    if (match === null) return text.length;
    depth += match[0] === '/*' ? 1 : -1;
    if (depth === 0) return marks.lastIndex;
  }
}

/**
 * Splits SQL into its statements, without their semicolons and without psql's own commands (lines that begin with a
 * backslash). Quotes, dollar quotes and nested comments may hold semicolons.
 */
export function splitStatements(text: string): Statement[] {
  const source = text.replaceAll('\r\n', '\n').replace(/^\uFEFF/, '');
  const statements: Statement[] = [];
  let sql = '';
  let start = 1;
  let line = 1;
  const take = (part: string) => {
    if (sql.trim() === '') {
      const lead = /^\s*/.exec(part)?.[0] ?? '';
      start = line + countLines(lead);
    }
    sql += part;
    line += countLines(part);
  };
  const finish = () => {
    if (/[^\s]/.test(withoutComments(sql))) statements.push({ sql: sql.trim(), line: start });
    sql = '';
  };
  for (const piece of pieces(source)) {
    if (piece.kind !== 'code') {
      take(piece.text);
      continue;
    }
    const [head = '', ...rest] = withoutBackslashLines(piece.text, sql).split(';');
    take(head);
    for (const part of rest) {
      finish();
      take(part);
    }
  }
  finish();
  return statements;
}

function countLines(text: string): number {
  return text.split('\n').length - 1;
}

/** psql's commands stand alone on their line, between statements; the line stays, so that numbers stay right. */
function withoutBackslashLines(code: string, before: string): string {
  return before.trim() === '' ? code.replaceAll(/^[ \t]*\\.*$/gm, '') : code;
}

/** The statement without its comments. */
export function withoutComments(sql: string): string {
  return pieces(sql)
    .map((piece) => (piece.kind === 'comment' ? ' ' : piece.text))
    .join('');
}

/** The first word of a statement, in lower case. */
export function firstWord(sql: string): string {
  return (/^[\s(]*([A-Za-z]+)/.exec(withoutComments(sql))?.[1] ?? '').toLowerCase();
}

/** Stands for the quote that follows; cannot be in SQL. */
const openEnd = '\0';

/**
 * Turns placeholders of drivers (:name, ?, %s, %(name)s) into $1, $2 ..., and the `interval $1` that pg_stat_statements
 * makes of a typed literal into a cast. Casts (::), slices ([1:2]) and what stands in quotes are left alone.
 */
export function numberParameters(sql: string): string {
  const parts = pieces(sql);
  const numbers = new Map<string, number>();
  let last = Math.max(
    0,
    ...parts.flatMap((piece) =>
      piece.kind === 'code' ? [...piece.text.matchAll(/\$(\d+)/g)].map((match) => Number(match[1])) : [],
    ),
  );
  const numbered = (name: string | undefined) => {
    const known = name === undefined ? undefined : numbers.get(name);
    if (known !== undefined) return `$${String(known)}`;
    last += 1;
    if (name !== undefined) numbers.set(name, last);
    return `$${String(last)}`;
  };
  return parts
    .map((piece, index) => {
      if (piece.kind !== 'code') return piece.text;
      const next = parts[index + 1]?.kind;
      // `? 'key'` is an operator of jsonb: the piece must not look as if the statement ended behind it.
      const isOpen = next === 'string' || next === 'name';
      return `${piece.text}${isOpen ? openEnd : ''}`
        .replaceAll(/(?<![:\w\]])(:)([A-Za-z_]\w*)/g, (_, __, name: string) => numbered(name))
        .replaceAll(/%\((\w+)\)s/g, (_, name: string) => numbered(name))
        .replaceAll(/%s/g, () => numbered(undefined))
        .replaceAll(/(?<=[=<>(,+\-*/\s])\?(?=\s*(?:[,);]|$|and\b|or\b|order\b|group\b|limit\b|::))/gi, () =>
          numbered(undefined),
        )
        .replaceAll(/\b(interval|date|timestamptz|timestamp|time)\s+(\$\d+)/gi, '$2::$1')
        .replace(openEnd, '');
    })
    .join('');
}
