import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ObjectProblem } from '../../catalogue/presence.ts';
import { ours } from '../../catalogue/stored.ts';
import { inParallel } from '../../process/parallel.ts';
import { withWorkDirectory } from '../../process/work-directory.ts';
import type { Store } from '../../storage/store.ts';
import { segmentsBetween } from '../create/physical/archived-wal.ts';
import type { BackupManifest } from '../manifest.ts';
import { readWal } from '../wal/archive.ts';
import { walKey } from '../wal/place.ts';
import { parseLsn } from '../wal/segment.ts';
import { isOutage, type Outage } from './outage.ts';

export interface WalCheck {
  /** What is wrong with one copy of a segment. */
  problems: ObjectProblem[];
  /** Segments that no store has whole: the backup cannot be made consistent. */
  lost: string[];
  /** Segments that no store was seen to have, while one of them could not be asked. */
  unknown: string[];
  outages: Outage[];
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
  if (physical === null || physical.wal === 'included')
    return { problems: [], lost: [], unknown: [], outages: [] };
  const { timeline, startLsn, stopLsn, walSegmentBytes } = physical;
  const needed = segmentsBetween(timeline, parseLsn(startLsn), parseLsn(stopLsn), walSegmentBytes);
  const { systemIdentifier } = manifest.server;
  const checked = await withWorkDirectory(context.workDirectory, 'verify', async (directory) =>
    inParallel(context.jobs, needed, context.signal, async (name, signal) => {
      const problems: ObjectProblem[] = [];
      const outages: Outage[] = [];
      let good = 0;
      for (const store of stores) {
        const path = join(directory, `${name}-${store.name}`);
        try {
          await readWal(store, systemIdentifier, name, path, { zstd: context.zstd, signal });
          good += 1;
        } catch (error) {
          const known = ours(error);
          const problem = known.code === 'store_missing' ? 'it is missing' : (known.detail ?? known.message);
          if (isOutage(known)) outages.push({ store: store.name, problem: known.message });
          else problems.push({ store: store.name, object: walKey(systemIdentifier, name), problem });
        } finally {
          await rm(path, { force: true });
        }
      }
      // What is missing in a store that is not needed for it is as it was configured; what is damaged is told in any case.
      const told = problems.filter(
        (item) => good + outages.length < required || item.problem !== 'it is missing',
      );
      return { name, problems: told, outages, good };
    }),
  );
  const none = checked.filter((item) => item.good === 0);
  return {
    problems: checked.flatMap((item) => item.problems),
    lost: none.filter((item) => item.outages.length === 0).map((item) => item.name),
    unknown: none.filter((item) => item.outages.length > 0).map((item) => item.name),
    outages: checked.flatMap((item) => item.outages),
  };
}
