import type { WrittenBounds, WrittenThresholds } from '../config/health.ts';
import { durationMs, parseDuration } from '../config/duration.ts';
import { matches } from '../config/pattern.ts';
import { parseSize } from '../config/size.ts';
import { humanBytes, humanCount, humanSeconds } from '../output/human.ts';
import type { Check, Thresholds } from './check.ts';
import type { Severity, Unit } from './finding.ts';

/** What objects of a check are judged by. */
export interface Bounds {
  /** Where no object has its own; undefined for yes-or-no checks. */
  general: Thresholds | undefined;
  /** In the order of the configuration; the first pattern that fits counts. */
  objects: { pattern: string; thresholds: Thresholds | 'ignore' }[];
}

/** Something wrong in the configuration of a check, and where it stands. */
export interface BoundsProblem {
  path: (string | number)[];
  message: string;
}

/** Reads what the configuration says of one check. Wrong bounds come back as problems and keep the default. Pure. */
export function readBounds(
  check: Pick<Check, 'id' | 'thresholds'>,
  written: WrittenThresholds | undefined,
): { bounds: Bounds; problems: BoundsProblem[] } {
  const path = ['health', 'thresholds', check.id];
  const problems: BoundsProblem[] = [];
  const { thresholds } = check;
  if (written === undefined) return { bounds: { general: thresholds, objects: [] }, problems };
  if (thresholds === undefined) {
    const isBounded = [written, ...Object.values(written.objects)].some(
      ({ warn, crit }) => warn !== undefined || crit !== undefined,
    );
    if (isBounded) problems.push({ path, message: 'has no thresholds: it says yes or no' });
  }
  const general = thresholds === undefined ? undefined : withBounds(thresholds, written, path, problems);
  const objects = Object.entries(written.objects).flatMap(([pattern, own]): Bounds['objects'] => {
    if (own.ignore === true) return [{ pattern, thresholds: 'ignore' }];
    if (general === undefined) return [];
    return [{ pattern, thresholds: withBounds(general, own, [...path, 'objects', pattern], problems) }];
  });
  return { bounds: { general, objects }, problems };
}

function withBounds(
  base: Thresholds,
  written: WrittenBounds,
  path: (string | number)[],
  problems: BoundsProblem[],
): Thresholds {
  const read = (name: 'warn' | 'crit'): number | null | undefined => {
    const value = written[name];
    if (value === undefined) return undefined;
    if (name === 'crit' && value === 'never') return null;
    const parsed = parseBound(value, base.unit);
    if (parsed === undefined) problems.push({ path: [...path, name], message: expected(base.unit, value) });
    return parsed;
  };
  const warn = read('warn') ?? base.warn;
  const given = read('crit');
  const crit = given === undefined ? base.crit : given;
  const merged = { ...base, warn, crit };
  if (!isInOrder(merged)) {
    // A warning that was moved beyond the default of critical moves that along; two that were both given must fit.
    if (given === undefined) return { ...merged, crit: null };
    problems.push({
      path: [...path, 'crit'],
      message: `must be ${base.worse === 'above' ? 'at least' : 'at most'} warn, which is ${humanValue(warn, base.unit)}, not ${humanValue(crit ?? 0, base.unit)}`,
    });
    return base;
  }
  return merged;
}

function isInOrder({ warn, crit, worse }: Thresholds): boolean {
  return crit === null || (worse === 'above' ? crit >= warn : crit <= warn);
}

/** A bound in the unit of its check: 80, "80 %", "10 GB", "30 min". Undefined when it is none. Pure. */
export function parseBound(value: number | string, unit: Unit): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value : undefined;
  const text = value.trim();
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  switch (unit) {
    case 'percent': {
      const share = /^(\d+(?:\.\d+)?)\s*%$/.exec(text)?.[1];
      return share === undefined ? undefined : Number(share);
    }
    case 'bytes':
      return parseSize(text);
    case 'seconds':
    case 'days': {
      const duration = parseDuration(text);
      if (duration === undefined) return undefined;
      return durationMs(duration) / 1000 / (unit === 'days' ? 86_400 : 1);
    }
    case 'count':
      return undefined;
  }
}

function expected(unit: Unit, value: unknown): string {
  const forms: Record<Unit, string> = {
    percent: 'a share such as 80 or "80 %"',
    bytes: 'a size such as "10 GB"',
    seconds: 'a duration such as "30 min"',
    days: 'a duration such as "2 days"',
    count: 'a number that is not negative',
  };
  return `must be ${forms[unit]}, not ${JSON.stringify(value)}`;
}

/** A value for people: "82 %", "10.0 GB", "30 min", "1,204". Pure. */
export function humanValue(value: number, unit: Unit): string {
  switch (unit) {
    case 'percent':
      return `${String(Math.round(value * 10) / 10)} %`;
    case 'bytes':
      return humanBytes(value);
    case 'seconds':
      return humanSeconds(value);
    case 'days':
      return value < 3 ? humanSeconds(value * 86_400) : `${humanCount(value)} days`;
    case 'count':
      return humanCount(value);
  }
}

/** The thresholds of one object; undefined when it is to be ignored, null when there are none. Pure. */
export function boundsOf(bounds: Bounds, object: string | null): Thresholds | null | undefined {
  const own = object === null ? undefined : bounds.objects.find(({ pattern }) => matches(pattern, object));
  if (own?.thresholds === 'ignore') return undefined;
  return own?.thresholds ?? bounds.general ?? null;
}

/** The mildest threshold of any object. Pure. */
export function floorOf({ general, objects }: Bounds): number {
  if (general === undefined) return 0;
  const all = [
    general,
    ...objects.flatMap((item) => (item.thresholds === 'ignore' ? [] : [item.thresholds])),
  ];
  const warns = all.map((item) => item.warn);
  return general.worse === 'above' ? Math.min(...warns) : Math.max(...warns);
}

/** Pure. */
export function judgeValue(value: number, { warn, crit, worse }: Thresholds): Severity {
  const isBeyond = (bound: number) => (worse === 'above' ? value >= bound : value <= bound);
  if (crit !== null && isBeyond(crit)) return 'crit';
  return isBeyond(warn) ? 'warn' : 'ok';
}
