import { DbopsError } from '../errors.ts';
import type { JobContext } from '../partition/context.ts';
import { saveDone } from '../sql/maintenance.ts';
import { ensureState } from '../state/history.ts';
import { rebuildJob } from './rebuild.ts';
import type { TaskResult } from './task.ts';

/**
 * Keeps when views were refreshed, which decides when they are due again, and how large indexes were after their rebuild.
 * A history that cannot be written is a warning.
 */
export async function keepDone(
  { db, settings, log }: Pick<JobContext, 'db' | 'settings' | 'log'>,
  results: TaskResult[],
): Promise<void> {
  const done = results.filter(({ outcome }) => outcome === 'done').flatMap(noteOf);
  if (done.length === 0) return;
  try {
    await ensureState(db, settings.stateSchema);
    for (const { name, spec } of done) await saveDone(db, settings.stateSchema, name, spec);
  } catch (error) {
    if (!(error instanceof DbopsError) || error.exitCode === 3) throw error;
    log.warn(
      { event: 'maintenance_not_recorded', reason: error.message },
      `what was refreshed and rebuilt is not kept, and may be done again by the next run: ${error.message}`,
    );
  }
}

function noteOf({ verb, object, after }: TaskResult): { name: string; spec: object }[] {
  if (verb === 'refresh') return [{ name: `refresh ${object}`, spec: {} }];
  if (verb === 'reindex' && after !== null)
    return [{ name: rebuildJob(object), spec: { sizeBytes: after.sizeBytes } }];
  return [];
}
