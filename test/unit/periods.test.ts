import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { gridOf, isOnGrid, periodAt, periodsIn, toInstant, toWall } from '../../src/partition/model/grid.ts';
import { codecOf, type Point } from '../../src/partition/model/key.ts';
import { defaultNaming, inferNaming, maxNameBytes, partitionName } from '../../src/partition/model/naming.ts';
import { utc, zoneOf } from '../../src/partition/model/zone.ts';
import { awkwardDays, awkwardZones, calendarIntervals } from '../support/periods.ts';

const dayMicros = 86_400_000_000n;
const timestamptz = codecOf('timestamptz', 'day', undefined, 'test');
const zones = fc.constantFrom(...awkwardZones);
const intervals = fc.constantFrom(...calendarIntervals);

/** Half of the points lie within two days of a date at which some calendar breaks. */
const points: fc.Arbitrary<Point> = fc.oneof(
  fc
    .tuple(fc.constantFrom(...awkwardDays), fc.bigInt(-2n * dayMicros, 2n * dayMicros))
    .map(([day, shift]) => BigInt(Date.parse(day)) * 1000n + shift),
  fc.bigInt(BigInt(Date.UTC(1971, 0)) * 1000n, BigInt(Date.UTC(2090, 0)) * 1000n),
);

describe('periods of a grid', () => {
  it('contain their point and follow each other without gap or overlap', () => {
    fc.assert(
      fc.property(zones, intervals, points, (zone, interval, point) => {
        const grid = gridOf(interval, timestamptz, zoneOf(zone));
        const index = grid.index(point);
        const { from, to } = periodAt(grid, point);
        expect(from <= point && point < to).toBe(true);
        expect(from).toBe(grid.start(index));
        expect(to).toBe(grid.start(index + 1n));
        expect(grid.start(index + 1n) >= from).toBe(true);
        // The last instant before the end is in the same period, the end itself in the next.
        expect(grid.index(to - 1n)).toBe(index);
        expect(grid.index(to) > index).toBe(true);
        expect(periodsIn(grid, { from, to })).toBe(grid.index(to) - index);
      }),
      { numRuns: 3000 },
    );
  });

  it('have starts that index() finds again, apart from days that a zone leaves out', () => {
    fc.assert(
      fc.property(zones, intervals, points, (zone, interval, point) => {
        const grid = gridOf(interval, timestamptz, zoneOf(zone));
        const index = grid.index(point);
        expect(grid.index(grid.start(index))).toBe(index);
        expect(isOnGrid(grid, grid.start(index))).toBe(true);
        expect(isOnGrid(grid, grid.start(index) + 1n)).toBe(false);
      }),
      { numRuns: 3000 },
    );
  });

  it('begin where they did when they are counted from another bound of the same calendar', () => {
    const anchored = fc.constantFrom('hour' as const, 'day' as const, 'week' as const);
    fc.assert(
      fc.property(anchored, points, points, (interval, anchorPoint, point) => {
        const nominal = gridOf(interval, timestamptz, utc);
        const anchor = nominal.start(nominal.index(anchorPoint));
        expect(periodAt(gridOf(interval, timestamptz, utc, anchor), point)).toEqual(periodAt(nominal, point));
      }),
    );
  });

  it('follow an anchor beside the calendar: weeks from Thursday, days from nine', () => {
    const at = (text: string) => BigInt(Date.parse(text)) * 1000n;
    const weeks = gridOf('week', timestamptz, utc, at('1970-01-01T00:00:00Z'));
    expect(weeks.isNominal).toBe(false);
    expect(periodAt(weeks, at('2026-11-21T12:00:00Z'))).toEqual({
      from: at('2026-11-19T00:00:00Z'),
      to: at('2026-11-26T00:00:00Z'),
    });
    const days = gridOf('day', timestamptz, utc, at('2026-11-20T09:00:00Z'));
    expect(periodAt(days, at('2026-11-21T08:59:59Z')).from).toBe(at('2026-11-20T09:00:00Z'));
    expect(periodAt(days, at('2026-11-21T09:00:00Z')).from).toBe(at('2026-11-21T09:00:00Z'));
  });

  it('of ids are even, whatever the anchor', () => {
    const ids = codecOf('int8', 10, undefined, 'test');
    const size = fc.integer({ min: 1, max: 1_000_000_000 });
    const id = fc.bigInt(-(2n ** 62n), 2n ** 62n);
    fc.assert(
      fc.property(size, id, id, (interval, anchor, point) => {
        const { from, to } = periodAt(gridOf(interval, ids, utc, anchor), point);
        expect(from <= point && point < to).toBe(true);
        expect(to - from).toBe(BigInt(interval));
        expect((from - anchor) % BigInt(interval)).toBe(0n);
      }),
    );
  });
});

describe('wall-clock time', () => {
  it('comes back from its instant, but for the second of two that show the same', () => {
    fc.assert(
      fc.property(zones, points, (name, point) => {
        const zone = zoneOf(name);
        const back = toInstant(zone, toWall(zone, point));
        if (back !== point) {
          // A fall-back shows this wall-clock time twice; PostgreSQL takes the later one.
          expect(toWall(zone, back)).toBe(toWall(zone, point));
          expect(back > point).toBe(true);
          expect(zone.isRepeated(Number(back / 1000n))).toBe(true);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe('names', () => {
  const table = fc
    .oneof(
      fc.string({ minLength: 1, maxLength: 80, unit: 'grapheme' }),
      fc.string({
        minLength: 1,
        maxLength: 63,
        unit: fc.constantFrom('주', '문', '이', '력', 'a', '_', '"', ';', '$'),
      }),
    )
    .filter((name) => !name.includes('\0'))
    .map((name) => ({ schema: 'public', name }));

  it('are unique in a run of periods, at most 63 bytes, whole characters, and always the same', () => {
    fc.assert(
      fc.property(zones, intervals, points, table, (zoneName, interval, point, root) => {
        const zone = zoneOf(zoneName);
        const grid = gridOf(interval, timestamptz, zone);
        const first = grid.index(point);
        const starts = Array.from({ length: 60 }, (_, index) => grid.start(first + BigInt(index) - 30n));
        const distinct = [...new Set(starts)];
        const nameOf = (from: Point) => partitionName(defaultNaming(interval), root, timestamptz, zone, from);
        const names = distinct.map(nameOf);
        expect(new Set(names).size).toBe(distinct.length);
        for (const name of names) {
          expect(Buffer.byteLength(name)).toBeLessThanOrEqual(maxNameBytes);
          expect(Buffer.from(name, 'utf8').toString('utf8')).toBe(name);
        }
        expect(distinct.map(nameOf)).toEqual(names);
      }),
      { numRuns: 400 },
    );
  });

  it.each([
    ['America/New_York', '2026-11-01T04:00:00Z'],
    ['Australia/Lord_Howe', '2026-04-04T12:00:00Z'],
    ['America/Havana', '2026-11-01T03:00:00Z'],
  ])('tell the hours that a fall-back repeats in %s apart, also by {from}', (zoneName, start) => {
    const zone = zoneOf(zoneName);
    const grid = gridOf('hour', timestamptz, zone);
    const first = grid.index(BigInt(Date.parse(start)) * 1000n);
    for (const template of [defaultNaming('hour'), '{table}_{from}']) {
      const names = Array.from({ length: 6 }, (_, index) =>
        partitionName(
          template,
          { schema: 'public', name: 't' },
          timestamptz,
          zone,
          grid.start(first + BigInt(index)),
        ),
      );
      expect(new Set(names).size).toBe(6);
    }
  });

  it('stay within 63 bytes when the table stands twice in the template', () => {
    const name = partitionName(
      '{table}_{table}_{yyyy}{mm}',
      { schema: 'public', name: 'x'.repeat(60) },
      timestamptz,
      utc,
      0n,
    );
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(maxNameBytes);
  });

  it('number ISO weeks as PostgreSQL does at the turn of years with 52 and 53 weeks', () => {
    const weekName = (day: string) =>
      partitionName(
        '{iyyy}-{iw}',
        { schema: 's', name: 't' },
        timestamptz,
        utc,
        BigInt(Date.parse(day)) * 1000n,
      );
    expect(weekName('2026-12-28')).toBe('2026-53');
    expect(weekName('2027-01-04')).toBe('2027-01');
    expect(weekName('2020-12-28')).toBe('2020-53');
    expect(weekName('2018-12-31')).toBe('2019-01');
    expect(weekName('2016-01-03')).toBe('2015-53');
  });
});

describe('inferNaming', () => {
  const templates = {
    hour: ['{table}_y{yyyy}m{mm}d{dd}h{hh}', '{table}_{yyyy}{mm}{dd}{hh}', 'part_{yyyy}_{mm}_{dd}_{hh}'],
    day: [
      '{table}_y{yyyy}m{mm}d{dd}',
      '{table}_{yyyy}_{mm}_{dd}',
      '{table}{yyyy}{mm}{dd}',
      '{table}_p{yyyy}{mm}{dd}',
    ],
    week: ['{table}_y{iyyy}w{iw}', '{table}_{yyyy}_{mm}_{dd}', 'w_{iyyy}_{iw}'],
    month: ['{table}_y{yyyy}m{mm}', '{table}_{yyyy}_{mm}', '{table}{yyyy}{mm}', 'm{yyyy}_{mm}_{table}'],
    quarter: ['{table}_y{yyyy}q{q}', '{table}_{yyyy}_q{q}', '{table}_{yyyy}_{mm}'],
    year: ['{table}_y{yyyy}', '{table}_{yyyy}', 'years_{yyyy}'],
  };

  it('finds a template that names these periods, and the ones that follow, as they were named', () => {
    const choice = intervals.chain((interval) =>
      fc.tuple(fc.constant(interval), fc.constantFrom(...templates[interval])),
    );
    const root = { schema: 'public', name: 'orders' };
    const zoneNames = fc.constantFrom('UTC', 'Asia/Seoul', 'America/New_York');
    fc.assert(
      fc.property(
        zoneNames,
        choice,
        points,
        fc.integer({ min: 2, max: 14 }),
        (zoneName, pick, point, count) => {
          const [interval, template] = pick;
          const zone = zoneOf(zoneName);
          const grid = gridOf(interval, timestamptz, zone);
          const first = grid.index(point);
          const sample = (index: number) => {
            const from = grid.start(first + BigInt(index));
            return { from, name: partitionName(template, root, timestamptz, zone, from) };
          };
          const samples = Array.from({ length: count }, (_, index) => sample(index));
          const found = inferNaming(root, timestamptz, zone, interval, samples);
          expect(found).toBeDefined();
          for (let index = -3; index < count + 8; index += 1) {
            const { from, name } = sample(index);
            expect(partitionName(found ?? '', root, timestamptz, zone, from)).toBe(name);
          }
        },
      ),
      { numRuns: 1500 },
    );
  });

  it('reads ids, and one month alone as a month', () => {
    const ids = codecOf('int8', 1000, undefined, 'test');
    const root = { schema: 'public', name: 'orders' };
    const samples = [0n, 1000n, 2000n].map((from) => ({ from, name: `orders_p${String(from)}` }));
    expect(inferNaming(root, ids, utc, 1000, samples)).toBe('{table}_p{from}');
    const january = { from: BigInt(Date.UTC(2026, 0)) * 1000n, name: 'orders_2026_01' };
    expect(inferNaming(root, timestamptz, utc, 'quarter', [january])).toBe('{table}_{yyyy}_{mm}');
  });

  it('says nothing where no template explains the names', () => {
    const root = { schema: 'public', name: 'orders' };
    expect(inferNaming(root, timestamptz, utc, 'month', [{ from: 0n, name: 'orders_old' }])).toBeUndefined();
  });
});
