import type { JobContext } from '../partition/context.ts';
import { withAdvisoryLock } from '../pg/advisory-lock.ts';
import { runTasks } from './run-tasks.ts';
import type { MaintenancePlan, TaskResult } from './task.ts';
import type { Window } from './window.ts';

/** So many tasks of a plan are kept in the history. */
const keptTasks = 200;

/** Does what a plan says, while no other run of maintenance does; the plan is made when the lock is there. */
export async function runMaintenance(
  context: JobContext,
  options: { jobs: number; window: Window },
  plan: () => Promise<MaintenancePlan>,
): Promise<{ plan: MaintenancePlan; results: TaskResult[] }> {
  const { db, history, signal, waitMs, log } = context;
  return await withAdvisoryLock(db, 'maintenance', { waitMs, signal }, async () => {
    const planned = await plan();
    // Before anything begins: what stands in the way of all of it is worth more than a result.
    for (const warning of planned.warnings) log.warn({ event: 'maintenance_warning' }, warning);
    if (planned.tasks.length > 0) {
      const kept = planned.tasks.slice(0, keptTasks).map(({ verb, target }) => ({ verb, ...target }));
      await history.begin(db, { tasks: planned.tasks.length, first: kept });
    }
    return { plan: planned, results: await runTasks(context, planned.tasks, options) };
  });
}

/** 0: all is done. 4: nothing is. 5: some is, and running it again does the rest. Pure. */
export function exitCodeOf(results: TaskResult[]): number {
  const done = results.filter(({ outcome }) => outcome === 'done').length;
  if (done === results.length) return 0;
  return done === 0 && results.every(({ outcome }) => outcome !== 'vanished') ? 4 : 5;
}
