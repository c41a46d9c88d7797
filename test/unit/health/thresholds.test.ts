// What checks are judged by, from the defaults and the configuration.
import { describe, expect, it } from 'vitest';
import { matches } from '../../../src/config/pattern.ts';
import type { Thresholds } from '../../../src/health/check.ts';
import {
  boundsOf,
  floorOf,
  humanValue,
  judgeValue,
  parseBound,
  readBounds,
} from '../../../src/health/thresholds.ts';

const share: Thresholds = { unit: 'percent', worse: 'above', warn: 80, crit: 90 };
const hits: Thresholds = { unit: 'percent', worse: 'below', warn: 90, crit: 80 };
const read = (thresholds: Thresholds | undefined, written: Parameters<typeof readBounds>[1]) =>
  readBounds({ id: 'group.check', ...(thresholds === undefined ? {} : { thresholds }) }, written);
const messages = (thresholds: Thresholds | undefined, written: Parameters<typeof readBounds>[1]) =>
  read(thresholds, written).problems.map(({ path, message }) => `${path.join('.')} ${message}`);

it.each([
  [80, 'percent', 80],
  ['80', 'percent', 80],
  ['80 %', 'percent', 80],
  ['80.5%', 'percent', 80.5],
  ['10 GB', 'bytes', 10 * 2 ** 30],
  ['30 min', 'seconds', 1800],
  ['2 days', 'days', 2],
  ['36 h', 'days', 1.5],
  [0, 'count', 0],
  [-1, 'count', undefined],
  [Number.NaN, 'count', undefined],
  ['10 GB', 'count', undefined],
  ['10 GB', 'percent', undefined],
  ['80 %', 'bytes', undefined],
  ['soon', 'seconds', undefined],
  ['', 'count', undefined],
] as const)('reads %j in %s as %s', (value, unit, expected) => {
  expect(parseBound(value, unit)).toBe(expected);
});

it.each([
  [82.04, 'percent', '82 %'],
  [10 * 2 ** 30, 'bytes', '10.0 GB'],
  [1800, 'seconds', '30 min'],
  [1.5, 'days', '36 h'],
  [30, 'days', '30 days'],
  [1204, 'count', '1,204'],
] as const)('says %s in %s as %s', (value, unit, text) => {
  expect(humanValue(value, unit)).toBe(text);
});

describe('the configuration', () => {
  it('leaves what it does not name', () => {
    expect(read(share, undefined)).toEqual({ bounds: { general: share, objects: [] }, problems: [] });
    expect(read(share, { warn: '70 %', objects: {} }).bounds.general).toEqual({ ...share, warn: 70 });
    expect(read(share, { crit: 'never', objects: {} }).bounds.general).toEqual({ ...share, crit: null });
  });

  it('makes a warning of it where only the warning was moved beyond critical', () => {
    expect(read(share, { warn: 95, objects: {} })).toEqual({
      bounds: { general: { ...share, warn: 95, crit: null }, objects: [] },
      problems: [],
    });
  });

  it('is refused where it makes no sense, with its place', () => {
    expect(messages(share, { warn: 90, crit: 80, objects: {} })).toEqual([
      'health.thresholds.group.check.crit must be at least warn, which is 90 %, not 80 %',
    ]);
    expect(messages(hits, { warn: 80, crit: 90, objects: {} })).toEqual([
      'health.thresholds.group.check.crit must be at most warn, which is 80 %, not 90 %',
    ]);
    expect(messages(share, { warn: '10 GB', objects: { 'a*': { crit: 'soon' } } })).toEqual([
      'health.thresholds.group.check.warn must be a share such as 80 or "80 %", not "10 GB"',
      'health.thresholds.group.check.objects.a*.crit must be a share such as 80 or "80 %", not "soon"',
    ]);
    expect(messages(undefined, { warn: 1, objects: {} })).toEqual([
      'health.thresholds.group.check has no thresholds: it says yes or no',
    ]);
  });

  it('has objects of their own, of which the first that fits counts', () => {
    const { bounds } = read(share, {
      objects: { 'public.log': { ignore: true }, 'public.*': { warn: 50 }, '*': { warn: 60 } },
    });
    expect(boundsOf(bounds, 'public.log')).toBeUndefined();
    expect(boundsOf(bounds, 'public.orders')).toEqual({ ...share, warn: 50 });
    expect(boundsOf(bounds, 'other.orders')).toEqual({ ...share, warn: 60 });
    expect(boundsOf(bounds, null)).toEqual(share);
    expect(floorOf(bounds)).toBe(50);
    expect(boundsOf(read(undefined, undefined).bounds, 'x')).toBeNull();
  });
});

it.each([
  ['public.a', 'public.a', true],
  ['public.a', 'publicxa', false],
  ['public.*', 'public.a', true],
  ['*', '', true],
  ['a*b*c', 'a1b2c', true],
  ['a*b*c', 'a1b2', false],
  ['a(b', 'a(b', true],
])('the pattern %s and the name %s: %s', (pattern, name, fits) => {
  expect(matches(pattern, name)).toBe(fits);
});

it('judges at the bound, not beyond it', () => {
  expect([79.9, 80, 89.9, 90].map((value) => judgeValue(value, share))).toEqual([
    'ok',
    'warn',
    'warn',
    'crit',
  ]);
  expect([90.1, 90, 80.1, 80].map((value) => judgeValue(value, hits))).toEqual([
    'ok',
    'warn',
    'warn',
    'crit',
  ]);
  expect(judgeValue(100, { ...share, crit: null })).toBe('warn');
});
