import type { BackupKind } from '../../config/backup.ts';
import { DbopsError } from '../../errors.ts';
import type { BackupPlan, Maker } from './maker.ts';

const loadPhysical = async () => (await import('./physical/make.ts')).physicalMaker;
const loaders: Partial<Record<BackupKind, () => Promise<Maker<BackupPlan>>>> = {
  base: loadPhysical,
  incremental: loadPhysical,
  snapshot: loadPhysical,
  pgbackrest: async () => (await import('./pgbackrest.ts')).pgbackrestMaker,
};

/** Loads what makes backups of a kind. */
export async function findMaker(kind: BackupKind): Promise<Maker<BackupPlan>> {
  const load = loaders[kind];
  if (load === undefined) throw new DbopsError('usage', `backups of kind "${kind}" are not there`);
  return await load();
}
