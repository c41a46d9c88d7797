/**
 * The statements of a script that pg_dump, pg_dumpall or pg_restore wrote, without their semicolons, comments and the
 * lines that are meant for psql. Knows the quotes that these programs write: '...', E'...', "...", $tag$...$tag$.
 */
export function statementsIn(script: string): string[] {
  const statements: string[] = [];
  // Comments, quoted parts, the end of a statement, lines for psql; whatever else stands between them.
  const token =
    /--[^\n]*|E'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|(?<![\w$])(\$\w*\$)[^]*?\1|^\\[^\n]*|;|[^-'"$;\\E]+|[^]/gmy;
  let current = '';
  for (const [text] of script.matchAll(token)) {
    if (text.startsWith('--')) continue;
    if (text.startsWith('\\') && current.trim() === '') continue;
    if (text !== ';') {
      current += text;
      continue;
    }
    if (current.trim() !== '') statements.push(current.trim());
    current = '';
  }
  return statements;
}

/** A name as these programs write it: a pattern. */
export const written = String.raw`(?:"(?:[^"]|"")+"|[^\s";,]+)`;

/** The name behind some words at the beginning of a statement; undefined where it begins with something else. */
export function nameBehind(statement: string, words: string): string | undefined {
  const match = new RegExp(`^${words} (${written})`).exec(statement);
  return match?.[1] === undefined ? undefined : unquoted(match[1]);
}

/** What a name as it is written means. */
export function unquoted(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name;
}

/** The statement about a database, about another one. `name` is quoted. Undefined where it is about none. */
export function aboutDatabase(statement: string, name: string): string | undefined {
  const heads = [
    'CREATE DATABASE',
    'ALTER DATABASE',
    'COMMENT ON DATABASE',
    `ALTER ROLE ${written} IN DATABASE`,
    String.raw`(?:GRANT|REVOKE) [\w, ]+ ON DATABASE`,
    `SECURITY LABEL FOR ${written} ON DATABASE`,
  ];
  const match = new RegExp(`^(${heads.join('|')}) ${written}(?= )`).exec(statement);
  if (match?.[1] === undefined) return undefined;
  return `${match[1]} ${name}${statement.slice(match[0].length)}`;
}

/** An entry of a dump, as `pg_restore -l` lists it. */
export interface DumpEntry {
  /** The whole line, as `pg_restore -L` takes it. */
  line: string;
  dumpId: number;
  /** TABLE, TABLE DATA, INDEX, ACL ...; then schema, name and owner, which blanks may stand in. */
  rest: string;
}

/** Reads what `pg_restore -l` says. */
export function entriesIn(list: string): DumpEntry[] {
  return list.split('\n').flatMap((line) => {
    const match = /^(\d+); \d+ \d+ (.*)$/.exec(line);
    return match?.[2] === undefined ? [] : [{ line, dumpId: Number(match[1]), rest: match[2] }];
  });
}
