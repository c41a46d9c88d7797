import type { Db } from '../../../pg/connection.ts';
import type { FetchedBackup } from '../../fetch.ts';
import type { BackupManifest } from '../../manifest.ts';
import type { RestoreContext } from '../database/context.ts';
import type { RestorePrograms } from '../database/programs.ts';

/** What the restore of a table is handed: it works in a database that is in use. */
export interface TableContext extends RestoreContext {
  /** In the database that gets the table. */
  target: Db;
  /** How long it waits for the locks of tables that others use, and how long it tries, in milliseconds. */
  locks: { timeoutMs: number; deadlineMs: number };
}

export interface TablePrograms extends RestorePrograms {
  pgDump: string;
}

export type AnyBackup = FetchedBackup & { manifest: BackupManifest };
