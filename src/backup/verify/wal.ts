import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ObjectProblem } from '../../catalogue/presence.ts';
import { ours } from '../../catalogue/stored.ts';
import { inParallel } from '../../process/parallel.ts';
import type { Store } from '../../storage/store.ts';
import { segmentsBetween } from '../create/physical/archived-wal.ts';
import type { BackupManifest } from '../manifest.ts';
import { readWal } from '../wal/archive.ts';
import { walKey } from '../wal/place.ts';
import { parseLsn } from '../wal/segment.ts';

export interface WalCheck {
  /** What is wrong with one copy of a segment. */
  problems: ObjectProblem[];
  /** Segments that no store has whole: the backup cannot be made consistent. */
  lost: string[];
}

/**
 * Reads every segment that a base backup needs to be consistent from every store, decompressed, with its hash and the
 * header of its first page. A segment need not be in every store; how many are enough, `required` says.
 */
export async function checkNeededWal(
  context: { workDirectory: string; zstd: string; jobs: number; signal: AbortSignal },
  stores: Store[],
  manifest: BackupManifest,
  required: number,
): Promise<WalCheck> {
  const { physical } = manifest;
  if (physical === null || physical.wal === 'included') return { problems: [], lost: [] };
  const { timeline, startLsn, stopLsn, walSegmentBytes } = physical;
  const needed = segmentsBetween(timeline, parseLsn(startLsn), parseLsn(stopLsn), walSegmentBytes);
  const { systemIdentifier } = manifest.server;
  const directory = await mkdtemp(join(context.workDirectory, 'dbops-verify-'));
  try {
    const checked = await inParallel(context.jobs, needed, context.signal, async (name, signal) => {
      const problems: ObjectProblem[] = [];
      let good = 0;
      for (const store of stores) {
        const path = join(directory, `${name}-${store.name}`);
        try {
          await readWal(store, systemIdentifier, name, path, { zstd: context.zstd, signal });
          good += 1;
        } catch (error) {
          const { code, message, detail } = ours(error);
          const problem = code === 'store_missing' ? 'it is missing' : (detail ?? message);
          problems.push({ store: store.name, object: walKey(systemIdentifier, name), problem });
        } finally {
          await rm(path, { force: true });
        }
      }
      // What is missing in a store that is not needed for it is as it was configured; what is damaged is told in any case.
      const told = problems.filter((item) => good < required || item.problem !== 'it is missing');
      return { name, problems: told, isLost: good === 0 };
    });
    return {
      problems: checked.flatMap((item) => item.problems),
      lost: checked.filter((item) => item.isLost).map((item) => item.name),
    };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
