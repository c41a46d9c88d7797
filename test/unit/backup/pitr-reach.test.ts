import { describe, expect, it } from 'vitest';
import { DbopsError } from '../../../src/errors.ts';
import type { PhysicalBackup } from '../../../src/backup/restore/pitr/candidates.ts';
import { planStop } from '../../../src/backup/restore/pitr/reach.ts';
import type { ScanContext } from '../../../src/backup/restore/pitr/scan.ts';
import type { TimelineCoverage } from '../../../src/backup/wal/coverage.ts';

const segmentBytes = 16 * 1024 ** 2;
const backup = {
  id: 'b1',
  stopLsn: 0x2000100n,
  stopMicros: 0n,
  physical: {
    wal: 'included',
    startLsn: '0/2000028',
    stopLsn: '0/2000100',
    stopWal: '000000010000000000000002',
  },
} as unknown as PhysicalBackup;

function segment(timeline: number, number: number): string {
  const hex = (value: number) => value.toString(16).toUpperCase().padStart(8, '0');
  return `${hex(timeline)}${hex(0)}${hex(number)}`;
}

function coverage(timeline: number, first: number, last: number, partials: string[] = []): TimelineCoverage {
  const range = {
    first: segment(timeline, first),
    last: segment(timeline, last),
    segments: last - first + 1,
  };
  return { timeline, ranges: [range], gaps: [], storedBytes: 0, newestAt: null, partials };
}

function stopAtLatest(
  timelines: TimelineCoverage[],
  over: { unasked?: ScanContext['view']['unasked']; clamp?: boolean } = {},
) {
  const view = {
    survey: { timelines, histories: [], segmentBytes },
    unasked: over.unasked ?? [],
  } as unknown as ScanContext['view'];
  return planStop({ view } as ScanContext, {
    backup,
    history: { timeline: 1, ancestors: [] },
    target: { kind: 'latest' },
    clamp: over.clamp ?? false,
    pause: false,
    hasArchive: timelines.length > 0,
    closedAt: () => Promise.resolve(undefined),
    pointLsn: undefined,
  });
}

describe('the end of the archive', () => {
  it('is that of a timeline that another one was promoted from, and tells what is archived in part alone', async () => {
    const partial = `${segment(1, 5)}.partial`;
    const stop = await stopAtLatest([coverage(1, 3, 4, [partial]), coverage(2, 5, 9)]);
    expect(stop.setting).toBeUndefined();
    expect(stop.notes).toEqual([
      `${segment(1, 5)} is archived as .partial alone, which a recovery does not read: it ends before it.`,
    ]);
  });

  it('is not that of the backup itself while a store of WAL cannot be asked', async () => {
    const unasked = [{ store: 'far', error: new DbopsError('store_failed', 'it does not answer') }];
    await expect(stopAtLatest([], { unasked })).rejects.toMatchObject({
      code: 'refused',
      message: expect.stringContaining('store "far" could not be asked for WAL') as unknown,
      detail: 'store "far" could not be asked: it does not answer',
    });
    const clamped = await stopAtLatest([], { unasked, clamp: true });
    expect(clamped.setting).toEqual({ name: 'recovery_target', value: 'immediate' });
    expect(clamped.notes.join()).toContain('were not asked (far)');
    const own = await stopAtLatest([]);
    expect(own.notes.join()).toContain('No WAL is archived after backup b1');
  });
});
