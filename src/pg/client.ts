import { readFile } from 'node:fs/promises';
import './runtime.ts';
import pg from 'pg';
import { DbopsError } from '../errors.ts';

/** Where and how to connect; already resolved from flags, environment and files. */
export interface ConnectionSettings {
  url?: string | undefined;
  host?: string | undefined;
  port?: number | undefined;
  database?: string | undefined;
  user?: string | undefined;
  password?: string | undefined;
  sslmode?: string | undefined;
  sslrootcert?: string | undefined;
  connectTimeoutMs: number;
  /** Seen in pg_stat_activity, e.g. "dbops partition ensure". */
  applicationName: string;
}

/** int8 comes back as bigint: a number would silently lose digits. */
const int8 = 20;
const defaultParser = pg.types.getTypeParser.bind(pg.types) as unknown as (
  oid: number,
  format?: string,
) => unknown;
const types = {
  getTypeParser(oid: number, format?: 'text' | 'binary'): unknown {
    if (oid === int8 && format !== 'binary') return (text: string) => BigInt(text);
    return defaultParser(oid, format);
  },
};

/** Host, port and database for messages; never a password. */
export function describePlace(settings: ConnectionSettings): string {
  if (settings.url !== undefined) {
    try {
      const url = new URL(settings.url);
      const host = url.searchParams.get('host') ?? url.hostname;
      return `${decodeURIComponent(host) || 'localhost'}:${url.port || '5432'}${url.pathname}`;
    } catch {
      return 'the server of the given url';
    }
  }
  return `${settings.host ?? 'localhost'}:${String(settings.port ?? 5432)}/${settings.database ?? settings.user ?? ''}`;
}

/** The same server and user, another database. */
export function inDatabase(settings: ConnectionSettings, database: string): ConnectionSettings {
  if (settings.url === undefined) return { ...settings, database };
  const url = parseUrl(settings.url);
  url.pathname = `/${encodeURIComponent(database)}`;
  url.searchParams.delete('dbname');
  return { ...settings, url: url.toString() };
}

/** Connects as libpq does by default: encrypted where the server can, plain where it cannot. */
export async function openClient(config: pg.ClientConfig): Promise<pg.Client> {
  const client = new pg.Client(config);
  // Without a listener an idle connection's error would end the process; the next query reports it.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return client;
  } catch (error) {
    // The driver leaves the socket open when it fails before the server does (no password): it would keep us alive.
    client.connection.stream.destroy();
    const plain = error instanceof Error && error.message.includes('server does not support SSL');
    if (!plain || !preferred.has(config)) throw error;
    return await openClient({ ...config, ssl: false });
  }
}

/** Configurations whose TLS is a preference, not a demand. */
const preferred = new WeakSet<pg.ClientConfig>();

function isLocal(host: string | undefined): boolean {
  return (
    host === undefined || host === '' || host.startsWith('/') || /^(localhost|127\..*|\[?::1\]?)$/.test(host)
  );
}

export async function clientConfig(settings: ConnectionSettings): Promise<pg.ClientConfig> {
  const config: pg.ClientConfig = {
    application_name: settings.applicationName,
    connectionTimeoutMillis: settings.connectTimeoutMs,
    keepAlive: true,
    types: types,
  };
  if (settings.url !== undefined) {
    // libpq and the driver disagree about some parameters of a url; those are given apart.
    const url = parseUrl(settings.url);
    url.searchParams.delete('application_name');
    const sslmode = url.searchParams.get('sslmode') ?? settings.sslmode;
    const sslrootcert = url.searchParams.get('sslrootcert') ?? settings.sslrootcert;
    for (const name of ['sslmode', 'sslrootcert', 'connect_timeout']) url.searchParams.delete(name);
    config.connectionString = url.toString();
    const host = url.searchParams.get('host') ?? url.hostname;
    Object.assign(config, await tlsConfig(sslmode, sslrootcert, host));
    if (prefersTls(sslmode)) preferred.add(config);
    if (settings.password !== undefined && url.password === '') config.password = settings.password;
    return config;
  }
  if (settings.host !== undefined) config.host = settings.host;
  if (settings.port !== undefined) config.port = settings.port;
  if (settings.user !== undefined) config.user = settings.user;
  if (settings.database !== undefined) config.database = settings.database;
  if (settings.password !== undefined) config.password = settings.password;
  Object.assign(config, await tlsConfig(settings.sslmode, settings.sslrootcert, settings.host));
  if (prefersTls(settings.sslmode)) preferred.add(config);
  return config;
}

function parseUrl(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw new DbopsError('usage', 'the connection url cannot be read', {
      hint: 'Write it as postgresql://user@host:5432/database; a password with special characters must be percent-encoded.',
      cause,
    });
  }
  if (url.protocol !== 'postgres:' && url.protocol !== 'postgresql:') {
    throw new DbopsError('usage', `the connection url begins with ${url.protocol}, not with postgresql:`, {
      hint: 'Write it as postgresql://user@host:5432/database.',
    });
  }
  return url;
}

function prefersTls(sslmode: string | undefined): boolean {
  return sslmode === undefined || sslmode === 'prefer';
}

/** sslmode as libpq means it: prefer and require encrypt without checking the certificate, verify-* check it. */
async function tlsConfig(
  sslmode: string | undefined,
  rootCertificate: string | undefined,
  host: string | undefined,
): Promise<pg.ClientConfig> {
  switch (sslmode) {
    case 'disable':
    case 'allow':
      return {};
    case undefined:
    case 'prefer':
      return isLocal(host) ? {} : { ssl: { rejectUnauthorized: false } };
    case 'require':
    case 'verify-ca':
    case 'verify-full': {
      const ca = rootCertificate === undefined ? undefined : await readFile(rootCertificate, 'utf8');
      return {
        ssl: {
          rejectUnauthorized: sslmode !== 'require',
          ...(ca === undefined ? {} : { ca }),
          ...(sslmode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
        },
      };
    }
    default:
      throw new DbopsError('usage', `unknown sslmode "${sslmode}"`, {
        hint: 'Use disable, prefer, require, verify-ca or verify-full.',
      });
  }
}
