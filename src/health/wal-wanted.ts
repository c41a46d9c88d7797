import type { Settings } from '../config/settings.ts';

/** Kinds of backups that WAL is replayed onto. */
const replayed = ['base', 'incremental', 'snapshot'] as const;

/** Why nothing is said of the archive of WAL. */
export const notWanted =
  'the configuration says nothing of WAL: no "wal:", and no base backups in "backup.retain"';

/** Whether the configuration counts on archived WAL. Pure. */
export function isWalWanted(settings: Settings): boolean {
  return (
    settings.wal.copies.length > 0 &&
    (settings.files.some((file) => file.settings.wal !== undefined) ||
      replayed.some((kind) => settings.backup.retain[kind] !== undefined))
  );
}
