/** Where a file lies in a tar, or in a part of one. */
export interface MemberPlace {
  offset: number;
  sizeBytes: number;
}

const blockBytes = 512;
/** Of the header, as POSIX has it: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html */
const fields = {
  name: [0, 100],
  size: [124, 136],
  checksum: [148, 156],
  magic: [257, 262],
} as const;

/**
 * Where the last file of this name lies in the end of a tar, which may begin in the middle of another file but at a block of
 * it; undefined when no header of it is there, or less of the file than the header says. What looks like a header in other
 * files comes before: the file that is meant is the last one, and has to be a text.
 */
export async function findLastMember(
  tar: AsyncIterable<Uint8Array>,
  name: string,
): Promise<MemberPlace | undefined> {
  const wanted = Buffer.from(`${name}\0`);
  let found: MemberPlace | undefined;
  let rest = Buffer.alloc(0);
  let position = 0;
  for await (const chunk of tar) {
    const bytes = Buffer.concat([rest, chunk]);
    const whole = bytes.byteLength - (bytes.byteLength % blockBytes);
    for (let at = 0; at < whole; at += blockBytes) {
      // Nearly all blocks are told apart by this byte.
      if (
        bytes[at] !== wanted[0] ||
        bytes.compare(wanted, 0, wanted.byteLength, at, at + wanted.byteLength) !== 0
      )
        continue;
      const sizeBytes = sizeIn(bytes.subarray(at, at + blockBytes));
      if (sizeBytes !== undefined) found = { offset: position + at + blockBytes, sizeBytes };
    }
    rest = bytes.subarray(whole);
    position += whole;
  }
  const endBytes = position + rest.byteLength;
  return found !== undefined && found.offset + found.sizeBytes <= endBytes ? found : undefined;
}

/** The bytes of a member; what follows them is read to its end. */
export async function* readMember(
  tar: AsyncIterable<Uint8Array>,
  { offset, sizeBytes }: MemberPlace,
): AsyncGenerator<Uint8Array> {
  let position = 0;
  for await (const chunk of tar) {
    const from = Math.max(0, offset - position);
    const to = Math.min(chunk.byteLength, offset + sizeBytes - position);
    if (from < to) yield chunk.subarray(from, to);
    position += chunk.byteLength;
  }
}

/** What a header says of the size of its file; undefined when it is none. */
function sizeIn(block: Buffer): number | undefined {
  const text = ([from, to]: readonly [number, number]) =>
    block.subarray(from, to).toString('latin1').replace(/\0.*$/s, '').trim();
  const [from, to] = fields.checksum;
  let sum = (to - from) * 0x20;
  for (const [at, byte] of block.entries()) if (at < from || at >= to) sum += byte;
  if (text(fields.magic) !== 'ustar' || Number.parseInt(text(fields.checksum), 8) !== sum) return undefined;
  const sizeBytes = text(fields.size);
  return /^[0-7]+$/.test(sizeBytes) ? Number.parseInt(sizeBytes, 8) : undefined;
}
