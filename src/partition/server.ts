import { DbopsError } from '../errors.ts';
import type { Db } from '../pg/connection.ts';

/**
 * Refuses to change anything through a session that cannot bear it: a standby, a read-only session, or a pooler that
 * hands each transaction to another backend (advisory locks and CONCURRENTLY need one session).
 */
export async function refuseUnfitServer(db: Db, options: { isStandbyFit?: boolean } = {}): Promise<void> {
  const { isStandby, isReadOnly, isPooled, database } = db.server;
  const isFit = isStandby && options.isStandbyFit === true;
  if (isStandby && !isFit) {
    throw new DbopsError(
      'read_only',
      `database "${database}" is on a standby, where nothing can be changed`,
      {
        hint: 'Connect to the primary.',
      },
    );
  }
  if (isReadOnly && !isFit) {
    throw new DbopsError('read_only', `this session on database "${database}" is read-only`, {
      hint: 'See default_transaction_read_only of the server, the database and the role ("dbops doctor" shows it).',
    });
  }
  if (isPooled && (await isTransactionPooling(db))) {
    throw new DbopsError(
      'transaction_pooling',
      'a pooler in transaction mode stands between dbops and the server',
      {
        hint: 'Connect to the server itself (for PgBouncer: its own port instead of 6432), or to a pool in session mode.',
      },
    );
  }
}

/**
 * Whether a pooler gives one backend to two client connections at a time: a second connection that gets the backend of
 * this one, which is still open, proves it. In session mode it never can.
 */
export async function isTransactionPooling(db: Db): Promise<boolean> {
  const other = await db.openAnother();
  try {
    if (other.server.pid === db.server.pid) return true;
    const [mine] = await db.query<{ pid: number }>({
      text: '/* dbops:session.pid */ select pg_catalog.pg_backend_pid() as pid',
    });
    return mine?.pid !== db.server.pid;
  } finally {
    await other.close();
  }
}
