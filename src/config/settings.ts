import { DbopsError } from '../errors.ts';
import { backupSettings, walSettings, type BackupSettings, type WalSettings } from './backup.ts';
import { connectionSettings, nonEmpty, type ConnectionSource, type SettingFlags } from './connection.ts';
import { durationMs, type Duration } from './duration.ts';
import type { Environment } from './environment.ts';
import { healthSettings, type HealthSettings } from './health.ts';
import { indexSettings, type WantedIndex } from './indexes.ts';
import { loadFiles, type LoadedFile } from './load.ts';
import { maintenanceSettings, type MaintenanceSettings } from './maintenance.ts';
import { Picker, type Origin } from './picker.ts';
import { rowsSettings, type RowsSettings } from './rows.ts';
import { scheduleSettings, type ScheduledJob } from './schedule.ts';
import type { FilePartition, FileSettings, IntervalUnit, ProofLevel } from './schema.ts';
import { storeSettings, type StoreSettings } from './stores.ts';
import { splitTable } from './table-name.ts';

export { splitTable } from './table-name.ts';

/** Retention as configured; hot is a number for id ranges. */
export interface Retention {
  hot: Duration | number;
  cold?: Duration | undefined;
  then?: 'delete' | undefined;
}

/** How the partitions of one table are archived, completed with the defaults. */
export interface PartitionArchive {
  /** Column to SQL expression. */
  mask: Record<string, string>;
  /** After its upper bound a partition may still be written to for this long. */
  settle: Duration;
  verify: ProofLevel;
  parquet: boolean;
  /** Names of the stores that get a copy. */
  copies: string[];
  /** In how many of them a copy must be proven before the source may go. */
  required: number;
}

/** What holds for all archives. */
export interface ArchiveSettings {
  jobs: number;
  compressionLevel: number;
  /** Undefined: the system's temporary directory. */
  workDirectory: string | undefined;
  /** A shell command. */
  onFailure: string | undefined;
}

/** One partitioned table as configured, completed with the defaults. */
export interface PartitionSettings {
  /** As written: schema.table, or table alone for public. */
  table: string;
  schema: string;
  name: string;
  key: string;
  interval: IntervalUnit | number;
  epoch?: 'seconds' | 'milliseconds' | undefined;
  timezone: string;
  premake: number;
  naming?: string | undefined;
  retention?: Retention | undefined;
  archive: PartitionArchive;
  quarantine: Duration;
  storageParameters: Record<string, string | number | boolean>;
}

/** Everything that a command needs to know, from all sources, by precedence. */
export interface Settings {
  connection: ConnectionSource;
  stateSchema: string;
  logFormat: 'text' | 'json';
  /** Of the defaults: where a day begins. */
  timezone: string;
  lockTimeoutMs: number;
  lockDeadlineMs: number;
  ensureEvery: Duration;
  /** By name, in the order of the file. */
  stores: StoreSettings[];
  archive: ArchiveSettings;
  backup: BackupSettings;
  wal: WalSettings;
  partitions: PartitionSettings[];
  rows: RowsSettings;
  /** What `index ensure` creates where it is missing. */
  indexes: WantedIndex[];
  health: HealthSettings;
  maintenance: MaintenanceSettings;
  /** In the order of the file. */
  schedule: ScheduledJob[];
  files: LoadedFile[];
  /** Where each value came from, for `config show`: [path, value, source], secrets masked. */
  origins: Origin[];
}

/**
 * Resolves flags, environment and files into settings. Precedence: flag, DBOPS_*, DATABASE_URL, PG*, files, default.
 * Throws config_invalid, config_not_found or usage.
 */
export async function loadSettings(flags: SettingFlags, cwd: string, env: Environment): Promise<Settings> {
  // A script whose variable is empty must not end up on another database.
  for (const flag of ['config', 'url'] as const) {
    if (flags[flag] !== '') continue;
    throw new DbopsError('usage', `--${flag} was given nothing`, {
      hint: 'Is the variable that its value comes from set?',
    });
  }
  return await resolveSettings(
    flags,
    await loadFiles(flags.config ?? nonEmpty(env['DBOPS_CONFIG']), cwd, env),
    cwd,
    env,
  );
}

/** The defaults alone, with what the flags say: for commands that need neither a file nor a database. */
export async function defaultSettings(flags: SettingFlags): Promise<Settings> {
  return await resolveSettings(flags, [], '/', {});
}

async function resolveSettings(
  flags: SettingFlags,
  files: LoadedFile[],
  cwd: string,
  env: Environment,
): Promise<Settings> {
  const picker = new Picker(files, env);
  const connection = await connectionSettings(picker, flags, files, cwd, env);
  const logFormat = pickLogFormat(picker, flags);
  const duration = (
    path: string,
    read: (file: FileSettings) => Duration | undefined,
    seconds: number,
  ): Duration =>
    picker.pick(path, [
      ...picker.fromFiles(read),
      { value: { months: 0, seconds }, source: 'default' },
    ]) as Duration;
  const stores = await storeSettings(picker, files, cwd);
  const timezone = picker.pick('defaults.timezone', [
    ...picker.fromFiles((file) => file.defaults?.timezone),
    { value: 'UTC', source: 'default' },
  ]) as string;
  return {
    connection,
    timezone,
    stateSchema: picker.pick('state.schema', [
      picker.fromEnv('DBOPS_STATE_SCHEMA'),
      ...picker.fromFiles((file) => file.state?.schema),
      { value: 'dbops', source: 'default' },
    ]) as string,
    logFormat,
    lockTimeoutMs: durationMs(duration('locking.timeout', (file) => file.locking?.timeout, 0.1)),
    lockDeadlineMs: durationMs(duration('locking.deadline', (file) => file.locking?.deadline, 120)),
    ensureEvery: duration('checks.ensureEvery', (file) => file.checks?.ensureEvery, 86_400),
    stores,
    archive: archiveSettings(picker),
    backup: backupSettings(picker, stores),
    wal: walSettings(picker, stores),
    partitions: partitionSettings(picker, duration, stores, timezone),
    rows: rowsSettings(picker, files, timezone),
    indexes: indexSettings(picker, files),
    health: healthSettings(picker, files),
    maintenance: maintenanceSettings(picker, files),
    schedule: scheduleSettings(picker, files, timezone),
    files,
    origins: picker.origins,
  };
}

function pickLogFormat(picker: Picker, flags: SettingFlags): 'text' | 'json' {
  const value = picker.pick('log.format', [
    { value: flags.logFormat, source: 'flag --log-format' },
    picker.fromEnv('DBOPS_LOG_FORMAT'),
    ...picker.fromFiles((file) => file.log?.format),
    { value: 'text', source: 'default' },
  ]) as string;
  if (value === 'text' || value === 'json') return value;
  const source = flags.logFormat === undefined ? 'DBOPS_LOG_FORMAT' : '--log-format';
  throw new DbopsError('usage', `the log format is text or json, not "${value}"`, {
    hint: `Correct ${source}.`,
  });
}

function archiveSettings(picker: Picker): ArchiveSettings {
  const pick = (name: 'jobs' | 'compressionLevel' | 'workDirectory' | 'onFailure', fallback?: number) =>
    picker.pick(`archive.${name}`, [
      ...picker.fromFiles((file) => file.archive?.[name]),
      { value: fallback, source: 'default' },
    ]);
  return {
    jobs: pick('jobs', 2) as number,
    compressionLevel: pick('compressionLevel', 2) as number,
    workDirectory: pick('workDirectory') as string | undefined,
    onFailure: pick('onFailure') as string | undefined,
  };
}

function partitionSettings(
  picker: Picker,
  duration: (path: string, read: (file: FileSettings) => Duration | undefined, seconds: number) => Duration,
  stores: StoreSettings[],
  timezone: string,
): PartitionSettings[] {
  const premake = picker.pick('defaults.premake', [
    ...picker.fromFiles((file) => file.defaults?.premake),
    { value: 6, source: 'default' },
  ]) as number;
  const quarantine = duration('defaults.quarantine', (file) => file.defaults?.quarantine, 7 * 86_400);
  const settle = duration('archive.settle', (file) => file.archive?.settle, 86_400);
  const pickArchive = (name: 'verify' | 'parquet' | 'copies' | 'required', fallback: unknown) =>
    picker.pick(`archive.${name}`, [
      ...picker.fromFiles((file) => file.archive?.[name]),
      { value: fallback, source: 'default' },
    ]);
  const verify = pickArchive('verify', 'bytes') as ProofLevel;
  const parquet = pickArchive('parquet', false) as boolean;
  const copies = pickArchive(
    'copies',
    stores.map((store) => store.name),
  ) as string[];
  const required = pickArchive('required', undefined) as number | undefined;
  const archiveOf = (item: FilePartition): PartitionArchive => {
    const own = item.archive?.copies ?? copies;
    return {
      mask: item.archive?.mask ?? {},
      settle: item.archive?.settle ?? settle,
      verify: item.archive?.verify ?? verify,
      parquet: item.archive?.parquet ?? parquet,
      copies: own,
      required: Math.min(required ?? own.length, own.length),
    };
  };
  const list = picker.pick(
    'partitions',
    picker.fromFiles((file) => file.partitions),
  ) as FilePartition[] | undefined;
  return (list ?? []).map((item) => ({
    ...splitTable(item.table),
    table: item.table,
    key: item.key,
    interval: item.interval,
    epoch: item.epoch,
    timezone: item.timezone ?? timezone,
    premake: item.premake ?? premake,
    naming: item.naming,
    retention: item.retention,
    archive: archiveOf(item),
    quarantine: item.quarantine ?? quarantine,
    storageParameters: item.storageParameters ?? {},
  }));
}
