import type { JobContext } from '../partition/context.ts';
import type { Db } from '../pg/connection.ts';
import { inParallel } from '../process/parallel.ts';
import { countAfterwards, figuresOf, isCountedLater, measure, type Moment } from './figures.ts';
import { watchProgress } from './progress.ts';
import { runTask } from './run-task.ts';
import type { Task, TaskResult } from './task.ts';
import type { Window } from './window.ts';

export interface RunOptions {
  /** Sessions at once. */
  jobs: number;
  window: Window;
}

/**
 * Does tasks in their order, in sessions of their own, and says what became of each. What is refused, locked or gone does
 * not stop the others; a lost connection and an interruption do.
 */
export async function runTasks(
  context: JobContext,
  tasks: Task[],
  { jobs, window }: RunOptions,
): Promise<TaskResult[]> {
  if (tasks.length === 0) return [];
  const free: Db[] = [];
  const sessions: Db[] = [];
  const progress = watchProgress(context, sessions);
  try {
    const done = await inParallel(jobs, tasks, context.signal, async (task) => {
      const db = free.pop() ?? (await context.db.openAnother());
      if (!sessions.includes(db)) sessions.push(db);
      const finished = await runMeasured(context, db, task, window);
      free.push(db);
      return finished;
    });
    if (isCountedLater(context.db)) await countAfterwards(context.db, done);
    return done.map(({ result }) => result);
  } finally {
    await progress.end();
    await Promise.all(sessions.map((db) => db.close()));
  }
}

async function runMeasured(
  context: JobContext,
  db: Db,
  task: Task,
  window: Window,
): Promise<{ task: Task; result: TaskResult; before: Moment | null }> {
  const before = await measure(db, task);
  const result = await runTask(context, db, task, window);
  result.before = figuresOf(before);
  if (result.outcome === 'done') result.after = figuresOf(await measure(db, task));
  return { task, result, before };
}
