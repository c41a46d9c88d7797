import { setTimeout as sleep } from 'node:timers/promises';
import { DbopsError, interrupted } from '../../errors.ts';
import type { JobContext } from '../../partition/context.ts';
import { ensureState } from '../../state/history.ts';
import {
  createRestorePoint,
  deleteDrillMarks,
  getCurrentSegment,
  insertDrillMark,
  switchWal,
} from '../../sql/drill.ts';

/** Between two looks into the archive. */
const pollMs = 250;

/** A target that was made on the source for this drill alone. */
export interface SourceTarget {
  /** Of the restore point. */
  name: string;
  /** The segment in which the mark behind it lies, and which is in the archive by now. */
  segment: string;
  /** From the first mark to the archive having it, in seconds. */
  archivedAfterSeconds: number;
}

/**
 * Commits a mark on the source, names the position behind it, commits another mark, and waits until all of it is archived.
 * What fails takes the marks away again. Throws privilege_missing where the role may do none of that, and store_failed when
 * the archive does not get it in time.
 */
export async function markSource(
  source: JobContext,
  options: { drill: string; isArchived: (segment: string) => Promise<boolean> },
): Promise<SourceTarget> {
  const { db, settings, signal, log } = source;
  const { drill } = options;
  const waitMs = settings.backup.archiveTimeoutMs;
  const schema = settings.stateSchema;
  await ensureState(db, schema);
  try {
    const started = performance.now();
    await insertDrillMark(db, schema, drill, false);
    const name = `dbops_drill_${drill}`;
    await createRestorePoint(db, name);
    await insertDrillMark(db, schema, drill, true);
    const segment = await getCurrentSegment(db);
    await switchWal(db);
    log.info(
      { event: 'drill_marked', restorePoint: name, segment },
      `marked the source with restore point ${name}; waiting for ${segment} to be archived`,
    );
    while (!(await options.isArchived(segment))) {
      if (signal.aborted) throw interrupted(signal);
      if (performance.now() - started > waitMs) throw notArchived(segment, waitMs);
      await sleep(pollMs);
    }
    return { name, segment, archivedAfterSeconds: (performance.now() - started) / 1000 };
  } catch (error) {
    await unmarkSource(source, drill);
    throw error;
  }
}

/** Takes the marks away again. Not worth a failure: the next drill does it. */
export async function unmarkSource(source: JobContext, drill: string): Promise<void> {
  await deleteDrillMarks(source.db, source.settings.stateSchema, drill).catch(() => undefined);
}

function notArchived(segment: string, waitMs: number): DbopsError {
  return new DbopsError(
    'store_failed',
    `${segment} did not come into the archive of WAL within ${String(Math.round(waitMs / 1000))} s`,
    {
      hint: '"dbops wal status" and pg_stat_archiver say what holds it up; "backup.archiveTimeout" is how long it may take.',
    },
  );
}
