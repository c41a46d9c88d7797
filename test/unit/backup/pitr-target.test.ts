import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatTime, parseTarget, parseTime } from '../../../src/backup/restore/pitr/target.ts';

describe('the target of a recovery', () => {
  it('is read as it is typed', () => {
    expect(parseTarget('immediate')).toEqual({ kind: 'immediate' });
    expect(parseTarget('latest')).toEqual({ kind: 'latest' });
    expect(parseTarget('lsn:16/B374D848')).toEqual({ kind: 'lsn', lsn: 0x16b374d848n });
    expect(parseTarget('name:before deploy: 1')).toEqual({ kind: 'name', name: 'before deploy: 1' });
    expect(parseTarget('time:2026-11-20 14:30+09')).toEqual({
      kind: 'time',
      micros: BigInt(Date.UTC(2026, 10, 20, 5, 30)) * 1000n,
    });
  });

  it('keeps microseconds and every way to write a zone', () => {
    const micros = BigInt(Date.UTC(2026, 10, 20, 5, 30, 1)) * 1000n;
    expect(parseTime('2026-11-20T05:30:01.000001Z')).toBe(micros + 1n);
    expect(parseTime('2026-11-20 05:30:01.5 UTC')).toBe(micros + 500_000n);
    expect(parseTime('2026-11-20 11:00:01+0530')).toBe(micros);
    expect(parseTime('2026-11-20 00:30:01-05:00')).toBe(micros);
  });

  it.each([
    ['time:2026-11-20 14:30', 'names no time zone'],
    ['time:2026-02-31 14:30Z', 'is not a time'],
    ['time:2026-13-01 14:30Z', 'is not a time'],
    ['time:yesterday', 'is not a time'],
    ['lsn:16', 'is not a position in the WAL'],
    ['name:', 'cannot be the name of a restore point'],
    ['xid:5', '--to is time:'],
    ['', '--to is time:'],
  ])('refuses %s', (text, reason) => {
    expect(() => parseTarget(text)).toThrow(reason);
  });

  it('comes back from what is written for PostgreSQL', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 4_102_444_800_000_000n }), (micros) => {
        expect(parseTime(formatTime(micros))).toBe(micros);
      }),
    );
  });
});
