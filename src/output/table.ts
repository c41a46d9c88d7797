import { stripVTControlCharacters } from 'node:util';
import { paint } from './style.ts';

export interface Column<Row> {
  title: string;
  value: (row: Row) => string;
  align?: 'left' | 'right';
}

/** A plain table: borders on a terminal, otherwise columns separated by two spaces that cut and awk can read. */
export async function renderTable<Row>(rows: Row[], columns: Column<Row>[]): Promise<string> {
  // Loaded when there is something to show: most runs at night have nothing.
  const { default: Table } = await import('cli-table3');
  const border = process.stdout.isTTY;
  const none = {
    top: '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    bottom: '',
    'bottom-mid': '',
    'bottom-left': '',
    'bottom-right': '',
    left: '',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
    right: '',
    'right-mid': '',
    middle: '  ',
  };
  const cells = rows.map((row) => columns.map((column) => column.value(row)));
  const titles = columns.map((column) => column.title);
  const table = new Table({
    head: titles.map((title) => paint('bold', title)),
    colAligns: columns.map((column) => column.align ?? 'left'),
    style: {
      head: [],
      border: [],
      compact: true,
      ...(border ? {} : { 'padding-left': 0, 'padding-right': 0 }),
    },
    ...(border
      ? { colWidths: fitWidths([titles, ...cells], process.stdout.columns), wordWrap: true }
      : { chars: none }),
  });
  table.push(...cells);
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/**
 * Column widths with their padding. Where the terminal is narrower than the table, the widest columns wrap between
 * words; no word is cut, since half a name is no name, and a table that is still too wide runs over.
 */
function fitWidths(lines: string[][], terminalWidth: number | undefined): number[] {
  const measure = (length: (cell: string) => number) =>
    (lines[0] ?? []).map(
      (_, index) => 2 + Math.max(...lines.map((line) => length(stripVTControlCharacters(line[index] ?? '')))),
    );
  const widths = measure(displayWidth);
  const least = measure((cell) => Math.max(...cell.split(' ').map(displayWidth)));
  let excess =
    widths.reduce((sum, width) => sum + width, 0) + widths.length + 1 - (terminalWidth ?? Infinity);
  while (excess > 0) {
    const room = widths.map((width, index) => (width > (least[index] ?? 0) ? width : 0));
    const widest = room.indexOf(Math.max(...room));
    if ((room[widest] ?? 0) === 0) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
    excess -= 1;
  }
  return widths;
}

/** Columns on a terminal: Korean, Chinese and Japanese characters take two. */
export function displayWidth(text: string): number {
  const wide = text.match(
    /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/g,
  );
  return text.length + (wide?.length ?? 0);
}
