import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { dumpWal } from '../restore/pitr/waldump.ts';
import { readWal } from './archive.ts';
import type { newestSegment } from './status.ts';

/** When the last transaction in a segment was committed; null when it holds no commit. Throws tool_failed or copy_damaged. */
export async function lastCommitIn(
  segment: NonNullable<ReturnType<typeof newestSegment>>,
  systemIdentifier: string,
  options: { pgWaldump: string; workDirectory: string; signal: AbortSignal },
): Promise<Date | null> {
  const { store, name, segmentBytes } = segment;
  const { signal } = options;
  const folder = await mkdtemp(join(options.workDirectory, 'dbops-wal-'));
  try {
    await readWal(store, systemIdentifier, name, join(folder, name), { signal });
    let last: bigint | undefined;
    await dumpWal(options.pgWaldump, folder, { first: name, last: name, segmentBytes }, 'Transaction', {
      signal,
      onRecord: ({ kind, micros }) => {
        if (kind === 'commit' && micros !== undefined) last = micros;
      },
    });
    return last === undefined ? null : new Date(Number(last / 1000n));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
