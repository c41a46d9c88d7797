import type { BackupKind } from '../../config/backup.ts';
import type { BackupPlan, Maker } from './maker.ts';

const loadLogical = async () => (await import('./logical/maker.ts')).logicalMaker;
const loadPhysical = async () => (await import('./physical/make.ts')).physicalMaker;
const loaders: Record<BackupKind, () => Promise<Maker<BackupPlan>>> = {
  logical: loadLogical,
  schema: loadLogical,
  table: loadLogical,
  partition: loadLogical,
  base: loadPhysical,
  incremental: loadPhysical,
  snapshot: loadPhysical,
  pgbackrest: async () => (await import('./pgbackrest.ts')).pgbackrestMaker,
};

/** Loads what makes backups of a kind. */
export async function findMaker(kind: BackupKind): Promise<Maker<BackupPlan>> {
  return await loaders[kind]();
}
