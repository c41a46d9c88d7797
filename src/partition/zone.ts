import { IANAZone } from 'luxon';
import { DbopsError } from '../errors.ts';

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
  const iana = IANAZone.create(name);
  if (!iana.isValid) {
    throw new DbopsError('config_invalid', `unknown time zone "${name}"`, {
      hint: 'Write it as Asia/Seoul, Europe/Berlin or UTC.',
    });
  }
  const offsetMs = (instantMs: number) => iana.offset(instantMs) * 60_000;
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

/**
 * The instant of a wall-clock time, as PostgreSQL decides it (DetermineTimeZoneOffset): a time that a spring-forward
 * skips takes the offset before the change, one that a fall-back repeats takes the offset after it.
 */
function instantOf(wallMs: number, offsetMs: (instantMs: number) => number): number {
  const before = wallMs - offsetMs(wallMs - dayMs);
  const after = wallMs - offsetMs(wallMs + dayMs);
  if (before === after) return before;
  if (after + offsetMs(after) === wallMs) return after;
  return before;
}
