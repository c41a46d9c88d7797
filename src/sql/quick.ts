import type { Db, Query } from '../pg/connection.ts';

/** What a question may cost: nobody waits behind it, and it gives up before its reader does. */
const lockTimeout = '100ms';
export const quickTimeoutMs = 5000;

/** Bounds every statement of the session by that, until resetTimeouts(). */
export async function askOnlyQuickly(db: Db): Promise<void> {
  await db.execute(
    `/* dbops:quick.timeouts */ set lock_timeout = '${lockTimeout}'; set statement_timeout = '${String(quickTimeoutMs)}ms'`,
  );
}

/**
 * Asks with short timeouts and puts those of the session back. Throws lock_timeout and statement_timeout. Privilege:
 * that of the question. Locks: those of the question, waited for at most 100 ms each.
 */
export async function askQuickly<Row extends object>(
  db: Db,
  query: Pick<Query, 'text' | 'values'>,
): Promise<Row[]> {
  await askOnlyQuickly(db);
  try {
    return await db.query<Row>(query);
  } finally {
    await db.resetTimeouts();
  }
}
