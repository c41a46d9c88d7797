/** A span as people write it: months and years have no fixed length, so they stay apart from the seconds. */
export interface Duration {
  months: number;
  seconds: number;
}

const units: Record<string, Duration> = {
  ms: { months: 0, seconds: 0.001 },
  s: { months: 0, seconds: 1 },
  second: { months: 0, seconds: 1 },
  min: { months: 0, seconds: 60 },
  minute: { months: 0, seconds: 60 },
  h: { months: 0, seconds: 3600 },
  hour: { months: 0, seconds: 3600 },
  d: { months: 0, seconds: 86_400 },
  day: { months: 0, seconds: 86_400 },
  week: { months: 0, seconds: 604_800 },
  month: { months: 1, seconds: 0 },
  quarter: { months: 3, seconds: 0 },
  year: { months: 12, seconds: 0 },
};

export const durationPattern =
  '^\\s*\\d+(\\.\\d+)?\\s*(ms|s|seconds?|min|minutes?|h|hours?|d|days?|weeks?|months?|quarters?|years?)\\s*$';

/** Reads "90 days", "2 years", "30s", "2 min". Undefined when it is none of these. */
export function parseDuration(text: string): Duration | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*$/i.exec(text);
  if (match === null) return undefined;
  const count = Number(match[1]);
  const name = (match[2] ?? '').toLowerCase();
  const key = Object.hasOwn(units, name) ? name : name.replace(/s$/, '');
  const unit = Object.hasOwn(units, key) ? units[key] : undefined;
  if (unit === undefined) return undefined;
  if (unit.months > 0 && !Number.isInteger(count)) return undefined;
  return { months: unit.months * count, seconds: unit.seconds * count };
}

/** Milliseconds of a duration that has no months; a month counts as 30 days where only the size matters. */
export function durationMs(duration: Duration): number {
  return Math.round((duration.months * 30 * 86_400 + duration.seconds) * 1000);
}

/** The duration for people: "2 years", "90 days", "30 s". */
export function formatDuration(duration: Duration): string {
  const { months, seconds } = duration;
  if (months > 0 && seconds === 0) {
    return months % 12 === 0 ? plural(months / 12, 'year') : plural(months, 'month');
  }
  if (months > 0) return `${plural(months, 'month')} ${String(seconds)} s`;
  if (seconds > 0 && seconds % 86_400 === 0) return plural(seconds / 86_400, 'day');
  if (seconds > 0 && seconds % 3600 === 0) return plural(seconds / 3600, 'hour');
  return seconds < 1 ? `${String(Math.round(seconds * 1000))} ms` : `${String(seconds)} s`;
}

function plural(count: number, unit: string): string {
  return `${String(count)} ${unit}${count === 1 ? '' : 's'}`;
}
