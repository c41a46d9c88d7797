/** What pzstd writes before each frame: a skippable one that holds the size of the frame. */
const headBytes = 12;
const skippableMagic = 0x184d2a50;

/**
 * Finds out where the frames begin in what pzstd writes, while it passes: each can be decompressed without those before it.
 * https://github.com/facebook/zstd/tree/dev/contrib/pzstd
 */
export class FrameStarts {
  /** Positions in the stored bytes, eight bytes of memory for each four mebibytes that were compressed. */
  readonly #starts: number[] = [];
  #head = Buffer.alloc(0);
  /** Of the current frame. */
  #restBytes = 0;
  #position = 0;
  #isOther = false;

  /** Passes the bytes on. */
  async *through(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      this.#take(chunk);
      yield chunk;
    }
  }

  /** Where the last frames begin, `count` of them; 0 where there are no more, or the bytes are none of pzstd's. */
  startOfLast(count: number): number {
    return this.#isOther ? 0 : (this.#starts.at(-count) ?? 0);
  }

  #take(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.byteLength && !this.#isOther) {
      if (this.#restBytes > 0) {
        const passed = Math.min(this.#restBytes, chunk.byteLength - at);
        this.#restBytes -= passed;
        at += passed;
        continue;
      }
      const part = chunk.subarray(at, at + headBytes - this.#head.byteLength);
      this.#head = Buffer.concat([this.#head, part]);
      at += part.byteLength;
      if (this.#head.byteLength === headBytes) this.#begin(this.#position + at - headBytes);
    }
    this.#position += chunk.byteLength;
  }

  #begin(start: number): void {
    this.#isOther = this.#head.readUInt32LE(0) !== skippableMagic || this.#head.readUInt32LE(4) !== 4;
    this.#starts.push(start);
    this.#restBytes = this.#head.readUInt32LE(8);
    this.#head = Buffer.alloc(0);
  }
}
