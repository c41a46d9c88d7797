import { humanCount } from '../../output/human.ts';
import { Progress } from '../../output/progress.ts';
import { copyIn } from '../../process/copy.ts';
import { relation } from '../../sql/quote.ts';
import type { Store } from '../../storage/store.ts';
import type { ArchiveContext } from '../context.ts';
import type { ManifestPart } from '../manifest.ts';
import { inParallel } from '../../process/parallel.ts';
import { pinnedStatements } from './changes.ts';
import { withGoodCopy } from './copies.ts';
import type { LoadTarget } from './plan.ts';
import { compareStored, damaged, forward } from '../../storage/read.ts';

/**
 * Loads all parts, several at a time. Each is committed only when its stored bytes have the hash of the manifest and COPY
 * counted its rows; one that is damaged in a store is read from the next store that has the archive. Returns the rows.
 * Throws copy_damaged, store_failed, tool_failed. Locks: ROW EXCLUSIVE on the table.
 */
export async function loadParts(context: ArchiveContext, plan: LoadTarget): Promise<number> {
  const { parts } = plan.archive.manifest;
  const progress = new Progress(context.log, `restoring ${plan.label}`, 'restore_progress');
  try {
    await inParallel(context.jobs, parts, context.signal, async (part, signal) => {
      await withGoodCopy({ ...context, signal }, plan.archive, part, (store, key) =>
        loadFrom(context, plan, part, { store, key, signal, onBytes: (bytes) => progress.add(bytes) }),
      );
      context.log.debug(
        { event: 'restore_part_loaded', part: part.name, rows: part.rows },
        `loaded ${part.name}: ${humanCount(part.rows)} rows`,
      );
    });
  } finally {
    progress.end();
  }
  return parts.reduce((sum, part) => sum + part.rows, 0);
}

interface LoadSource {
  store: Store;
  key: string;
  signal: AbortSignal;
  onBytes: (bytes: number) => void;
}

async function loadFrom(
  context: ArchiveContext,
  plan: LoadTarget,
  part: ManifestPart,
  from: LoadSource,
): Promise<void> {
  const { store, key, signal, onBytes } = from;
  const source = await store.get(key, { signal });
  const copy = copyIn(relation(plan.target), {
    programs: await context.programs(),
    connection: context.connection,
    signal,
    isGentle: context.isGentle,
    before: ['begin', ...pinnedStatements(plan.archive)],
  });
  try {
    const stored = await forward(source, copy.stored, onBytes);
    compareStored(store, key, stored, part);
    const { rows } = await copy.loaded;
    if (rows !== part.rows) {
      throw damaged(
        store,
        key,
        `COPY counted ${String(rows)} rows, and the manifest has ${String(part.rows)}`,
      );
    }
    await copy.commit();
  } catch (error) {
    copy.stop();
    throw error;
  }
}
