import { createReadStream, createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { duckLiteral } from './duckdb.ts';

/** DuckDB's own limit of a line, when nothing longer was met. */
export const usualLineBytes = 2_097_152;

/** The name under which the reader knows a column; those of the table may be anything. */
export function rawColumn(index: number): string {
  return `c${String(index)}`;
}

/**
 * A reader of files in COPY's text format: tabs, \N for NULL, no quotes and no header, every column as text. Backslash
 * sequences are left in, see unescaped(). A file of one column must have gone through guardFile(), since empty lines are
 * left out. `lineBytes` is the longest line that there may be.
 */
export function copyTextReader(paths: string[], columns: number, lineBytes = usualLineBytes): string {
  const names = Array.from({ length: columns }, (_, index) => `'${rawColumn(index)}': 'VARCHAR'`);
  // A line must fit into a buffer, of which there would be sixteen for the longest line otherwise.
  const bytes = String(lineBytes);
  const longest = lineBytes > usualLineBytes ? `, max_line_size = ${bytes}, buffer_size = ${bytes}` : '';
  return (
    `read_csv([${paths.map(duckLiteral).join(', ')}], columns = {${names.join(', ')}}, auto_detect = false, ` +
    `header = false, delim = '\t', quote = '', escape = '', comment = '', new_line = '\\n', nullstr = '\\N', ` +
    `strict_mode = true, null_padding = false, ignore_errors = false${longest})`
  );
}

const sequences: [letter: string, code: number][] = [
  ['b', 8],
  ['f', 12],
  ['n', 10],
  ['r', 13],
  ['t', 9],
  ['v', 11],
];

/**
 * COPY's text of a value without its escapes. An escaped backslash becomes a NUL meanwhile, which no text of PostgreSQL
 * contains, so that the letter behind it is not taken for a sequence.
 */
export function unescaped(text: string): string {
  const hidden = `replace(${text}, '\\\\', chr(0))`;
  const replaced = sequences.reduce(
    (sql, [letter, code]) => `replace(${sql}, '\\${letter}', chr(${String(code)}))`,
    hidden,
  );
  return `case when contains(${text}, '\\') then replace(${replaced}, chr(0), '\\') else ${text} end`;
}

const newline = 10;

/** The longest line of the files, in bytes with its newline. */
export async function longestLine(paths: string[], signal?: AbortSignal): Promise<number> {
  let longest = 0;
  for (const path of paths) {
    let open = 0;
    for await (const chunk of createReadStream(path, {
      highWaterMark: 1 << 20,
      signal,
    }) as AsyncIterable<Buffer>) {
      let start = 0;
      for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
        longest = Math.max(longest, open + end + 1 - start);
        open = 0;
        start = end + 1;
      }
      open += chunk.length - start;
    }
    longest = Math.max(longest, open);
  }
  return longest;
}

const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);

/** Whether a file begins with the mark of a byte order, which the reader takes away though it is text. */
export async function beginsWithMark(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer } = await file.read(Buffer.alloc(3), 0, 3, 0);
    return buffer.equals(byteOrderMark);
  } finally {
    await file.close();
  }
}

/**
 * Copies a file so that the reader loses nothing of it. A second, empty column on every line: lines in which nothing
 * stands are left out. A mark of a byte order before everything: the first one is taken away.
 */
export async function guardFile(
  from: string,
  to: string,
  guards: { isWidened: boolean; isMarked: boolean },
  signal?: AbortSignal,
): Promise<void> {
  const guard = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      // A newline byte is never part of another character in UTF-8, and latin1 keeps every byte.
      const wide = () => Buffer.from(chunk.toString('latin1').replaceAll('\n', '\t\n'), 'latin1');
      done(null, guards.isWidened ? wide() : chunk);
    },
  });
  if (guards.isMarked) guard.push(byteOrderMark);
  await pipeline(createReadStream(from), guard, createWriteStream(to), { signal });
}
