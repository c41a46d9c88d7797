import { setTimeout as sleep } from 'node:timers/promises';
import { ident } from '../../../sql/quote.ts';
import { endSessions } from '../../../sql/restore-database.ts';
import type { RestoreContext } from './context.ts';

/** ALTER DATABASE ... RENAME waits five seconds for sessions to end, while it lets no new one in. */
const againMs = 100;

/** Gives a database that nobody uses its name. */
export async function renameDatabase(context: RestoreContext, from: string, to: string): Promise<void> {
  await context.db.execute(`alter database ${ident(from)} rename to ${ident(to)}`);
}

/**
 * Puts one database in the place of another, which is kept under a third name: both renames in one transaction, so that
 * there is a database of this name before and after, whatever happens in between. Sessions in the old one are ended while
 * the rename holds new ones off; they find the new one when they come again. Throws what the server says when somebody
 * cannot be ended; nothing is changed then. Locks: ACCESS EXCLUSIVE on both databases, for an instant.
 */
export async function swapDatabases(
  context: RestoreContext,
  names: { working: string; target: string; kept: string },
): Promise<void> {
  const { db } = context;
  const helper = await db.openAnother();
  let isDone = false;
  const ending = (async () => {
    while (!isDone) {
      await endSessions(helper, names.target);
      await sleep(againMs);
    }
  })();
  // It is awaited below; until then the rename is what matters.
  ending.catch(() => undefined);
  try {
    await db.executeTransaction([
      "set local lock_timeout = '10s'",
      `alter database ${ident(names.target)} rename to ${ident(names.kept)}`,
      `alter database ${ident(names.working)} rename to ${ident(names.target)}`,
    ]);
  } finally {
    isDone = true;
    await ending.catch((error: unknown) => {
      context.log.debug(
        { event: 'sessions_not_ended', reason: String(error) },
        'sessions of others could not be ended',
      );
    });
    await helper.close();
  }
}
