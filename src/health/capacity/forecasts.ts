import type { Db } from '../../pg/connection.ts';
import { listSamples, sampleKinds, type SampleKind } from '../../sql/samples.ts';
import { findStateVersion } from '../../sql/state.ts';
import { forecast, type Forecast, type Point } from './forecast.ts';

/** The version of the state schema that has samples. */
export const sampleVersion = 4;

/** What was not seen for so long while others were is gone: dropped, or no longer among the largest. */
const goneAfterMs = 7 * 86_400_000;

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
  const series = new Map<string, Series>();
  const asked = { since, until: now, kinds, leastShare };
  for (const { kind, object, takenAt, value, bound } of await listSamples(db, schema, asked)) {
    const key = `${kind} ${object}`;
    const known = series.get(key) ?? { kind, object, points: [] };
    known.points.push({ at: takenAt, value, bound });
    series.set(key, known);
  }
  const all = [...series.values()];
  const newest = Math.max(...all.map(({ points }) => timeOf(points)));
  return all
    .filter(({ points }) => newest - timeOf(points) < goneAfterMs)
    .map((item) => forecastOf(item, now))
    .sort(byUrgency);
}

interface Series {
  kind: SampleKind;
  object: string;
  points: Point[];
}

function timeOf(points: Point[]): number {
  return points.at(-1)?.at.getTime() ?? 0;
}

/** Days count from now on, since the newest sample may be old. */
function forecastOf({ kind, object, points }: Series, now: Date): ObjectForecast {
  const made = forecast(counted(kind, points));
  const sampledAt = new Date(timeOf(points));
  const oldDays = Math.max(0, (now.getTime() - sampledAt.getTime()) / 86_400_000);
  const fromNow = (days: number) => Math.max(0, days - oldDays);
  const { daysUntil } = made;
  // A date has its limits, and so has a forecast: beyond a century there is no end in sight.
  const isInSight = daysUntil !== null && daysUntil.likely < 100 * 366;
  return {
    ...{ kind, object, sampledAt },
    ...made,
    daysUntil:
      daysUntil === null
        ? null
        : {
            likely: fromNow(daysUntil.likely),
            low: fromNow(daysUntil.low),
            high: daysUntil.high === null ? null : fromNow(daysUntil.high),
          },
    reachedAt: isInSight ? new Date(sampledAt.getTime() + daysUntil.likely * 86_400_000) : null,
  };
}

/** What only counts up falls when it is set back: what was before says nothing of what comes. */
function counted(kind: SampleKind, points: Point[]): Point[] {
  if (kind === 'multixact') return unwrapped(points);
  if (kind !== 'sequence' && kind !== 'xid') return points;
  const reset = points.findLastIndex(({ value }, index) => value < (points[index - 1]?.value ?? value));
  return points.slice(Math.max(0, reset));
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
