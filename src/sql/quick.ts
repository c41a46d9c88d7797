import type { Db, Query } from '../pg/connection.ts';

/** What a question for people may cost: nobody waits behind it, and it gives up before its reader does. */
const lockTimeout = '100ms';
const statementTimeout = '5s';

/**
 * Asks with short timeouts and puts those of the session back. Throws lock_timeout and statement_timeout. Privilege:
 * that of the question. Locks: those of the question, waited for at most 100 ms each.
 */
export async function askQuickly<Row extends object>(
  db: Db,
  query: Pick<Query, 'text' | 'values'>,
): Promise<Row[]> {
  await db.execute(
    `/* dbops:quick.timeouts */ set lock_timeout = '${lockTimeout}'; set statement_timeout = '${statementTimeout}'`,
  );
  try {
    return await db.query<Row>(query);
  } finally {
    await db.resetTimeouts();
  }
}
