import { readFile } from 'node:fs/promises';
import { DbopsError } from '../errors.ts';
import { durationMs, parseDuration, type Duration } from './duration.ts';
import type { Environment } from './environment.ts';
import { loadFiles, type LoadedFile } from './load.ts';
import type { FilePartition, FileSettings, IntervalUnit } from './schema.ts';

/** Retention as configured; hot is a number for id ranges. */
export interface Retention {
  hot: Duration | number;
  cold?: Duration | undefined;
  then?: 'delete' | undefined;
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
  quarantine: Duration;
  storageParameters: Record<string, string | number | boolean>;
}

/** Everything that a command needs to know, from all sources, by precedence. */
export interface Settings {
  connection: {
    url?: string | undefined;
    host?: string | undefined;
    port?: number | undefined;
    database?: string | undefined;
    user?: string | undefined;
    password?: string | undefined;
    sslmode?: string | undefined;
    sslrootcert?: string | undefined;
    connectTimeoutMs: number;
  };
  stateSchema: string;
  logFormat: 'text' | 'json';
  lockTimeoutMs: number;
  lockDeadlineMs: number;
  ensureEvery: Duration;
  partitions: PartitionSettings[];
  files: LoadedFile[];
  /** Where each value came from, for `config show`: [path, value, source], secrets masked. */
  origins: Origin[];
}

export interface Origin {
  path: string;
  value: string;
  source: string;
}

/** Flags that every command takes and that override all else. */
export interface SettingFlags {
  config?: string | undefined;
  url?: string | undefined;
  logFormat?: string | undefined;
}

interface Candidate {
  value: unknown;
  source: string;
}

/** Resolves flags, environment and files into settings. Precedence: flag, DBOPS_*, DATABASE_URL, PG*, files, default. */
export async function loadSettings(flags: SettingFlags, cwd: string, env: Environment): Promise<Settings> {
  const files = await loadFiles(flags.config ?? env['DBOPS_CONFIG'], cwd, env);
  const origins: Origin[] = [];

  /** The first candidate that has a value; its origin is kept. */
  function pick(path: string, candidates: Candidate[], secret = false): unknown {
    const chosen = candidates.find((candidate) => candidate.value !== undefined && candidate.value !== '');
    if (chosen === undefined) return undefined;
    origins.push({
      path,
      value: secret ? mask(String(chosen.value)) : display(chosen.value),
      source: chosen.source,
    });
    return chosen.value;
  }
  const fromFiles = (read: (file: FileSettings) => unknown): Candidate[] =>
    files.map((file) => ({ value: read(file.settings), source: `${file.path} (${file.kind} file)` }));
  const fromEnv = (name: string): Candidate => ({ value: env[name], source: `environment ${name}` });

  const url = pick(
    'connection.url',
    [
      { value: flags.url, source: 'flag --url' },
      fromEnv('DBOPS_URL'),
      {
        value: await firstLine(env['DBOPS_URL_FILE'], 'DBOPS_URL_FILE'),
        source: 'environment DBOPS_URL_FILE',
      },
      fromEnv('DATABASE_URL'),
      ...(env['PGHOST'] === undefined && env['PGDATABASE'] === undefined
        ? fromFiles((file) => file.connection?.url)
        : []),
    ],
    true,
  ) as string | undefined;
  const part = (field: 'host' | 'port' | 'database' | 'user' | 'sslmode' | 'sslrootcert', variable: string) =>
    pick(`connection.${field}`, [fromEnv(variable), ...fromFiles((file) => file.connection?.[field])]);
  const passwordFile = files.find((file) => file.settings.connection?.passwordFile !== undefined);
  const password = pick(
    'connection.password',
    [
      fromEnv('DBOPS_PASSWORD'),
      {
        value: await firstLine(env['DBOPS_PASSWORD_FILE'], 'DBOPS_PASSWORD_FILE'),
        source: 'environment DBOPS_PASSWORD_FILE',
      },
      fromEnv('PGPASSWORD'),
      {
        value: await firstLine(passwordFile?.settings.connection?.passwordFile, 'connection.passwordFile'),
        source: `${passwordFile?.path ?? ''} connection.passwordFile`,
      },
    ],
    true,
  ) as string | undefined;
  const port = part('port', 'PGPORT');
  const connectTimeout = pick('connection.connectTimeout', [
    { value: pgConnectTimeout(env['PGCONNECT_TIMEOUT']), source: 'environment PGCONNECT_TIMEOUT' },
    ...fromFiles((file) => file.connection?.connectTimeout),
    { value: { months: 0, seconds: 10 }, source: 'default' },
  ]) as Duration;
  const logFormat = pick('log.format', [
    { value: flags.logFormat, source: 'flag --log-format' },
    fromEnv('DBOPS_LOG_FORMAT'),
    ...fromFiles((file) => file.log?.format),
    { value: 'text', source: 'default' },
  ]) as string;
  if (logFormat !== 'text' && logFormat !== 'json') {
    throw new DbopsError('usage', `the log format is text or json, not "${logFormat}"`, {
      hint: 'Give --log-format text or --log-format json.',
    });
  }
  const seconds = (count: number): Duration => ({ months: 0, seconds: count });

  return {
    connection: {
      url,
      host: url === undefined ? (part('host', 'PGHOST') as string | undefined) : undefined,
      port: url === undefined && port !== undefined ? parsePort(port) : undefined,
      database: url === undefined ? (part('database', 'PGDATABASE') as string | undefined) : undefined,
      user: url === undefined ? (part('user', 'PGUSER') as string | undefined) : undefined,
      password,
      sslmode: part('sslmode', 'PGSSLMODE') as string | undefined,
      sslrootcert: part('sslrootcert', 'PGSSLROOTCERT') as string | undefined,
      connectTimeoutMs: durationMs(connectTimeout),
    },
    stateSchema: pick('state.schema', [
      fromEnv('DBOPS_STATE_SCHEMA'),
      ...fromFiles((file) => file.state?.schema),
      { value: 'dbops', source: 'default' },
    ]) as string,
    logFormat,
    lockTimeoutMs: durationMs(
      pick('locking.timeout', [
        ...fromFiles((file) => file.locking?.timeout),
        { value: seconds(0.1), source: 'default' },
      ]) as Duration,
    ),
    lockDeadlineMs: durationMs(
      pick('locking.deadline', [
        ...fromFiles((file) => file.locking?.deadline),
        { value: seconds(120), source: 'default' },
      ]) as Duration,
    ),
    ensureEvery: pick('checks.ensureEvery', [
      ...fromFiles((file) => file.checks?.ensureEvery),
      { value: seconds(86_400), source: 'default' },
    ]) as Duration,
    partitions: partitionSettings(files, pick, fromFiles),
    files,
    origins,
  };
}

function partitionSettings(
  files: LoadedFile[],
  pick: (path: string, candidates: Candidate[]) => unknown,
  fromFiles: (read: (file: FileSettings) => unknown) => Candidate[],
): PartitionSettings[] {
  const timezone = pick('defaults.timezone', [
    ...fromFiles((file) => file.defaults?.timezone),
    { value: 'UTC', source: 'default' },
  ]) as string;
  const premake = pick('defaults.premake', [
    ...fromFiles((file) => file.defaults?.premake),
    { value: 6, source: 'default' },
  ]) as number;
  const quarantine = pick('defaults.quarantine', [
    ...fromFiles((file) => file.defaults?.quarantine),
    { value: { months: 0, seconds: 7 * 86_400 }, source: 'default' },
  ]) as Duration;
  const list = pick(
    'partitions',
    fromFiles((file) => file.partitions),
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
    quarantine: item.quarantine ?? quarantine,
    storageParameters: item.storageParameters ?? {},
  }));
}

/**
 * Splits schema.table at the first dot; public where there is none. A part in double quotes is taken as it stands, so
 * that names with dots can be written as well.
 */
export function splitTable(text: string): { schema: string; name: string } {
  const quoted = /^(?:"((?:[^"]|"")+)"|([^".]+))\.(?:"((?:[^"]|"")+)"|(.+))$/s.exec(text);
  if (quoted !== null) {
    const unquote = (value: string | undefined) => value?.replaceAll('""', '"');
    return {
      schema: unquote(quoted[1]) ?? quoted[2] ?? '',
      name: unquote(quoted[3]) ?? quoted[4] ?? '',
    };
  }
  const alone = /^"((?:[^"]|"")+)"$/s.exec(text);
  return { schema: 'public', name: alone?.[1]?.replaceAll('""', '"') ?? text };
}

function parsePort(value: unknown): number {
  const port = Number(value);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  throw new DbopsError('usage', `"${String(value)}" is not a port`, {
    hint: 'Set PGPORT to a number from 1 to 65535.',
  });
}

function pgConnectTimeout(text: string | undefined): Duration | undefined {
  if (text === undefined || text === '') return undefined;
  return parseDuration(/^\d+$/.test(text) ? `${text} s` : text);
}

async function firstLine(path: string | undefined, variable: string): Promise<string | undefined> {
  if (path === undefined || path === '') return undefined;
  try {
    return (await readFile(path, 'utf8')).split(/\r?\n/)[0];
  } catch (cause) {
    throw new DbopsError('config_not_found', `cannot read the file ${path} that ${variable} names`, {
      hint: 'Check the path and that this user may read it.',
      cause,
    });
  }
}

/** A password inside a url is hidden; anything else that is secret is hidden whole. */
function mask(text: string): string {
  return /^\w+:\/\//.test(text)
    ? text.replace(/^(\w+:\/\/[^:/@]*):.*@/, '$1:***@').replaceAll(/(password=)[^&]*/g, '$1***')
    : '***';
}

function display(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
