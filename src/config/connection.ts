import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { DbopsError } from '../errors.ts';
import { durationMs, parseDuration, type Duration } from './duration.ts';
import type { Environment } from './environment.ts';
import type { LoadedFile } from './load.ts';
import type { Picker } from './picker.ts';

/** Flags that every command takes and that override all else. */
export interface SettingFlags {
  config?: string | undefined;
  url?: string | undefined;
  logFormat?: string | undefined;
}

/** What is known of the database from flags, environment and files. */
export interface ConnectionSource {
  url?: string | undefined;
  host?: string | undefined;
  port?: number | undefined;
  database?: string | undefined;
  user?: string | undefined;
  password?: string | undefined;
  sslmode?: string | undefined;
  sslrootcert?: string | undefined;
  connectTimeoutMs: number;
}

/** Where the database is. Throws usage for what cannot be read as a port or a timeout, config_not_found for a file. */
export async function connectionSettings(
  picker: Picker,
  flags: SettingFlags,
  files: LoadedFile[],
  cwd: string,
  env: Environment,
): Promise<ConnectionSource> {
  const url = await pickUrl(picker, flags, files, cwd, env);
  const part = (field: 'host' | 'port' | 'database' | 'user' | 'sslmode' | 'sslrootcert', variable: string) =>
    picker.pick(`connection.${field}`, [
      picker.fromEnv(variable),
      ...picker.fromFiles((file) => file.connection?.[field]),
    ]);
  const text = (field: 'host' | 'database' | 'user', variable: string) =>
    url === undefined ? (part(field, variable) as string | undefined) : undefined;
  return {
    url,
    host: text('host', 'PGHOST'),
    port: url === undefined ? parsePort(part('port', 'PGPORT') as string | number | undefined) : undefined,
    database: text('database', 'PGDATABASE'),
    user: text('user', 'PGUSER'),
    password: await pickPassword(picker, files, cwd, env),
    sslmode: part('sslmode', 'PGSSLMODE') as string | undefined,
    sslrootcert: part('sslrootcert', 'PGSSLROOTCERT') as string | undefined,
    connectTimeoutMs: durationMs(
      picker.pick('connection.connectTimeout', [
        { value: pgConnectTimeout(env['PGCONNECT_TIMEOUT']), source: 'environment PGCONNECT_TIMEOUT' },
        ...picker.fromFiles((file) => file.connection?.connectTimeout),
        { value: { months: 0, seconds: 10 }, source: 'default' },
      ]) as Duration,
    ),
  };
}

async function pickUrl(
  picker: Picker,
  flags: SettingFlags,
  files: LoadedFile[],
  cwd: string,
  env: Environment,
): Promise<string | undefined> {
  // A file is read only where it decides: an unreadable one must not stop a run that names the database by a flag.
  const isDecided = nonEmpty(flags.url) !== undefined || nonEmpty(env['DBOPS_URL']) !== undefined;
  const urlFile = isDecided ? undefined : await firstLine(env['DBOPS_URL_FILE'], 'DBOPS_URL_FILE', cwd);
  const saysWhere = nonEmpty(env['PGHOST']) !== undefined || nonEmpty(env['PGDATABASE']) !== undefined;
  // The nearest file that says where the database is decides, be it by url or by host.
  const file = files.find(
    ({ settings: { connection } }) =>
      connection?.url !== undefined || connection?.host !== undefined || connection?.database !== undefined,
  );
  return picker.pick(
    'connection.url',
    [
      { value: flags.url, source: 'flag --url' },
      picker.fromEnv('DBOPS_URL'),
      { value: urlFile, source: 'environment DBOPS_URL_FILE' },
      picker.fromEnv('DATABASE_URL'),
      {
        value: saysWhere ? undefined : file?.settings.connection?.url,
        source: `${file?.path ?? ''} (${file?.kind ?? ''} file)`,
      },
    ],
    true,
  ) as string | undefined;
}

async function pickPassword(
  picker: Picker,
  files: LoadedFile[],
  cwd: string,
  env: Environment,
): Promise<string | undefined> {
  const isSet = (name: string) => nonEmpty(env[name]) !== undefined;
  const fromVariable = isSet('DBOPS_PASSWORD')
    ? undefined
    : await firstLine(env['DBOPS_PASSWORD_FILE'], 'DBOPS_PASSWORD_FILE', cwd);
  const isDecided = isSet('DBOPS_PASSWORD') || nonEmpty(fromVariable) !== undefined || isSet('PGPASSWORD');
  const file = files.find((item) => item.settings.connection?.passwordFile !== undefined);
  const fromFile = isDecided
    ? undefined
    : await firstLine(
        file?.settings.connection?.passwordFile,
        'connection.passwordFile',
        // As people expect of a path in a file: beside that file, wherever cron runs.
        dirname(resolve(cwd, file?.path ?? '')),
      );
  return picker.pick(
    'connection.password',
    [
      picker.fromEnv('DBOPS_PASSWORD'),
      { value: fromVariable, source: 'environment DBOPS_PASSWORD_FILE' },
      picker.fromEnv('PGPASSWORD'),
      { value: fromFile, source: `connection.passwordFile of ${file?.path ?? ''}` },
    ],
    true,
  ) as string | undefined;
}

/** A variable that is set to nothing is as good as unset. */
export function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

function parsePort(value: string | number | undefined): number | undefined {
  if (value === undefined) return undefined;
  const port = Number(value);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  throw new DbopsError('usage', `"${String(value)}" is not a port`, {
    hint: 'Set PGPORT to a number from 1 to 65535.',
  });
}

function pgConnectTimeout(text: string | undefined): Duration | undefined {
  if (text === undefined || text === '') return undefined;
  const timeout = parseDuration(/^\d+$/.test(text) ? `${text} s` : text);
  if (timeout !== undefined) return timeout;
  throw new DbopsError('usage', `PGCONNECT_TIMEOUT is a number of seconds, not "${text}"`, {
    hint: 'Set it to 10, for instance, or unset it.',
  });
}

async function firstLine(
  path: string | undefined,
  variable: string,
  folder: string,
): Promise<string | undefined> {
  if (path === undefined || path === '') return undefined;
  try {
    return (await readFile(resolve(folder, path), 'utf8')).split(/\r?\n/)[0];
  } catch (cause) {
    throw new DbopsError('config_not_found', `cannot read the file ${path} that ${variable} names`, {
      detail: (cause as Error).message,
      hint: 'Check the path and that this user may read it.',
      cause,
    });
  }
}
