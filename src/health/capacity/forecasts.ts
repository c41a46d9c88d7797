import type { Db } from '../../pg/connection.ts';
import { listSamples, sampleKinds, type SampleKind } from '../../sql/samples.ts';
import { findStateVersion } from '../../sql/state.ts';
import { forecast, type Forecast, type Point } from './forecast.ts';

/** The version of the state schema that has samples. */
export const sampleVersion = 4;

export interface ObjectForecast extends Forecast {
  kind: SampleKind;
  object: string;
  /** When it was last sampled. */
  sampledAt: Date;
  /** When its bound is likely reached; null where no end is in sight. */
  reachedAt: Date | null;
}

/** What to forecast. */
interface Question {
  schema: string;
  now: Date;
  /** How far back samples count. */
  days: number;
  kinds: readonly SampleKind[];
  /** Samples below this share of their bound do not count. */
  leastShare?: number;
}

/** Forecasts of all that was sampled: what ends first comes first, then what grows most within its kind. */
export async function listForecasts(
  db: Db,
  { schema, now, days, kinds, leastShare = 0 }: Question,
): Promise<ObjectForecast[]> {
  if ((await findStateVersion(db, schema)) < sampleVersion) return [];
  const since = new Date(now.getTime() - days * 86_400_000);
  const series = new Map<string, { kind: SampleKind; object: string; points: Point[] }>();
  for (const { kind, object, takenAt, value, bound } of await listSamples(db, schema, {
    since,
    kinds,
    leastShare,
  })) {
    const key = `${kind} ${object}`;
    const known = series.get(key) ?? { kind, object, points: [] };
    known.points.push({ at: takenAt, value, bound });
    series.set(key, known);
  }
  return [...series.values()].map(forecastOf).sort(byUrgency);
}

function forecastOf({
  kind,
  object,
  points,
}: {
  kind: SampleKind;
  object: string;
  points: Point[];
}): ObjectForecast {
  const made = forecast(kind === 'multixact' ? unwrapped(points) : points);
  const last = points.at(-1)?.at.getTime() ?? 0;
  const sampledAt = new Date(last);
  const end = made.daysUntil === null ? Infinity : last + made.daysUntil.likely * 86_400_000;
  // A date has its limits, and so has a forecast: beyond a century there is no end in sight.
  const isInSight = end - last < 100 * 366 * 86_400_000;
  return { kind, object, ...made, sampledAt, reachedAt: isInSight ? new Date(end) : null };
}

/** Multixact ids begin anew at 2^32: a fall by more than half of that is no fall. */
function unwrapped(points: Point[]): Point[] {
  let turns = 0;
  return points.map(({ at, value, bound }, index) => {
    if (value < (points[index - 1]?.value ?? 0) - 2 ** 31) turns += 1;
    const ahead = turns * 2 ** 32;
    return { at, value: value + ahead, bound: bound === null ? null : bound + ahead };
  });
}

function byUrgency(a: ObjectForecast, b: ObjectForecast): number {
  const end = (item: ObjectForecast) => item.daysUntil?.likely ?? Infinity;
  if (end(a) !== end(b)) return end(a) - end(b);
  return (
    sampleKinds.indexOf(a.kind) - sampleKinds.indexOf(b.kind) ||
    (b.perDay?.likely ?? 0) - (a.perDay?.likely ?? 0) ||
    b.value - a.value
  );
}
