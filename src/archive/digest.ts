import type { Readable } from 'node:stream';
import { hash } from 'node:crypto';

const newline = 10;
const words = 8;
/** Sums of 32 bit words stay exact in a double for two million rows; carried long before. */
const carryEvery = 1_000_000;

/**
 * The digest of rows whatever their order: the sum over all rows of the sha256 of the row's line in COPY's text format
 * (pinned settings, UTF-8, without its newline) modulo 2^256. A sum, never xor: two equal rows must not cancel each other.
 */
export class LineDigest {
  rows = 0;
  readonly #sums = new Float64Array(words);
  #rest: Buffer[] = [];
  #uncarried = 0;

  /** Takes bytes as they come; lines may be cut anywhere. */
  update(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      const line = chunk.subarray(start, end);
      this.#add(this.#rest.length === 0 ? line : this.#joined(line));
      start = end + 1;
    }
    if (start < chunk.length) this.#rest.push(Buffer.from(chunk.subarray(start)));
  }

  /** 64 hexadecimal digits. Throws when the last line has no end. */
  value(): string {
    if (this.#rest.length > 0) throw new Error('the last line has no newline');
    this.#carry();
    return [...this.#sums].map((word) => word.toString(16).padStart(8, '0')).join('');
  }

  #joined(end: Buffer): Buffer {
    const line = Buffer.concat([...this.#rest, end]);
    this.#rest = [];
    return line;
  }

  #add(line: Buffer): void {
    // As a string of bytes: a Buffer for each row costs as much again as its hash.
    const digest = hash('sha256', line, 'binary');
    const sums = this.#sums;
    for (let index = 0; index < words; index += 1) {
      const at = index * 4;
      const low =
        (digest.charCodeAt(at + 1) << 16) | (digest.charCodeAt(at + 2) << 8) | digest.charCodeAt(at + 3);
      sums[index] = (sums[index] ?? 0) + digest.charCodeAt(at) * 0x100_0000 + low;
    }
    this.rows += 1;
    this.#uncarried += 1;
    if (this.#uncarried === carryEvery) this.#carry();
  }

  /** What is more than 32 bits goes to the next word to the left; beyond the first it is dropped. */
  #carry(): void {
    let over = 0;
    for (let index = words - 1; index >= 0; index -= 1) {
      const sum = (this.#sums[index] ?? 0) + over;
      this.#sums[index] = sum % 0x1_0000_0000;
      over = Math.floor(sum / 0x1_0000_0000);
    }
    this.#uncarried = 0;
  }
}

/** The digest of the lines of a stream. */
export async function digestOf(plain: Readable): Promise<string> {
  const digest = new LineDigest();
  for await (const chunk of plain as AsyncIterable<Buffer>) digest.update(chunk);
  return digest.value();
}

/** The digest of several sets of rows together, such as the parts of one archive. */
export function addDigests(...digests: string[]): string {
  const sum = digests.reduce((total, digest) => total + BigInt(`0x${digest}`), 0n) % (1n << 256n);
  return sum.toString(16).padStart(64, '0');
}
