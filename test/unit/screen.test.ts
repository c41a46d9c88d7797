// What fits on a terminal that is watched.
import { expect, it } from 'vitest';
import { fitFrame } from '../../src/output/screen.ts';

const cutLine = '… the window is too small for the rest';
const lines = (count: number, name: string) => Array.from({ length: count }, (_, at) => `${name} ${at}`);
const fit = (table: number, tail: string[], rows: number) =>
  fitFrame({ head: ['time'], table: lines(table, 'row'), tail }, { rows, columns: 80 });

it('shows all of a frame that fits', () => {
  expect(fit(8, ['note'], 11)).toEqual({ head: ['time'], table: lines(8, 'row'), tail: ['note'] });
});

it('leaves out the end of the table, and keeps what stands after it', () => {
  const frame = fit(9, ['note'], 11);
  expect(frame.table).toEqual([...lines(7, 'row'), cutLine]);
  expect(frame.tail).toEqual(['note']);
});

it('counts a line as high as the terminal wraps it', () => {
  expect(fit(20, ['x'.repeat(81)], 11).table).toHaveLength(7);
});

it('leaves the table half of the screen', () => {
  const frame = fit(20, lines(20, 'note'), 12);
  expect(frame.tail).toEqual(lines(5, 'note'));
  expect(frame.table).toHaveLength(5);
});

it('does without a screen that is no higher than its head', () => {
  expect(fit(3, ['note'], 1)).toMatchObject({ head: ['time'], table: [cutLine] });
});
