import { describe, expect, it } from 'vitest';
import { settingLine } from '../../../src/backup/wal/lines.ts';
import { DbopsError } from '../../../src/errors.ts';
import { parseEnvelope, writeEnvelope, type WalEnvelope } from '../../../src/backup/wal/envelope.ts';
import { historyOf, reachFrom, type WalSurvey } from '../../../src/backup/wal/coverage.ts';
import { walKey } from '../../../src/backup/wal/place.ts';
import {
  formatLsn,
  nextSegment,
  parseLsn,
  parseWalName,
  segmentName,
  segmentNumber,
  segmentOfLsn,
  startOfSegment,
} from '../../../src/backup/wal/segment.ts';
import { isOnPath, parseHistory, timelineAt } from '../../../src/backup/wal/timeline.ts';

const mib = 1024 ** 2;

describe('names in pg_wal', () => {
  it.each([
    ['000000010000000A000000FF', 'segment'],
    ['000000010000000A000000FF.partial', 'partial'],
    ['000000010000000A000000FF.00000028.backup', 'backup'],
    ['0000000B.history', 'history'],
  ])('%s is a %s', (name, kind) => {
    expect(parseWalName(name)?.kind).toBe(kind);
  });

  it.each([
    '000000010000000A000000F',
    '000000010000000a000000ff',
    '../../etc/passwd',
    'RECOVERYXLOG',
    '00000000.history',
  ])('%s is none', (name) => {
    expect(parseWalName(name)).toBeUndefined();
  });

  it.each([
    [mib, '000000010000000000000FFF', 4096n],
    [16 * mib, '0000000100000000000000FF', 256n],
    [1024 * mib, '000000010000000000000003', 4n],
  ])('goes over to the next high part with segments of %d bytes', (bytes, last, perFile) => {
    const name = segmentName(1, perFile - 1n, bytes);
    expect(name).toBe(last);
    expect(nextSegment(name, bytes)).toBe('000000010000000100000000');
    expect(startOfSegment('000000010000000100000000', bytes)).toBe(0x1_0000_0000n);
  });

  it('finds the segment of a position as the server does', () => {
    // select pg_walfile_name('16/B374D848') on a server with segments of 16 MB
    expect(segmentOfLsn(1, parseLsn('16/B374D848'), 16 * mib)).toBe('0000000100000016000000B3');
    expect(formatLsn(parseLsn('16/B374D848'))).toBe('16/B374D848');
    expect(segmentNumber('0000000100000016000000B3', 16 * mib)).toBe(0x16b3n);
  });

  it('lies in folders of at most 256 segments', () => {
    expect(walKey('7301', '0000000100000016000000B3')).toBe(
      '7301/wal/0000000100000016/0000000100000016000000B3.zst',
    );
    expect(walKey('7301', '00000002.history')).toBe('7301/wal/00000002.history.zst');
    expect(() => walKey('7301', '../x')).toThrow();
  });
});

it('writes a setting so that PostgreSQL reads what was meant', () => {
  expect(settingLine('archive_command', String.raw`echo \$a 'b'`)).toBe(
    String.raw`archive_command = 'echo \\$a ''b'''`,
  );
});

describe('an envelope', () => {
  const envelope: WalEnvelope = {
    name: '000000010000000A000000FF',
    sha256: 'a'.repeat(64),
    plainBytes: 16 * mib,
    systemIdentifier: '7301000000000000001',
    closedAt: null,
    pushedAt: '2026-11-21T00:00:00.000Z',
    host: 'db1',
    dbops: '0.1.0',
  };

  it('is read again, whatever follows it', () => {
    const bytes = Buffer.concat([writeEnvelope(envelope), Buffer.from([0x28, 0xb5, 0x2f, 0xfd])]);
    expect(parseEnvelope(bytes)).toEqual(envelope);
    expect(bytes.readUInt32LE(0)).toBe(0x184d2a50);
  });

  it('is none when it is cut off or of somebody else', () => {
    const bytes = writeEnvelope(envelope);
    expect(parseEnvelope(bytes.subarray(0, bytes.length - 1))).toBeUndefined();
    expect(parseEnvelope(Buffer.concat([Buffer.from([0]), bytes]))).toBeUndefined();
    expect(parseEnvelope(writeEnvelope({ ...envelope, plainBytes: 1.5 }))).toBeUndefined();
    for (let at = 0; at < bytes.length; at += 1) {
      const altered = Buffer.from(bytes);
      altered[at] = (altered[at] ?? 0) ^ 1;
      expect(parseEnvelope(altered), `byte ${at}`).toBeUndefined();
    }
  });
});

describe('timelines', () => {
  const history = parseHistory(
    3,
    '1\t0/5000028\tno recovery target specified\n\n2\t0/9000060\tbefore 2026\n',
  );

  it('says where each one was left', () => {
    expect(timelineAt(history, parseLsn('0/5000027'))).toBe(1);
    expect(timelineAt(history, parseLsn('0/5000028'))).toBe(2);
    expect(timelineAt(history, parseLsn('0/9000060'))).toBe(3);
  });

  it('does not pass through what an ancestor wrote after it was left', () => {
    expect(isOnPath(history, 1, parseLsn('0/4000000'))).toBe(true);
    expect(isOnPath(history, 1, parseLsn('0/6000000'))).toBe(false);
    expect(isOnPath(history, 4, parseLsn('0/4000000'))).toBe(false);
    expect(isOnPath(history, 3, parseLsn('0/8000000'))).toBe(false);
  });

  it('refuses a file that is no history', () => {
    expect(() => parseHistory(3, '3\t0/5000028\tx\n')).toThrow();
    expect(() => parseHistory(3, '2\t0/5000028\tx\n1\t0/6000028\tx\n')).toThrow();
    expect(() => parseHistory(3, 'hello\n')).toThrow();
  });

  it('is reached up to the first gap, over a switch whose last segment only the descendant has', () => {
    const range = (first: string, last: string) => ({ first, last, segments: 1 });
    const survey: WalSurvey = {
      segmentBytes: 16 * mib,
      histories: [history],
      timelines: [
        coverage(1, [range('000000010000000000000002', '000000010000000000000004')]),
        coverage(2, [range('000000020000000000000005', '000000020000000000000009')]),
        coverage(3, [
          range('00000003000000000000000A', '00000003000000000000000B'),
          range('00000003000000000000000D', '00000003000000000000000F'),
        ]),
      ],
    };
    const reach = reachFrom(survey, history, parseLsn('0/2000028'));
    expect(reach.ranges.map((item) => [item.first.slice(6), item.last.slice(6)])).toEqual([
      ['010000000000000002', '010000000000000004'],
      ['020000000000000005', '020000000000000009'],
      ['03000000000000000A', '03000000000000000B'],
    ]);
    expect(reach.missing).toBe('00000003000000000000000C');
    expect(formatLsn(reach.endLsn)).toBe('0/C000000');
    expect(reachFrom(survey, history, parseLsn('0/1000028'))).toMatchObject({
      ranges: [],
      missing: '000000010000000000000001',
    });
  });

  it('is not asked for the damaged history of another one', () => {
    const damage = new DbopsError('copy_damaged', 'damaged');
    const histories = [{ timeline: 2, ancestors: [], damage }, history];
    expect(historyOf({ histories }, 3)).toBe(history);
    expect(() => historyOf({ histories }, 2)).toThrow(damage);
    // A good copy of another store counts.
    const good = { timeline: 2, ancestors: [] };
    expect(historyOf({ histories: [...histories, good] }, 2)).toBe(good);
  });

  it('ignores what an ancestor wrote after it was left', () => {
    const survey: WalSurvey = {
      segmentBytes: 16 * mib,
      histories: [history],
      timelines: [
        coverage(1, [{ first: '000000010000000000000002', last: '000000010000000000000008', segments: 7 }]),
      ],
    };
    // The segment of the switch is whole on timeline 1; what follows it there was written by another server.
    expect(reachFrom(survey, history, parseLsn('0/2000028')).missing).toBe('000000020000000000000006');
  });
});

function coverage(timeline: number, ranges: WalSurvey['timelines'][number]['ranges']) {
  return { timeline, ranges, gaps: [], storedBytes: 0, newestAt: null, partials: [] };
}
