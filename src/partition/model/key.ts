import { DbopsError } from '../../errors.ts';
import { literal } from '../../sql/quote.ts';

/** What a partition key counts. */
export type KeyKind =
  'date' | 'timestamp' | 'timestamptz' | 'uuidv7' | 'epoch-seconds' | 'epoch-milliseconds' | 'id';

/**
 * A place on the axis of a key: microseconds since 1970 for kinds that are times (wall-clock time for date and
 * timestamp, which have no zone), the number itself for ids.
 */
export type Point = bigint;

/** Translates between bounds as PostgreSQL prints them and points. */
export interface KeyCodec {
  kind: KeyKind;
  isTime: boolean;
  /** Whether points are instants: a time zone decides where a day begins. */
  isInstant: boolean;
  /** Undefined for a value that is no point: infinity, BC, a malformed uuid. */
  parse(text: string): Point | undefined;
  format(point: Point): string;
}

const microsecond = 1n;
const millisecond = 1000n;
const second = 1_000_000n;

/** The codec of a key, from its type in the catalog and what the configuration says of it. */
export function codecOf(
  typeName: string,
  interval: string | number,
  epoch: 'seconds' | 'milliseconds' | undefined,
  where: string,
): KeyCodec {
  const calendar = typeof interval === 'string';
  switch (typeName) {
    case 'date':
    case 'timestamp':
    case 'timestamptz':
    case 'uuid':
      if (!calendar) {
        throw new DbopsError(
          'key_contradicts',
          `${where}: the key is of type ${typeName}, the interval a number of ids`,
          {
            hint: 'Give hour, day, week, month, quarter or year as the interval.',
          },
        );
      }
      if (epoch !== undefined) {
        throw new DbopsError(
          'key_contradicts',
          `${where}: "epoch" is for bigint keys, this one is of type ${typeName}`,
          {
            hint: 'Remove "epoch" from the entry.',
          },
        );
      }
      if (typeName === 'date' && interval === 'hour') {
        throw new DbopsError(
          'interval_contradicts',
          `${where}: a key of type date cannot be divided by hour`,
          {
            hint: 'Give day or a longer interval.',
          },
        );
      }
      return typeName === 'uuid' ? uuidv7(false) : typeName === 'date' ? dateCodec : timeCodec(typeName);
    case 'int8':
    case 'int4':
    case 'int2':
    case 'numeric':
      if (!calendar) return idCodec;
      if (epoch === undefined) {
        throw new DbopsError(
          'key_contradicts',
          `${where}: the key is a number and the interval is "${interval}"`,
          {
            hint: 'Say what the numbers count, "epoch: seconds" or "epoch: milliseconds", or give a number of ids as the interval.',
          },
        );
      }
      return epochCodec(epoch);
    default:
      throw new DbopsError('key_contradicts', `${where}: a key of type ${typeName} is not supported`, {
        hint: 'Keys are date, timestamp, timestamptz, bigint (ids or epoch), or uuid (version 7).',
      });
  }
}

const timePattern =
  /^(\d{4,6})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?(?:\+00(?::?00)?|Z)?$/;

/** Microseconds since 1970 of an ISO time in UTC or without a zone. */
export function parseTime(text: string): Point | undefined {
  const match = timePattern.exec(text);
  if (match === null) return undefined;
  const [year, month, day, hour, minute, sec] = match.slice(1, 7).map((part) => Number(part ?? 0));
  // Date.UTC takes a year below 100 for one of the twentieth century; setUTCFullYear does not.
  const date = new Date(Date.UTC(2000, 0, 1, hour, minute, sec));
  const milliseconds = date.setUTCFullYear(year ?? 0, (month ?? 1) - 1, day);
  if (Number.isNaN(milliseconds)) return undefined;
  return BigInt(milliseconds) * millisecond + BigInt((match[7] ?? '').padEnd(6, '0')) * microsecond;
}

/** 2026-11-01 00:00:00, with a fraction only where there is one. */
export function formatTime(point: Point): string {
  const micros = ((point % second) + second) % second;
  const date = new Date(Number((point - micros) / millisecond));
  const year = String(date.getUTCFullYear()).padStart(4, '0');
  const pad = (value: number) => String(value).padStart(2, '0');
  const day = `${year}-${pad(date.getUTCMonth() + 1)}-${pad(date.getUTCDate())}`;
  const time = `${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}:${pad(date.getUTCSeconds())}`;
  const fraction = micros === 0n ? '' : `.${String(micros).padStart(6, '0').replace(/0+$/, '')}`;
  return `${day} ${time}${fraction}`;
}

const dateCodec: KeyCodec = {
  kind: 'date',
  isTime: true,
  isInstant: false,
  parse: parseTime,
  format: (point) => formatTime(point).slice(0, formatTime(point).indexOf(' ')),
};

function timeCodec(kind: 'timestamp' | 'timestamptz'): KeyCodec {
  const isInstant = kind === 'timestamptz';
  return {
    kind,
    isTime: true,
    isInstant,
    parse: parseTime,
    format: (point) => `${formatTime(point)}${isInstant ? '+00' : ''}`,
  };
}

const idCodec: KeyCodec = {
  kind: 'id',
  isTime: false,
  isInstant: false,
  parse: (text) => (/^-?\d+$/.test(text) ? BigInt(text) : undefined),
  format: String,
};

function epochCodec(unit: 'seconds' | 'milliseconds'): KeyCodec {
  const size = unit === 'seconds' ? second : millisecond;
  return {
    kind: `epoch-${unit}`,
    isTime: true,
    isInstant: true,
    parse: (text) => (/^-?\d+$/.test(text) ? BigInt(text) * size : undefined),
    format: (point) => String(point / size),
  };
}

/** Whether a uuid bound carries the version and variant bits (...-7000-8000-...). */
export function hasVersionBits(text: string): boolean {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-7000-8000-0{12}$/i.test(text);
}

/**
 * UUID version 7 (RFC 9562): 48 bits of Unix milliseconds first. A bound needs those alone; the rest is zero, or the
 * least value that has the version and variant bits set, as some tools write it.
 */
export function uuidv7(versionBits: boolean): KeyCodec {
  const tail = versionBits ? '7000-8000-000000000000' : '0000-0000-000000000000';
  return {
    kind: 'uuidv7',
    isTime: true,
    isInstant: true,
    parse: (text) => {
      const match = /^([0-9a-f]{8})-([0-9a-f]{4})-(0000-0000|7000-8000)-0{12}$/i.exec(text);
      return match === null ? undefined : BigInt(`0x${match[1] ?? ''}${match[2] ?? ''}`) * millisecond;
    },
    format: (point) => {
      const hex = (point / millisecond).toString(16).padStart(12, '0');
      return `${hex.slice(0, 8)}-${hex.slice(8)}-${tail}`;
    },
  };
}

/** A point as a literal for DDL. Numbers need no quotes, and integer keys take none from a hostile text. */
export function pointLiteral(codec: KeyCodec, point: Point): string {
  const text = codec.format(point);
  return /^-?\d+$/.test(text) ? text : literal(text);
}
