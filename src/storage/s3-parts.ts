import { createHash } from 'node:crypto';

/** S3's own limits. */
const leastPartBytes = 5 * 1024 * 1024;
export const mostParts = 10_000;
const defaultPartBytes = 8 * 1024 * 1024;
/** After so many parts they grow, so that 10,000 hold 156 GiB. Parts are alike before: some stores demand that. */
const alikeParts = 5000;
const growth = 3;

/**
 * The memory of all uploads of a store. Each fills one part and sends another; an upload that is alone sends two. No
 * upload ever waits for another: two that are fed by one producer would block each other.
 */
export class PartMemory {
  readonly partBytes: number;
  #free: Buffer[] = [];
  #uploads = 0;

  constructor(partBytes = defaultPartBytes) {
    this.partBytes = Math.max(partBytes, leastPartBytes);
  }

  begin(): void {
    this.#uploads += 1;
  }

  /** What is read back afterwards needs the room. */
  end(): void {
    this.#uploads -= 1;
    if (this.#uploads === 0) this.#free = [];
  }

  /** For the part with this number, counted from 1. */
  take(number: number): Buffer {
    if (number > alikeParts) return Buffer.allocUnsafeSlow(this.partBytes * growth);
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.partBytes);
  }

  giveBack(buffer: Buffer): void {
    if (this.#free.length < 3 && buffer.byteLength === this.partBytes) this.#free.push(buffer);
  }

  /** The largest object. */
  get mostBytes(): number {
    return this.partBytes * (alikeParts + growth * (mostParts - alikeParts));
  }

  /** Whether a second part of the same upload may be under way. */
  get mayDouble(): boolean {
    return this.#uploads < 2;
  }
}

/**
 * Content-MD5, which every S3 store checks and buckets with Object Lock demand. Undefined where OpenSSL is in FIPS
 * mode, which has no MD5.
 */
export function contentMd5(bytes: Uint8Array): string | undefined {
  try {
    return createHash('md5').update(bytes).digest('base64');
  } catch {
    return undefined;
  }
}
