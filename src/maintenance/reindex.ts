import { DbopsError } from '../errors.ts';
import { humanBytes } from '../output/human.ts';
import type { JobContext } from '../partition/context.ts';
import { countIndexes, listLeftovers, listRebuilds } from '../sql/maintenance-indexes.ts';
import { displayName } from '../sql/quote.ts';
import { planBloated } from './bloated.ts';
import { findFreeBytes } from './disk.ts';
import { findNamed, indexes as indexKinds } from './scope.ts';
import { findRebuildObstacle, leftoverTask, rebuildTask } from './rebuild.ts';
import { joinPlans, type LeftOut, type MaintenancePlan, type Task } from './task.ts';

/** What a person has named; with nothing, leftovers alone are removed. */
export interface ReindexRequest {
  tables: string[];
  indexes: string[];
  /** Those that are mostly air as well. */
  bloated?: boolean;
}

/**
 * What is left behind by rebuilds that failed goes first, then the named indexes are rebuilt, the smallest first, so that each
 * makes room for the next. Throws table_not_found and usage.
 */
export async function planReindex(
  { db, settings }: Pick<JobContext, 'db' | 'settings'>,
  { tables, indexes, bloated = false }: ReindexRequest,
): Promise<MaintenancePlan> {
  const leftovers = await planLeftovers(db);
  if (bloated) {
    if (tables.length + indexes.length > 0)
      throw new DbopsError('usage', '--bloated goes neither with --table nor with --index');
    return joinPlans([leftovers, await planBloated({ db, settings })]);
  }
  if (tables.length + indexes.length === 0) {
    if (leftovers.tasks.length + leftovers.leftOut.length > 0) return leftovers;
    const what = 'indexes, none of them the leftover of a rebuild,';
    return { ...leftovers, looked: [{ what, count: await countIndexes(db), nearest: null }] };
  }
  const ofTables = tables.length === 0 ? [] : await findNamed(db, tables);
  const ofIndexes = indexes.length === 0 ? [] : await findNamed(db, indexes, indexKinds);
  const rows = await listRebuilds(db, {
    indexes: ofIndexes.flatMap(({ members }) => members),
    tables: ofTables.flatMap(({ members }) => members),
  });
  const freeBytes = rows.length === 0 ? null : await findFreeBytes(db);
  const leftOut: LeftOut[] = [...leftovers.leftOut];
  const tasks: Task[] = [...leftovers.tasks];
  for (const row of rows) {
    const obstacle = findRebuildObstacle(db, row, freeBytes);
    if (obstacle !== undefined) leftOut.push({ object: displayName(row), why: obstacle });
    else tasks.push(rebuildTask(row, `it was asked for; ${humanBytes(row.sizeBytes)}`));
  }
  const warnings =
    freeBytes === null && rows.length > 0
      ? [
          'the free disk of the server is not seen from here; each rebuild takes the size of its index once more',
        ]
      : [];
  return { tasks, leftOut, warnings };
}

/** Leftovers take disk and slow down writers. One that is being built is left alone. */
export async function planLeftovers(db: JobContext['db']): Promise<MaintenancePlan> {
  const rows = await listLeftovers(db);
  return {
    tasks: rows.filter(({ isInUse }) => !isInUse).map(leftoverTask),
    leftOut: rows
      .filter(({ isInUse }) => isInUse)
      .map((row) => ({
        object: displayName(row),
        why: 'a session works on it or on its table: it may be in the making',
        isExpected: true,
      })),
    warnings: [],
  };
}
