import { DbopsError } from '../../errors.ts';
import { connect, type Db } from '../../pg/connection.ts';
import { insertFailedBackup } from '../../sql/backups.ts';
import { getServerIdentity } from '../../sql/export.ts';
import { newId } from '../../storage/id.ts';
import { isPhysical } from '../catalogue/facts.ts';
import type { BackupContext } from '../context.ts';
import { backupPrefix } from '../place.ts';
import type { BackupWish } from './maker.ts';

/** Tells the ledger by the session of the run, or by a new one where that is lost or was interrupted. */
export async function tellLedger(
  { db, settings }: Pick<BackupContext, 'db' | 'settings'>,
  tell: (db: Db) => Promise<void>,
): Promise<void> {
  try {
    await tell(db);
    return;
  } catch {
    // What the new session says of it is thrown.
  }
  const fresh = await connect({ ...settings.connection, applicationName: 'dbops backup create' });
  try {
    await tell(fresh);
  } finally {
    await fresh.close();
  }
}

/**
 * Leaves a row of a backup that failed before anything of it was written, where there is a ledger: what is older is not
 * removed while nothing new comes. What was typed wrongly, and a run beside another one, which leaves a row itself, are no
 * failures of backups.
 */
export async function recordUnmade(
  context: BackupContext,
  wish: BackupWish,
  startedAt: Date,
  error: unknown,
): Promise<void> {
  const { db, settings, log } = context;
  if (db.server.isStandby) return;
  if (error instanceof DbopsError && (error.code === 'usage' || error.code === 'lock_busy')) return;
  const id = newId();
  const database = isPhysical(wish.kind) || wish.kind === 'pgbackrest' ? null : db.server.database;
  const message = error instanceof Error ? error.message : String(error);
  try {
    await tellLedger(context, async (session) => {
      const { systemIdentifier } = await getServerIdentity(session);
      const place = backupPrefix(systemIdentifier, database, id);
      const { kind, reason } = wish;
      const row = { id, kind, database, place, stores: [], reason, startedAt, message };
      await insertFailedBackup(session, settings.stateSchema, row);
    });
  } catch (cause) {
    log.debug({ event: 'backup_failure_unrecorded' }, `the ledger was not told: ${(cause as Error).message}`);
  }
}
