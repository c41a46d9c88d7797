import { resolve } from 'node:path';
import { durationMs, type Duration } from './duration.ts';
import type { Picker } from './picker.ts';
import type { BackupKind, FileBackup, FileRetain, FileWal } from './schema-backup.ts';
import { parseSize } from './size.ts';
import type { StoreSettings } from './stores.ts';

export { backupKinds, type BackupKind } from './schema-backup.ts';

/** Which backups of one kind are kept: those that any of these rules keeps. */
export type RetainRules = FileRetain;

/** What holds for all backups, completed with the defaults. Sizes in bytes. */
export interface BackupSettings {
  /** Names of the stores that get a copy. */
  copies: string[];
  /** In how many of them it must be. */
  required: number;
  jobs: number;
  compressionLevel: number;
  /** Undefined: the system's temporary directory. */
  workDirectory: string | undefined;
  minimumBytes: number;
  countRows: boolean;
  hashBelowBytes: number;
  /** How long a base backup waits for its WAL in the archive. */
  archiveTimeoutMs: number;
  /** A kind that is not in it is kept for ever. */
  retain: Partial<Record<BackupKind, RetainRules>>;
  promise: { rto: Duration; rpo: Duration; pitrRto: Duration; pitrRpo: Duration };
  drill: { url: string | undefined; directory: string | undefined; checks: Record<string, string> };
  pgbackrest: { stanza: string; config: string | undefined; user: string } | undefined;
  /** A shell command. */
  onFailure: string | undefined;
}

/** What holds for the archive of WAL. */
export interface WalSettings {
  copies: string[];
  required: number;
  spool: string;
  jobs: number;
  ahead: number;
  compressionLevel: number;
}

const hour = 3600;

/** The settings under `backup:`. */
export function backupSettings(picker: Picker, stores: StoreSettings[]): BackupSettings {
  const pick = <Key extends keyof FileBackup>(key: Key, fallback?: FileBackup[Key]) =>
    picker.pick(`backup.${key}`, [
      ...picker.fromFiles((file) => file.backup?.[key]),
      { value: fallback, source: 'default' },
    ]) as FileBackup[Key];
  const promised = (key: 'rto' | 'rpo' | 'pitrRto' | 'pitrRpo', seconds: number) =>
    picker.pick(`backup.promise.${key}`, [
      ...picker.fromFiles((file) => file.backup?.promise?.[key]),
      { value: { months: 0, seconds }, source: 'default' },
    ]) as Duration;
  const copies =
    pick(
      'copies',
      stores.map((store) => store.name),
    ) ?? [];
  const drill = (key: 'url' | 'directory' | 'checks') =>
    picker.pick(
      `backup.drill.${key}`,
      picker.fromFiles((file) => file.backup?.drill?.[key]),
      key === 'url',
    );
  const pgbackrest = pick('pgbackrest');
  return {
    copies,
    required: Math.min(pick('required') ?? copies.length, copies.length),
    jobs: pick('jobs', 2) ?? 2,
    compressionLevel: pick('compressionLevel', 2) ?? 2,
    workDirectory: pick('workDirectory'),
    minimumBytes: parseSize(pick('minimumSize') ?? '1 B') ?? 1,
    countRows: pick('countRows', true) ?? true,
    hashBelowBytes: parseSize(pick('hashBelow', '64 MB') ?? '') ?? 0,
    archiveTimeoutMs: durationMs(
      pick('archiveTimeout', { months: 0, seconds: 600 }) ?? { months: 0, seconds: 0 },
    ),
    retain: pick('retain') ?? {},
    promise: {
      rto: promised('rto', 4 * hour),
      rpo: promised('rpo', 24 * hour),
      pitrRto: promised('pitrRto', hour / 2),
      pitrRpo: promised('pitrRpo', 300),
    },
    drill: {
      url: drill('url') as string | undefined,
      directory: drill('directory') as string | undefined,
      checks: (drill('checks') ?? {}) as Record<string, string>,
    },
    pgbackrest:
      pgbackrest === undefined
        ? undefined
        : { stanza: pgbackrest.stanza, config: pgbackrest.config, user: pgbackrest.user ?? 'postgres' },
    onFailure: pick('onFailure'),
  };
}

function sharedWithBackups(backup: FileBackup | undefined, key: keyof FileWal): unknown {
  return key === 'copies' || key === 'required' ? backup?.[key] : undefined;
}

/** The settings under `wal:`. */
export function walSettings(picker: Picker, stores: StoreSettings[]): WalSettings {
  const pick = <Key extends keyof FileWal>(key: Key, fallback?: FileWal[Key]) =>
    picker.pick(`wal.${key}`, [
      ...picker.fromFiles((file) => file.wal?.[key]),
      // What is said of backups holds for their WAL too.
      ...picker.fromFiles((file) => sharedWithBackups(file.backup, key)),
      { value: fallback, source: 'default' },
    ]) as FileWal[Key];
  const copies =
    pick(
      'copies',
      stores.map((store) => store.name),
    ) ?? [];
  return {
    copies,
    required: Math.min(pick('required') ?? copies.length, copies.length),
    spool: resolve(pick('spool', '/var/spool/dbops') ?? ''),
    jobs: pick('jobs', 2) ?? 2,
    ahead: pick('ahead', 64) ?? 64,
    compressionLevel: pick('compressionLevel', 1) ?? 1,
  };
}
