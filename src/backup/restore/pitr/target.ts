import { DbopsError } from '../../../errors.ts';
import { formatLsn, parseLsn } from '../../wal/segment.ts';

/** Where a recovery stops. Times in microseconds since 1970, as PostgreSQL compares them. */
export type Target =
  | { kind: 'time'; micros: bigint }
  | { kind: 'lsn'; lsn: bigint }
  | { kind: 'name'; name: string }
  /** As soon as the backup is consistent. */
  | { kind: 'immediate' }
  /** The end of the archive. */
  | { kind: 'latest' };

/** Names of restore points are shorter than this (MAXFNAMELEN in xlog_internal.h). */
const longestName = 63;

/** Reads `time:2026-11-20 14:30:00.5+09`, `lsn:16/B374D848`, `name:before_deploy`, `immediate` or `latest`. Throws usage. */
export function parseTarget(text: string): Target {
  if (text === 'immediate' || text === 'latest') return { kind: text };
  const [, kind, value = ''] = /^(time|lsn|name):(.*)$/s.exec(text) ?? [];
  if (kind === 'time') return { kind, micros: parseTime(value) };
  if (kind === 'lsn') {
    try {
      return { kind, lsn: parseLsn(value) };
    } catch (cause) {
      throw new DbopsError('usage', `"${value}" is not a position in the WAL`, {
        hint: 'Write it as PostgreSQL does: --to lsn:16/B374D848.',
        cause,
      });
    }
  }
  if (kind === 'name') {
    if (value !== '' && Buffer.byteLength(value) <= longestName && !/[\r\n\0]/.test(value))
      return { kind, name: value };
    throw new DbopsError('usage', `${JSON.stringify(value)} cannot be the name of a restore point`);
  }
  throw new DbopsError(
    'usage',
    `--to is time:<time>, lsn:<x/y>, name:<point>, immediate or latest, not "${text}"`,
    {
      hint: 'For example: --to "time:2026-11-20 14:30:00+09".',
    },
  );
}

/**
 * A time with its zone, to the microsecond. Without a zone it would mean another moment on each host. Throws usage. Pure.
 */
export function parseTime(text: string): bigint {
  const match =
    /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)? ?(Z|UTC|[+-]\d{2}(?::?\d{2})?)$/i.exec(
      text.trim(),
    );
  const wrong = (reason: string) =>
    new DbopsError('usage', `"${text}" ${reason}`, {
      hint: 'Write it as "2026-11-20 14:30:00.123456+09", or with Z for UTC.',
    });
  if (match === null) {
    const hasNoZone = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?$/.test(text.trim());
    throw wrong(hasNoZone ? 'names no time zone, and the moment depends on it' : 'is not a time');
  }
  const [, day = '', minute = '', second = '00', fraction = '', zone = ''] = match;
  const [, sign, hours = '00', minutes = '00'] = /^([+-])(\d{2}):?(\d{2})?$/.exec(zone) ?? [];
  const offset = sign === undefined ? 'Z' : `${sign}${hours}:${minutes}`;
  const milliseconds = Date.parse(`${day}T${minute}:${second}${offset}`);
  // 2026-02-31 is taken for the 3rd of March otherwise.
  const midnight = Date.parse(`${day}T00:00:00Z`);
  const isDay = !Number.isNaN(midnight) && new Date(midnight).toISOString().startsWith(day);
  if (Number.isNaN(milliseconds) || !isDay) throw wrong('is not a time');
  return BigInt(milliseconds) * 1000n + BigInt(fraction.padEnd(6, '0'));
}

/** 2026-11-20 05:30:00.123456+00, which PostgreSQL reads back to the same microsecond. Pure. */
export function formatTime(micros: bigint): string {
  const second = 1_000_000n;
  const rest = ((micros % second) + second) % second;
  const [day = '', clock = ''] = new Date(Number((micros - rest) / 1000n)).toISOString().split('T');
  return `${day} ${clock.slice(0, 8)}.${String(rest).padStart(6, '0')}+00`;
}

/** For messages: the words that were typed, times in UTC. Pure. */
export function describeTarget(target: Target): string {
  if (target.kind === 'time') return `time ${formatTime(target.micros)}`;
  if (target.kind === 'lsn') return `LSN ${formatLsn(target.lsn)}`;
  if (target.kind === 'name') return `restore point "${target.name}"`;
  return target.kind === 'immediate' ? 'the end of the backup' : 'the end of the archive';
}
