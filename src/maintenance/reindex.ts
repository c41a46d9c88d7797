import { humanBytes } from '../output/human.ts';
import type { JobContext } from '../partition/context.ts';
import type { Change } from '../plan/step.ts';
import {
  dropLeftoverSql,
  listLeftovers,
  listRebuilds,
  reindexSql,
  type RebuildRow,
} from '../sql/maintenance-indexes.ts';
import type { LockMode } from '../sql/locks.ts';
import { displayName, relation } from '../sql/quote.ts';
import { findFreeBytes } from './disk.ts';
import { findNamed, indexes as indexKinds } from './scope.ts';
import type { LeftOut, MaintenancePlan, Task } from './task.ts';

/** What a person has named; with nothing, leftovers alone are removed. */
export interface ReindexRequest {
  tables: string[];
  indexes: string[];
}

/** A rebuild takes its size once more, and WAL beside it. */
const roomFactor = 1.2;

/**
 * What is left behind by rebuilds that failed goes first, then the named indexes are rebuilt, the smallest first, so that each
 * makes room for the next. Throws table_not_found and usage.
 */
export async function planReindex(
  { db }: Pick<JobContext, 'db'>,
  { tables, indexes }: ReindexRequest,
): Promise<MaintenancePlan> {
  const leftovers = await planLeftovers(db);
  if (tables.length + indexes.length === 0) return leftovers;
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
    if (freeBytes !== null && row.sizeBytes * roomFactor > freeBytes)
      leftOut.push({
        object: displayName(row),
        why: `it takes ${humanBytes(row.sizeBytes)} once more, and ${humanBytes(freeBytes)} are free`,
      });
    else tasks.push(rebuildTask(row));
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
      })),
    warnings: [],
  };
}

function rebuildTask(row: RebuildRow): Task {
  return indexTask(row, 'reindex', `it was asked for; ${humanBytes(row.sizeBytes)}`, {
    sql: reindexSql(row),
    // Writers are waited for; those that come later go on.
    free: 'SHARE',
  });
}

function leftoverTask(row: RebuildRow): Task {
  const why = `a rebuild that failed left it behind, invalid; ${humanBytes(row.sizeBytes)}`;
  return indexTask(row, 'drop leftover', why, { sql: dropLeftoverSql(row), free: 'ACCESS EXCLUSIVE' });
}

/**
 * It has no lock_timeout: that would end it half done, since it counts for transactions that are waited for as well. Instead
 * it begins when nothing lasting is in the way, and stands in no queue that readers and writers pass.
 */
function indexTask(
  row: RebuildRow,
  verb: 'reindex' | 'drop leftover',
  why: string,
  { sql, free }: { sql: string; free: LockMode },
): Task {
  const table = relation({ schema: row.tableSchema, name: row.tableName });
  const change: Change = {
    summary: `${verb} ${displayName(row)}`,
    table: displayName({ schema: row.tableSchema, name: row.tableName }),
    kind: 'single',
    lockTimeoutMs: null,
    statementTimeoutMs: null,
    startWhenFree: [{ table, mode: free }],
    isTriedOnce: true,
    event: `maintenance_${verb.replace(' ', '_')}`,
    steps: [{ sql, locks: [{ table, mode: 'SHARE UPDATE EXCLUSIVE' }], why }],
  };
  return { verb, target: row, isMeasured: true, why, change };
}
