/**
 * The names of the files in pg_wal, as xlog_internal.h makes them: a segment is TTTTTTTTXXXXXXXXYYYYYYYY (timeline, and
 * the number of the segment in two parts, which depend on the size of a segment).
 */
export type WalName =
  | { kind: 'segment' | 'partial'; name: string; timeline: number; high: number; low: number }
  | { kind: 'backup'; name: string; timeline: number; high: number; low: number; offset: number }
  | { kind: 'history'; name: string; timeline: number };

const lowBytes = 0x1_0000_0000n;

/** What a file in the archive of WAL is; undefined for any other name. Pure. */
export function parseWalName(name: string): WalName | undefined {
  const match =
    /^([0-9A-F]{8})(?:([0-9A-F]{8})([0-9A-F]{8})(?:(\.partial)|\.([0-9A-F]{8})\.backup)?|\.history)$/.exec(
      name,
    );
  if (match === null) return undefined;
  const [, timelineHex = '', highHex, lowHex, partial, offsetHex] = match;
  const timeline = Number.parseInt(timelineHex, 16);
  if (timeline === 0) return undefined;
  if (highHex === undefined || lowHex === undefined) return { kind: 'history', name, timeline };
  const high = Number.parseInt(highHex, 16);
  const low = Number.parseInt(lowHex, 16);
  if (offsetHex !== undefined)
    return { kind: 'backup', name, timeline, high, low, offset: Number.parseInt(offsetHex, 16) };
  return { kind: partial === undefined ? 'segment' : 'partial', name, timeline, high, low };
}

/** The segment of this number (an LSN divided by the size of a segment, in bytes) on a timeline. Pure. */
export function segmentName(timeline: number, number: bigint, segmentBytes: number): string {
  const perFile = lowBytes / BigInt(segmentBytes);
  return hex8(timeline) + hex8(number / perFile) + hex8(number % perFile);
}

/** The number of a segment: its first LSN divided by the size of a segment, in bytes. Throws for a name that is none. Pure. */
export function segmentNumber(name: string, segmentBytes: number): bigint {
  const parsed = parseWalName(name.slice(0, 24));
  if (parsed?.kind !== 'segment') throw new Error(`${name} is not the name of a segment`);
  return BigInt(parsed.high) * (lowBytes / BigInt(segmentBytes)) + BigInt(parsed.low);
}

/** The first position in a segment. Pure. */
export function startOfSegment(name: string, segmentBytes: number): bigint {
  return segmentNumber(name, segmentBytes) * BigInt(segmentBytes);
}

/** The segment that holds the byte at this position, as pg_walfile_name() of an LSN that is not on a boundary. Pure. */
export function segmentOfLsn(timeline: number, lsn: bigint, segmentBytes: number): string {
  return segmentName(timeline, lsn / BigInt(segmentBytes), segmentBytes);
}

/** The segment that follows on the same timeline. Pure. */
export function nextSegment(name: string, segmentBytes: number): string {
  return segmentName(timelineOf(name), segmentNumber(name, segmentBytes) + 1n, segmentBytes);
}

/** The timeline in a name. Pure. */
export function timelineOf(name: string): number {
  return Number.parseInt(name.slice(0, 8), 16);
}

/** 16/B374D848 as a number of bytes. Throws for a text that is no LSN. Pure. */
export function parseLsn(text: string): bigint {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text);
  if (match === null) throw new Error(`"${text}" is not a position in the WAL`);
  return BigInt(`0x${match[1] ?? ''}`) * lowBytes + BigInt(`0x${match[2] ?? ''}`);
}

/** As PostgreSQL writes it, %X/%X. Pure. */
export function formatLsn(lsn: bigint): string {
  return `${upperHex(lsn / lowBytes)}/${upperHex(lsn % lowBytes)}`;
}

/** TTTTTTTT.history. Pure. */
export function historyName(timeline: number): string {
  return `${hex8(timeline)}.history`;
}

function hex8(value: number | bigint): string {
  return upperHex(value).padStart(8, '0');
}

function upperHex(value: number | bigint): string {
  return value.toString(16).toUpperCase();
}
