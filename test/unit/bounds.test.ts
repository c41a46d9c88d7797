import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compareRanges,
  contains,
  overlaps,
  parseBound,
  rangeOf,
  type Range,
} from '../../src/partition/model/bounds.ts';
import {
  codecOf,
  formatTime,
  parseTime,
  pointLiteral,
  uuidv7,
  type KeyCodec,
} from '../../src/partition/model/key.ts';

const codecs: [string, KeyCodec, bigint][] = [
  ['date', codecOf('date', 'day', undefined, 't'), 86_400_000_000n],
  ['timestamp', codecOf('timestamp', 'day', undefined, 't'), 1n],
  ['timestamptz', codecOf('timestamptz', 'day', undefined, 't'), 1n],
  ['id', codecOf('int8', 1000, undefined, 't'), 1n],
  ['epoch seconds', codecOf('int8', 'day', 'seconds', 't'), 1_000_000n],
  ['epoch milliseconds', codecOf('int8', 'day', 'milliseconds', 't'), 1000n],
  ['uuidv7', uuidv7(false), 1000n],
  ['uuidv7 with version bits', uuidv7(true), 1000n],
];

describe.each(codecs)('a key of kind %s', (kind, codec, unit) => {
  const least = kind.startsWith('uuid') ? 0n : -62_135_596_800n * 1_000_000n;
  const points = fc
    .bigInt(least / unit + 1n, (250_000_000_000n * 1_000_000n) / unit)
    .map((count) => count * unit);

  it('formats points that it reads back', () => {
    fc.assert(
      fc.property(points, (point) => {
        expect(codec.parse(codec.format(point))).toBe(point);
      }),
      { numRuns: 500 },
    );
  });

  it('reads the bounds that PostgreSQL prints of them', () => {
    fc.assert(
      fc.property(points, points, (from, to) => {
        const quote = (point: bigint) => `'${codec.format(point)}'`;
        const bound = parseBound(`FOR VALUES FROM (${quote(from)}) TO (${quote(to)})`);
        expect(rangeOf(bound, codec)).toEqual({ from, to });
      }),
    );
  });

  it('keeps the order', () => {
    fc.assert(
      fc.property(points, points, (a, b) => {
        if (codec.kind === 'uuidv7') expect(codec.format(a) < codec.format(b)).toBe(a < b);
        expect(compareRanges({ from: a, to: undefined }, { from: b, to: undefined })).toBe(
          a < b ? -1 : a > b ? 1 : 0,
        );
      }),
    );
  });
});

describe('bounds', () => {
  it.each([
    ['DEFAULT', { kind: 'default' }],
    [
      "FOR VALUES FROM (MINVALUE) TO ('2026-01-01')",
      { kind: 'range', from: [{ kind: 'minvalue' }], to: [{ kind: 'value', text: '2026-01-01' }] },
    ],
    [
      "FOR VALUES FROM ('a''b, c)', -5) TO (MAXVALUE, 1.5)",
      {
        kind: 'range',
        from: [
          { kind: 'value', text: "a'b, c)" },
          { kind: 'value', text: '-5' },
        ],
        to: [{ kind: 'maxvalue' }, { kind: 'value', text: '1.5' }],
      },
    ],
    ["FOR VALUES IN ('a', NULL)", { kind: 'other', text: "FOR VALUES IN ('a', NULL)" }],
    [
      'FOR VALUES WITH (modulus 4, remainder 0)',
      { kind: 'other', text: 'FOR VALUES WITH (modulus 4, remainder 0)' },
    ],
  ])('%s is understood', (text, expected) => {
    expect(parseBound(text)).toEqual(expected);
  });

  it('open ends are undefined, values of another kind refuse the whole range', () => {
    const codec = codecOf('timestamptz', 'day', undefined, 't');
    const range = (text: string) => rangeOf(parseBound(text), codec);
    expect(range("FOR VALUES FROM (MINVALUE) TO ('2026-01-01 00:00:00+00')")).toEqual({
      from: undefined,
      to: BigInt(Date.UTC(2026, 0)) * 1000n,
    });
    expect(range("FOR VALUES FROM ('-infinity') TO ('infinity')")).toEqual({
      from: undefined,
      to: undefined,
    });
    expect(range("FOR VALUES FROM ('1') TO ('2')")).toBeUndefined();
    expect(
      range("FOR VALUES FROM ('0044-03-15 00:00:00+00 BC') TO ('2026-01-01 00:00:00+00')"),
    ).toBeUndefined();
  });

  it('overlap exactly when a point lies in both', () => {
    const end = fc.option(fc.bigInt(-5n, 5n), { nil: undefined });
    const ranges: fc.Arbitrary<Range> = fc
      .record({ from: end, to: end })
      .filter(({ from, to }) => from === undefined || to === undefined || from < to);
    fc.assert(
      fc.property(ranges, ranges, (a, b) => {
        const all = Array.from({ length: 15 }, (_, index) => BigInt(index - 7));
        expect(overlaps(a, b)).toBe(all.some((point) => contains(a, point) && contains(b, point)));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('times', () => {
  it('of the first century are not of the twentieth', () => {
    expect(formatTime(parseTime('0001-01-01') ?? 0n)).toBe('0001-01-01 00:00:00');
    expect(formatTime(parseTime('0099-12-31 23:59:59.5') ?? 0n)).toBe('0099-12-31 23:59:59.5');
  });
});

describe('literals', () => {
  it('of numbers stand bare, of anything else in quotes', () => {
    expect(pointLiteral(codecOf('int8', 1000, undefined, 't'), -5n)).toBe('-5');
    expect(pointLiteral(codecOf('date', 'day', undefined, 't'), 0n)).toBe("'1970-01-01'");
  });
});
