import { stripVTControlCharacters } from 'node:util';
import { writeStdout } from './stdout.ts';
import { displayWidth } from './table.ts';

/** What a screen shows: a table, whose end is left out where it does not fit, and the lines before and after it. */
export interface Frame {
  head: string[];
  table: string[];
  tail: string[];
}

/**
 * The lines of a frame that fit on a terminal. What stands after the table is kept as long as the table has half of the
 * screen, since it says what the table means. Pure.
 */
export function fitFrame({ head, table, tail }: Frame, size: { rows: number; columns: number }): Frame {
  const heightOf = (lines: string[]) =>
    lines.reduce((sum, line) => {
      const width = displayWidth(stripVTControlCharacters(line));
      return sum + Math.max(1, Math.ceil(width / size.columns));
    }, 0);
  // The cursor stands on a line of its own.
  const room = Math.max(1, size.rows - 1 - heightOf(head));
  const kept = [...tail];
  while (kept.length > 0 && table.length + heightOf(kept) > room && heightOf(kept) > room / 2) kept.pop();
  const lines = room - heightOf(kept);
  const cut =
    table.length <= lines
      ? table
      : [...table.slice(0, Math.max(0, lines - 1)), '… the window is too small for the rest'];
  return { head, table: cut, tail: kept };
}

/** Shows one frame after another: on a terminal each in place of the last, elsewhere each after the last. */
export class Screen {
  #isFirst = true;

  async show(frame: Frame): Promise<void> {
    const { isTTY, rows, columns } = process.stdout;
    if (!isTTY) {
      await writeStdout(`${[...frame.head, ...frame.table, ...frame.tail].join('\n')}\n\n`);
      return;
    }
    const { head, table, tail } = fitFrame(frame, { rows: rows || 24, columns: columns || 80 });
    const ends = (line: string) => `${line}\u001b[K\n`;
    // Lines of the table end with the window; what was on the screen before stays within reach above it.
    const text = [
      this.#isFirst ? '\n'.repeat(rows || 24) : '',
      '\u001b[H\u001b[?7l',
      ...[...head, ...table].map(ends),
      '\u001b[?7h',
      ...tail.map(ends),
      '\u001b[J',
    ].join('');
    this.#isFirst = false;
    await writeStdout(text);
  }
}
