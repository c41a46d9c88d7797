// How numbers are written for people.
import { expect, it } from 'vitest';
import { humanCount } from '../../src/output/human.ts';

it('writes counts as the locale of English does', () => {
  const counts = [
    0,
    7,
    999,
    1000,
    12_345,
    123_456,
    1_234_567,
    -999,
    -1000,
    -123_456,
    999.6,
    2 ** 53,
    2 ** 63,
  ];
  expect(counts.map(humanCount)).toEqual(counts.map((count) => Math.round(count).toLocaleString('en-US')));
});
