/** A figure at a moment. */
export interface Point {
  at: Date;
  value: number;
  bound: number | null;
}

/** Something with a likely value and the range of what is plausible. */
export interface Range {
  likely: number;
  low: number;
  high: number;
}

export interface Forecast {
  /** "too young": no answer yet. "none": it may as well stand still. */
  trend: 'growing' | 'shrinking' | 'none' | 'too young';
  samples: number;
  spanDays: number;
  /** The newest value, and its bound. */
  value: number;
  bound: number | null;
  /** Null while too young. */
  perDay: Range | null;
  /** Days from the newest sample until the bound; high is null where it may never come. Null without a bound or growth. */
  daysUntil: { likely: number; low: number; high: number | null } | null;
}

/** A week has its weekend in it, and four points have six slopes. */
export const leastDays = 7;
export const leastSamples = 4;
/** Of the normal distribution, for a range that holds the true slope in nine of ten cases. */
const z90 = 1.645;
const dayMs = 86_400_000;

/**
 * Where a figure goes: the median of the slopes between all pairs of points, which no clean-up and no bulk load of a day
 * moves far, with Sen's range of 90 % (P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau",
 * 1968; R. O. Gilbert, "Statistical Methods for Environmental Pollution Monitoring", 1987, 16.5). Points are in the
 * order of their time; at least one. Pure.
 */
export function forecast(points: Point[]): Forecast {
  const first = points[0];
  const last = points.at(-1);
  if (first === undefined || last === undefined) throw new Error('a forecast needs a sample');
  const spanDays = (last.at.getTime() - first.at.getTime()) / dayMs;
  const known = { samples: points.length, spanDays, value: last.value, bound: last.bound };
  if (spanDays < leastDays || points.length < leastSamples)
    return { ...known, trend: 'too young', perDay: null, daysUntil: null };
  const perDay = theilSen(points);
  const trend = perDay.low > 0 ? 'growing' : perDay.high < 0 ? 'shrinking' : 'none';
  return { ...known, trend, perDay, daysUntil: trend === 'growing' ? daysUntil(last, perDay) : null };
}

function daysUntil({ value, bound }: Point, perDay: Range): Forecast['daysUntil'] {
  if (bound === null) return null;
  const rest = Math.max(0, bound - value);
  return {
    likely: rest / perDay.likely,
    low: rest / perDay.high,
    high: perDay.low > 0 ? rest / perDay.low : null,
  };
}

/** The slope per day with its range. Pure. */
export function theilSen(points: Point[]): Range {
  const slopes: number[] = [];
  for (const [index, one] of points.entries()) {
    for (const other of points.slice(index + 1)) {
      const days = (other.at.getTime() - one.at.getTime()) / dayMs;
      if (days > 0) slopes.push((other.value - one.value) / days);
    }
  }
  slopes.sort((a, b) => a - b);
  const n = points.length;
  const spread = z90 * Math.sqrt((n * (n - 1) * (2 * n + 5)) / 18);
  return {
    likely: quantile(slopes, (slopes.length - 1) / 2),
    low: quantile(slopes, (slopes.length - spread) / 2 - 1),
    high: quantile(slopes, (slopes.length + spread) / 2),
  };
}

/** The value at a place of a sorted list, between two of them where it is no whole number. */
function quantile(sorted: number[], place: number): number {
  const at = Math.min(Math.max(place, 0), sorted.length - 1);
  const below = sorted[Math.floor(at)] ?? 0;
  const above = sorted[Math.ceil(at)] ?? 0;
  return below + (above - below) * (at - Math.floor(at));
}
