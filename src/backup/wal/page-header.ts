import { endianness } from 'node:os';

/** What the first page of a segment says of itself (XLogLongPageHeaderData in xlog_internal.h). */
export interface SegmentHeader {
  /** Of the page: after a switch within the segment an ancestor of the timeline in the name. */
  timeline: number;
  /** Position of the first byte. */
  startLsn: bigint;
  systemIdentifier: string;
  segmentBytes: number;
}

/** So many bytes of a segment hold its header. */
export const segmentHeaderBytes = 40;
const longHeaderFlag = 0x0002;

/** Reads the header, in the byte order of this host, which is that of the server; undefined when it is none. Pure. */
export function parseSegmentHeader(bytes: Buffer): SegmentHeader | undefined {
  if (bytes.byteLength < segmentHeaderBytes) return undefined;
  const isLittle = endianness() === 'LE';
  const u16 = (at: number) => (isLittle ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at));
  const u32 = (at: number) => (isLittle ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  const u64 = (at: number) => (isLittle ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at));
  const segmentBytes = u32(32);
  const isSize =
    segmentBytes >= 1024 ** 2 && segmentBytes <= 1024 ** 3 && (segmentBytes & (segmentBytes - 1)) === 0;
  if ((u16(2) & longHeaderFlag) === 0 || !isSize) return undefined;
  return { timeline: u32(4), startLsn: u64(8), systemIdentifier: u64(24).toString(), segmentBytes };
}

/** The identifier at the beginning of global/pg_control, which has stood there since PostgreSQL 8. Pure. */
export function parseControlIdentifier(bytes: Buffer): string | undefined {
  if (bytes.byteLength < 8) return undefined;
  return (endianness() === 'LE' ? bytes.readBigUInt64LE(0) : bytes.readBigUInt64BE(0)).toString();
}
