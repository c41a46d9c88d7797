import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addDigests, LineDigest } from '../../src/archive/digest.ts';
import { planParts } from '../../src/archive/export/parts.ts';
import { storeKey } from '../../src/storage/key.ts';

const lines = fc.array(
  fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ' ')),
  { maxLength: 40 },
);

/** The definition, as slowly as it is written. */
function naive(rows: string[]): string {
  const sum = rows.reduce(
    (total, row) => total + BigInt(`0x${createHash('sha256').update(row).digest('hex')}`),
    0n,
  );
  return (sum % (1n << 256n)).toString(16).padStart(64, '0');
}

function digestOf(bytes: Buffer, cuts: number[] = []): LineDigest {
  const digest = new LineDigest();
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let from = 0;
  for (const to of [...places, bytes.length]) {
    digest.update(bytes.subarray(from, to));
    from = to;
  }
  return digest;
}

const text = (rows: string[]) => Buffer.from(rows.map((row) => `${row}\n`).join(''));

describe('the digest of rows', () => {
  it('is the sum of their hashes, wherever the bytes are cut, in any order', () => {
    fc.assert(
      fc.property(lines, fc.array(fc.nat(), { maxLength: 10 }), (rows, cuts) => {
        const digest = digestOf(text(rows), cuts);
        expect(digest.rows).toBe(rows.length);
        expect(digest.value()).toBe(naive(rows));
        expect(digestOf(text([...rows].reverse())).value()).toBe(naive(rows));
      }),
    );
  });

  it('adds up over parts', () => {
    fc.assert(
      fc.property(lines, lines, (a, b) => {
        const sum = addDigests(digestOf(text(a)).value(), digestOf(text(b)).value());
        expect(sum).toBe(naive([...a, ...b]));
      }),
    );
  });

  it('tells two equal rows from none, and one from another in one byte', () => {
    expect(naive(['a', 'a'])).not.toBe(naive([]));
    expect(digestOf(text(['a', 'a'])).value()).toBe(naive(['a', 'a']));
    expect(digestOf(text(['1.0'])).value()).not.toBe(digestOf(text(['1.00'])).value());
  });

  it('refuses a last line without an end', () => {
    expect(() => digestOf(Buffer.from('a\nb')).value()).toThrow('no newline');
  });
});

describe('the parts of a heap', () => {
  it('cover every block once, and the last one has no end', () => {
    fc.assert(
      fc.property(
        fc.nat(5_000_000),
        fc.integer({ min: 1, max: 64 }),
        fc.double({ min: 0.5, max: 40, noNaN: true }),
        (blocks, jobs, toast) => {
          const parts = planParts(blocks, blocks * 8192 * toast, jobs);
          expect(parts[0]?.first).toBe(0);
          expect(parts.at(-1)?.end).toBeNull();
          for (const [index, part] of parts.entries()) {
            const next = parts[index + 1];
            expect(part.end).toBe(next === undefined ? null : next.first);
            if (part.end !== null) expect(part.end).toBeGreaterThan(part.first);
          }
          expect(parts.length).toBeLessThanOrEqual(10_000);
        },
      ),
    );
  });

  it('is one for a small table and for an empty one', () => {
    expect(planParts(0, 0, 8)).toEqual([{ first: 0, end: null }]);
    expect(planParts(10, 81_920, 8)).toEqual([{ first: 0, end: null }]);
  });
});

describe('keys of a store', () => {
  it('have as many parts as names, whatever the names are, and differ where they do', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', minLength: 1 }),
        fc.string({ unit: 'binary', minLength: 1 }),
        (a, b) => {
          const key = storeKey('x', a, b);
          const parts = key.split('/');
          expect(parts).toHaveLength(3);
          expect(parts.every((part) => part !== '' && !part.startsWith('.') && part.length <= 200)).toBe(
            true,
          );
          if (Buffer.from(a).equals(Buffer.from(b))) expect(parts[1]).toBe(parts[2]);
          else expect(parts[1]).not.toBe(parts[2]);
        },
      ),
    );
    expect(storeKey('..', '../../etc/passwd')).toBe('%2E./%2E.%2F..%2Fetc%2Fpasswd');
  });
});
