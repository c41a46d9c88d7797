import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addDigests, LineDigest } from '../../src/archive/digest.ts';

/** The same by big numbers, from the words of its definition. */
function expected(lines: string[]): string {
  const sum = lines.reduce(
    (total, line) => total + BigInt(`0x${createHash('sha256').update(line).digest('hex')}`),
    0n,
  );
  return (sum % (1n << 256n)).toString(16).padStart(64, '0');
}

function digestOf(chunks: Buffer[]): string {
  const digest = new LineDigest();
  for (const chunk of chunks) digest.update(chunk);
  return digest.value();
}

const line = fc.string({ unit: 'grapheme', maxLength: 20 }).map((text) => text.replaceAll('\n', '\\n'));

describe('the digest of rows', () => {
  it('is the sum of the hashes of the lines, wherever the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 50 }), fc.integer({ min: 1, max: 40 }), (lines, size) => {
        const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(''));
        const chunks: Buffer[] = [];
        for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
        expect(digestOf(chunks)).toBe(expected(lines));
      }),
    );
  });

  it('is that of the parts, added', () => {
    const [a, b] = [['1', '2', '2'], ['3']].map((lines) => digestOf([Buffer.from(`${lines.join('\n')}\n`)]));
    expect(addDigests(a!, b!)).toBe(expected(['3', '2', '1', '2']));
  });

  it('tells a row that is there twice from one that is not there', () => {
    expect(digestOf([Buffer.from('x\nx\n')])).not.toBe(digestOf([]));
  });

  it('refuses rows whose last line has no end', () => {
    expect(() => digestOf([Buffer.from('x\ny')])).toThrow('no newline');
  });
});
