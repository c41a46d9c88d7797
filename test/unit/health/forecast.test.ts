import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { forecast, theilSen, type Point } from '../../../src/health/capacity/forecast.ts';

const start = Date.parse('2026-10-01T03:00:00Z');
const series = (values: number[], bound: number | null = null): Point[] =>
  values.map((value, day) => ({ at: new Date(start + day * 86_400_000), value, bound }));
const line = (days: number, slope: number, from = 1000) =>
  Array.from({ length: days }, (_, day) => from + slope * day);

describe('forecast', () => {
  it('says that it is too young below seven days, and below four samples', () => {
    expect(forecast(series(line(7, 5), 2000))).toMatchObject({
      trend: 'too young',
      perDay: null,
      daysUntil: null,
      spanDays: 6,
    });
    expect(forecast(series(line(8, 5), 2000)).trend).toBe('growing');
    const few = series(line(30, 5)).filter((_, day) => [0, 15, 29].includes(day));
    expect(forecast(few)).toMatchObject({ trend: 'too young', samples: 3 });
  });

  it('says when a bound is reached, and 0 when it already is', () => {
    expect(forecast(series(line(15, 10), 2140))).toMatchObject({
      trend: 'growing',
      value: 1140,
      perDay: { likely: 10, low: 10, high: 10 },
      daysUntil: { likely: 100, low: 100, high: 100 },
    });
    expect(forecast(series(line(15, 10), 1100)).daysUntil).toEqual({ likely: 0, low: 0, high: 0 });
    expect(forecast(series(line(15, 10))).daysUntil).toBeNull();
  });

  it('answers "none" to what stands still or only wavers, and "shrinking" to what shrinks', () => {
    expect(forecast(series(Array<number>(20).fill(7), 100))).toMatchObject({
      trend: 'none',
      daysUntil: null,
    });
    expect(
      forecast(
        series(
          Array.from({ length: 20 }, (_, day) => (day % 2 === 0 ? 10 : 12)),
          100,
        ),
      ).trend,
    ).toBe('none');
    expect(forecast(series(line(20, -3), 5000))).toMatchObject({ trend: 'shrinking', daysUntil: null });
  });

  it('counts days, not samples: gaps, two on a day and one sample more do not bend a line', () => {
    const points = series(line(40, 10), 2000).filter((_, day) => ![3, 4, 5, 6, 7, 20, 21, 30].includes(day));
    const twice = { ...points[9]!, at: points[9]!.at };
    expect(forecast([...points.slice(0, 10), twice, ...points.slice(10)])).toMatchObject({
      trend: 'growing',
      spanDays: 39,
      perDay: { likely: 10, low: 10, high: 10 },
      daysUntil: { likely: 61, low: 61, high: 61 },
    });
    expect(forecast(points.slice(0, 1))).toMatchObject({ trend: 'too young', samples: 1, spanDays: 0 });
  });

  it('has the range of a worked example: slopes and places in their order', () => {
    // Ten days, 45 slopes: places (45 -+ 1.645 * sqrt(10 * 9 * 25 / 18)) / 2 are 13.3 and 31.7, as Gilbert 16.5 has it.
    const values = [10, 15, 14, 20, 19, 23, 32, 28, 35, 36];
    const slopes = values
      .flatMap((one, at) => values.slice(at + 1).map((other, gap) => (other - one) / (gap + 1)))
      .sort((a, b) => a - b);
    const spread = 1.645 * Math.sqrt((10 * 9 * 25) / 18);
    const between = (place: number) => {
      const share = place - Math.floor(place);
      return slopes[Math.floor(place)]! * (1 - share) + slopes[Math.ceil(place)]! * share;
    };
    const { likely, low, high } = theilSen(series(values));
    expect(slopes).toHaveLength(45);
    expect(likely).toBe(slopes[22]);
    // The first of a list of slopes is the one of place 1.
    expect(low).toBeCloseTo(between((45 - spread) / 2 - 1), 10);
    expect(high).toBeCloseTo(between((45 + spread) / 2 + 1 - 1), 10);
    expect([low, likely, high].map((value) => value > 2 && value < 4)).toEqual([true, true, true]);
  });

  it('is not led astray by one clean-up or one bulk load', () => {
    const values = line(30, 10);
    values[12] = 1_000_000;
    values[20] = 0;
    expect(forecast(series(values)).perDay?.likely).toBeCloseTo(10, 5);
  });

  const slopes = fc.double({ min: -1e6, max: 1e6, noNaN: true });
  const noisy = fc.record({
    slope: slopes,
    noise: fc.array(fc.double({ min: -100, max: 100, noNaN: true }), { minLength: 8, maxLength: 60 }),
  });

  it('has its likely value within its range, and finds any line', () => {
    fc.assert(
      fc.property(noisy, ({ slope, noise }) => {
        const { likely, low, high } = theilSen(series(noise.map((error, day) => slope * day + error)));
        expect(low).toBeLessThanOrEqual(likely);
        expect(likely).toBeLessThanOrEqual(high);
        // No pair of neighbours is further off than twice the noise a day.
        expect(Math.abs(likely - slope)).toBeLessThanOrEqual(200 + Math.abs(slope) * 1e-6);
      }),
    );
  });

  it('depends neither on the level nor on the unit', () => {
    fc.assert(
      fc.property(noisy, fc.integer({ min: -1000, max: 1000 }), ({ slope, noise }, level) => {
        const values = noise.map((error, day) => slope * day + error);
        const plain = theilSen(series(values));
        const other = theilSen(series(values.map((value) => 2 * value + level)));
        const near = 1e-6 * (1 + Math.abs(slope));
        for (const key of ['likely', 'low', 'high'] as const)
          expect(Math.abs(other[key] - 2 * plain[key])).toBeLessThanOrEqual(near + 1e-3);
      }),
    );
  });

  it('never promises an end that is before the earliest or after the latest', () => {
    fc.assert(
      fc.property(noisy, fc.integer({ min: 1, max: 1e9 }), ({ slope, noise }, room) => {
        const values = noise.map((error, day) => slope * day + error);
        const { daysUntil } = forecast(series(values, (values.at(-1) ?? 0) + room));
        if (daysUntil === null) return;
        expect(daysUntil.low).toBeLessThanOrEqual(daysUntil.likely);
        expect(daysUntil.likely).toBeLessThanOrEqual(daysUntil.high ?? Infinity);
      }),
    );
  });
});
