import type { JobContext } from '../partition/context.ts';
import { findIndexDetail } from '../sql/index-tables.ts';
import { displayName, type RelationName } from '../sql/quote.ts';

/**
 * Looks, in a session of its own, whether an interrupted statement has left an index that is not valid, and says so: every
 * write keeps it until it is gone. Nothing more is changed after an interruption.
 */
export async function tellLeftover(
  { db, log }: Pick<JobContext, 'db' | 'log'>,
  index: RelationName,
): Promise<boolean> {
  try {
    const fresh = await db.openAnother({ isUninterrupted: true });
    try {
      const left = await findIndexDetail(fresh, index);
      if (left?.isValid !== false) return false;
    } finally {
      await fresh.close();
    }
  } catch {
    // The server cannot be asked, which is told already; the next run looks.
    return false;
  }
  log.warn(
    { event: 'index_left_invalid', index: displayName(index) },
    `the index ${displayName(index)} is left behind, not valid: every write keeps it until the same command is run again, or "dbops index drop"`,
  );
  return true;
}
