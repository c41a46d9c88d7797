import type { JobContext } from '../partition/context.ts';
import { withAdvisoryLock } from '../pg/advisory-lock.ts';
import { keepDone } from './keep.ts';
import { planLeftovers } from './reindex.ts';
import { runTasks } from './run-tasks.ts';
import type { LeftOut, MaintenancePlan, Task, TaskResult } from './task.ts';
import { noWindow, type Window } from './window.ts';

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
    const results = await runStages(context, planned.tasks, options);
    await keepDone(context, results);
    return { plan: planned, results: [...results, ...(await cleanUp(context, results))] };
  });
}

interface Stage {
  verbs: readonly Task['verb'][];
  isLate?: boolean;
  /** One after the other, whatever the number of jobs. */
  isSingle?: boolean;
}

/** One stage ends before the next begins: two at once on one table would only stand in each other's way. */
const stages: readonly Stage[] = [
  { verbs: ['set'] },
  { verbs: ['vacuum', 'vacuum full', 'analyze'] },
  // ANALYZE of a partitioned table analyzes its partitions before PostgreSQL 18, those of a tree in a tree twice.
  { verbs: ['analyze'], isLate: true, isSingle: true },
  // Each rebuild waits for transactions that were there before, those of other rebuilds too.
  { verbs: ['drop leftover', 'reindex'], isSingle: true },
  { verbs: ['refresh'] },
];

async function runStages(
  context: JobContext,
  tasks: Task[],
  { jobs, window }: { jobs: number; window: Window },
): Promise<TaskResult[]> {
  const results: TaskResult[] = [];
  for (const { verbs, isLate = false, isSingle = false } of stages) {
    const own = tasks.filter((task) => verbs.includes(task.verb) && (task.isLate ?? false) === isLate);
    results.push(...(await runTasks(context, own, { jobs: isSingle ? 1 : jobs, window })));
  }
  return results;
}

/** What a rebuild of this run has left behind goes at once; the window does not count for what takes milliseconds. */
async function cleanUp(context: JobContext, results: TaskResult[]): Promise<TaskResult[]> {
  const hasFailed = results.some(({ verb, outcome }) => verb === 'reindex' && outcome !== 'done');
  if (!hasFailed) return [];
  const { tasks } = await planLeftovers(context.db);
  return await runTasks(context, tasks, { jobs: 1, window: noWindow });
}

/** 0: all is done. 4: nothing is. 5: some is, and running it again does the rest. What had to be left out is not done. Pure. */
export function exitCodeOf(results: TaskResult[], leftOut: LeftOut[] = []): number {
  const done = results.filter(({ outcome }) => outcome === 'done').length;
  if (done === results.length && leftOut.every(({ isExpected }) => isExpected === true)) return 0;
  return done === 0 && results.every(({ outcome }) => outcome !== 'vanished') ? 4 : 5;
}
