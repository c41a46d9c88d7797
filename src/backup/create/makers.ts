import type { BackupKind } from '../../config/backup.ts';
import { DbopsError } from '../../errors.ts';
import type { BackupPlan, Maker } from './maker.ts';

/** Loads what makes backups of a kind. */
export async function findMaker(kind: BackupKind): Promise<Maker<BackupPlan>> {
  await Promise.resolve();
  throw new DbopsError('usage', `backups of kind "${kind}" are not there`);
}
