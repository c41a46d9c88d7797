import { DbopsError } from '../../errors.ts';

/** Converts between instants and wall-clock time; both in milliseconds, wall time as if it were UTC. */
export interface Zone {
  readonly name: string;
  toWallMs(instantMs: number): number;
  toInstantMs(wallMs: number): number;
  /** Whether this instant is the second of two that show the same wall-clock time. */
  isRepeated(instantMs: number): boolean;
}

export const utc: Zone = {
  name: 'UTC',
  toWallMs: (instantMs) => instantMs,
  toInstantMs: (wallMs) => wallMs,
  isRepeated: () => false,
};

const dayMs = 86_400_000;
const zones = new Map<string, Zone>([['UTC', utc]]);

/** The zone of an IANA name. Throws config_invalid for a name that Node's time zone data does not know. */
export function zoneOf(name: string): Zone {
  const known = zones.get(name);
  if (known !== undefined) return known;
  const offsetMs = offsetsOf(name);
  const zone: Zone = {
    name,
    toWallMs: (instantMs) => instantMs + offsetMs(instantMs),
    toInstantMs: (wallMs) => instantOf(wallMs, offsetMs),
    isRepeated: (instantMs) => {
      const earlier = instantMs - (offsetMs(instantMs - dayMs) - offsetMs(instantMs));
      return earlier < instantMs && earlier + offsetMs(earlier) === instantMs + offsetMs(instantMs);
    },
  };
  zones.set(name, zone);
  return zone;
}

/** Wall-clock minus UTC at an instant, in milliseconds. */
type OffsetMs = (instantMs: number) => number;

/** More are never asked for again in one run. */
const rememberedOffsets = 10_000;

function offsetsOf(name: string): OffsetMs {
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat('en-US-u-ca-gregory-nu-latn', {
      timeZone: name,
      hourCycle: 'h23',
      era: 'short',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  } catch {
    throw new DbopsError('config_invalid', `unknown time zone "${name}"`, {
      hint: 'Write it as Asia/Seoul, Europe/Berlin or UTC.',
    });
  }
  const remembered = new Map<number, number>();
  return (instantMs) => {
    // Offsets change at whole seconds only.
    const second = Math.floor(instantMs / 1000) * 1000;
    let offset = remembered.get(second);
    if (offset === undefined) {
      if (remembered.size >= rememberedOffsets) remembered.clear();
      offset = wallMsOf(format, second) - second;
      remembered.set(second, offset);
    }
    return offset;
  };
}

/** What a clock in the zone of the format shows at a whole second, read as if it were UTC. */
function wallMsOf(format: Intl.DateTimeFormat, instantMs: number): number {
  const match = /^(\d+)\/(\d+)\/(\d+)\s(\w+),\s(\d+):(\d+):(\d+)$/.exec(format.format(instantMs));
  if (match === null) throw new Error(`no wall-clock time for ${String(instantMs)}`);
  const [month = 1, day = 1, year = 1, , hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const isBeforeChrist = match[4]?.startsWith('B') === true;
  return new Date(Date.UTC(2000, 0, 1, hour, minute, second)).setUTCFullYear(
    isBeforeChrist ? 1 - year : year,
    month - 1,
    day,
  );
}

/**
 * The instant of a wall-clock time, as PostgreSQL decides it (DetermineTimeZoneOffset): a time that a spring-forward
 * skips takes the offset before the change, one that a fall-back repeats takes the offset after it.
 */
function instantOf(wallMs: number, offsetMs: OffsetMs): number {
  const before = wallMs - offsetMs(wallMs - dayMs);
  const after = wallMs - offsetMs(wallMs + dayMs);
  if (before === after) return before;
  if (after + offsetMs(after) === wallMs) return after;
  return before;
}
