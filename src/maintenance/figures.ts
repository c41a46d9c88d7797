import { DbopsError } from '../errors.ts';
import type { Db } from '../pg/connection.ts';
import { listFigures, type FiguresRow } from '../sql/maintenance.ts';
import { displayName } from '../sql/quote.ts';
import type { Figures, Task, TaskResult } from './task.ts';

/** What a table or index was like, and how often it had been vacuumed and analyzed by then. */
export type Moment = Figures & Pick<FiguresRow, 'maintained'>;

/** What a task is about, at this moment; null where it is gone, and where a lock is in the way of looking. */
export async function measure(db: Db, { isMeasured, target }: Task): Promise<Moment | null> {
  if (!isMeasured) return null;
  try {
    const [row] = await listFigures(db, [target]);
    return row ?? null;
  } catch (error) {
    if (error instanceof DbopsError && error.code === 'lock_timeout') return null;
    throw error;
  }
}

export function figuresOf(moment: Moment | null): Figures | null {
  if (moment === null) return null;
  const { sizeBytes, deadRows, xidAge } = moment;
  return { sizeBytes, deadRows, xidAge };
}

/** Before PostgreSQL 15 a process of its own counts, up to half a second later: too long to wait for each table. */
export function isCountedLater(db: Db): boolean {
  return db.server.versionNum < 150_000;
}

const patienceMs = 1000;

/** Fills in the dead rows that are left after what was done, in one question for all, when they are counted. */
export async function countAfterwards(
  db: Db,
  done: { task: Task; result: TaskResult; before: Moment | null }[],
): Promise<void> {
  const counted = done.filter(({ task, result }) => isCounted(task.verb) && result.after !== null);
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const rows = await listFigures(
      db,
      counted.map(({ task }) => task.target),
    );
    const byName = new Map(rows.map((row) => [displayName(row), row]));
    const isThere = counted.every(
      ({ result, before }) => (byName.get(result.object)?.maintained ?? 1) > (before?.maintained ?? 0),
    );
    if (isThere || performance.now() >= deadline) {
      for (const { result } of counted) {
        const row = byName.get(result.object);
        if (result.after !== null && row !== undefined) result.after.deadRows = row.deadRows;
      }
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Whether the statistics count it; VACUUM FULL counts as the ANALYZE beside it. */
function isCounted(verb: Task['verb']): boolean {
  return verb.startsWith('vacuum') || verb === 'analyze';
}
