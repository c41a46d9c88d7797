import Table from 'cli-table3';
import { paint } from './style.ts';

export interface Column<Row> {
  title: string;
  value: (row: Row) => string;
  align?: 'left' | 'right';
}

/** A plain table: borders on a terminal, otherwise columns separated by two spaces that cut and awk can read. */
export function renderTable<Row>(rows: Row[], columns: Column<Row>[]): string {
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
  const table = new Table({
    head: columns.map((column) => paint('bold', column.title)),
    colAligns: columns.map((column) => column.align ?? 'left'),
    style: {
      head: [],
      border: [],
      compact: true,
      ...(border ? {} : { 'padding-left': 0, 'padding-right': 0 }),
    },
    ...(border ? {} : { chars: none }),
  });
  for (const row of rows) table.push(columns.map((column) => column.value(row)));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}
