import { humanBytes } from '../output/human.ts';
import type { Db } from '../pg/connection.ts';
import type { LockMode } from '../sql/locks.ts';
import { dropLeftoverSql, reindexSql, type RebuildRow } from '../sql/maintenance-indexes.ts';
import { displayName, relation } from '../sql/quote.ts';
import type { Task } from './task.ts';

/** A rebuild takes its size once more, and WAL beside it. */
const roomFactor = 1.2;

/** A rebuild is not begun when it would not end in its window: so much of an index a slow disk rebuilds in a second. */
const bytesPerSecond = 20 * 2 ** 20;

/** The versions whose concurrent builds may miss rows, until 14.4. */
const corrupting = { from: 140_000, to: 140_004 };

/** The name under which it is kept how large an index was after its last rebuild. */
export function rebuildJob(index: string): string {
  return `reindex ${index}`;
}

/** Why an index cannot be rebuilt now. Pure. */
export function findRebuildObstacle(
  { server }: Pick<Db, 'server'>,
  { sizeBytes, mayRebuild }: RebuildRow,
  freeBytes: number | null,
): string | undefined {
  if (server.versionNum >= corrupting.from && server.versionNum < corrupting.to)
    return `PostgreSQL ${server.version} may leave rows out of what it builds concurrently: update to 14.4 or later first`;
  if (!mayRebuild) return 'this role neither owns its table nor may maintain it';
  if (freeBytes !== null && sizeBytes * roomFactor > freeBytes)
    return `it takes ${humanBytes(sizeBytes)} once more, and ${humanBytes(freeBytes)} are free`;
  return undefined;
}

export function rebuildTask(row: RebuildRow, why: string): Task {
  return {
    ...indexTask(row, 'reindex', why, {
      sql: reindexSql(row),
      // Writers are waited for; those that come later go on.
      free: 'SHARE',
    }),
    expectedSeconds: row.sizeBytes / bytesPerSecond,
  };
}

export function leftoverTask(row: RebuildRow): Task {
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
  return {
    verb,
    target: { schema: row.schema, name: row.name },
    isMeasured: true,
    why,
    change: {
      summary: `${verb} ${displayName(row)}`,
      table: displayName({ schema: row.tableSchema, name: row.tableName }),
      kind: 'single',
      lockTimeoutMs: null,
      statementTimeoutMs: null,
      startWhenFree: [{ table, mode: free }],
      isTriedOnce: true,
      event: `maintenance_${verb.replace(' ', '_')}`,
      steps: [{ sql, locks: [{ table, mode: 'SHARE UPDATE EXCLUSIVE' }], why }],
    },
  };
}
