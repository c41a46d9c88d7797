import { DbopsError } from '../../../errors.ts';
import type { Db } from '../../../pg/connection.ts';
import { listMatchingTables } from '../../../sql/backup-tables.ts';

/** A pattern of tables as pg_dump takes it, with the regular expressions that pg_dump makes of it. */
export interface TablePattern {
  /** With a schema: for pg_dump. */
  text: string;
  schema: string;
  name: string;
}

/**
 * Reads schema.table with * and ?, parts in double quotes taken as they stand, others in lower case. Without a schema it is
 * public, as with --table. PostgreSQL documentation, psql, "Patterns". Throws usage.
 */
export function parseTablePattern(text: string): TablePattern {
  const parts: string[] = [''];
  let isQuoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at] ?? '';
    if (char === '"') {
      if (isQuoted && text[at + 1] === '"') {
        parts.push(`${parts.pop() ?? ''}"`);
        at += 1;
      } else isQuoted = !isQuoted;
      continue;
    }
    if (char === '.' && !isQuoted) parts.push('');
    else parts.push(`${parts.pop() ?? ''}${isQuoted ? escaped(char) : translated(char)}`);
  }
  const [first = '', second, ...more] = parts;
  if (isQuoted || more.length > 0 || first === '' || second === '') {
    throw new DbopsError('usage', `"${text}" is no pattern of tables`, {
      hint: 'Write schema.table, with * for any characters and ? for one; a part with dots or capitals in double quotes.',
    });
  }
  return second === undefined
    ? { text: `public.${text}`, schema: '^(public)$', name: `^(${first})$` }
    : { text, schema: `^(${first})$`, name: `^(${second})$` };
}

function escaped(char: string): string {
  return /[|*+?()[\]{}.^$\\]/.test(char) ? `\\${char}` : char;
}

function translated(char: string): string {
  if (char === '*') return '.*';
  if (char === '?') return '.';
  return char === '$' ? '\\$' : char.toLowerCase();
}

/** The oids of the tables that these patterns name. Throws table_not_found for a pattern that names none: a typing error would keep rows that were to be left out. */
export async function findMatching(db: Db, patterns: TablePattern[]): Promise<Set<number>> {
  const rows = await listMatchingTables(db, patterns);
  for (const [index, pattern] of patterns.entries()) {
    if (rows.some((row) => row.pattern === index + 1)) continue;
    throw new DbopsError('table_not_found', `no table matches --exclude-data "${pattern.text}"`, {
      hint: 'Without a schema it is public; capitals need double quotes within the pattern.',
    });
  }
  return new Set(rows.map((row) => row.oid));
}
