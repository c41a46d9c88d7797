import { readFile } from 'node:fs/promises';
import './runtime.ts';
import pg from 'pg';
import { DbopsError } from '../errors.ts';
import { isConnectionLoss, toDbopsError } from './sqlstate.ts';

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

/** What the connection learnt about the server in its first statement. */
export interface ServerFacts {
  /** server_version_num, e.g. 150018. */
  versionNum: number;
  version: string;
  isStandby: boolean;
  isReadOnly: boolean;
  database: string;
  user: string;
  isSuperuser: boolean;
  /** The backend's own process id. */
  pid: number;
  /** A pooler stands between: the process id of the handshake is not the backend's. */
  isPooled: boolean;
  /** The server's clock at connect. */
  now: Date;
  /** The server's TimeZone before dbops pinned UTC for its own session. */
  timezone: string;
  deadlockTimeoutMs: number;
}

export interface Query {
  text: string;
  values?: unknown[];
  /** Ends the statement after this time: for those that read tables, not catalogs. */
  timeoutMs?: number;
}

/** Told of every statement, with its milliseconds; -v prints them. */
export type StatementListener = (text: string, milliseconds: number, failed: boolean) => void;

export interface SessionOptions {
  signal?: AbortSignal | undefined;
  onStatement?: StatementListener | undefined;
}

/** One session on one server. Not a pool: advisory locks and `set local` belong to a session. */
export interface Db {
  readonly server: ServerFacts;
  /** Statements sent so far, those that failed included. */
  readonly statements: number;
  query<Row extends object>(query: Query): Promise<Row[]>;
  /** Runs statements one by one; for DDL, whose text takes no parameters. */
  execute(text: string): Promise<void>;
  /** `begin`, the statements and `commit` in one message; `rollback` when one of them fails. */
  executeTransaction(statements: string[]): Promise<void>;
  /** Puts lock_timeout and statement_timeout back to what this session began with. */
  resetTimeouts(): Promise<void>;
  /** `begin`, the work, `commit`; `rollback` when the work throws. */
  transaction<T>(work: () => Promise<T>, mode?: 'read write' | 'repeatable read, read only'): Promise<T>;
  /** A second session with the same settings. The caller closes it. */
  openAnother(): Promise<Db>;
  close(): Promise<void>;
}

/** What reading statements may wait for a lock; changes set their own, shorter one. */
const sessionLockTimeout = '1s';

const supported = { from: 14, to: 18 };

/** Reads the first bytes of what pg returns for bigint as bigint: a checked number where the row type says so. */
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

/**
 * Opens a session, pins it (UTC, ISO dates, empty search_path) and reads what the server is.
 * Throws connection_failed, authentication_failed or unsupported_version. Locks: none.
 */
export async function connect(settings: ConnectionSettings, options: SessionOptions = {}): Promise<Db> {
  const place = describePlace(settings);
  let client: pg.Client;
  try {
    client = await openClient(await clientConfig(settings));
  } catch (error) {
    throw toDbopsError(error, place, false);
  }
  const session = new Session(client, settings, options);
  try {
    await session.learn(place);
  } catch (error) {
    await session.close();
    throw error;
  }
  return session;
}

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

/** Connects as libpq does by default: encrypted where the server can, plain where it cannot. */
async function openClient(config: pg.ClientConfig): Promise<pg.Client> {
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

async function clientConfig(settings: ConnectionSettings): Promise<pg.ClientConfig> {
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

/** The tag at the head of a statement, for messages: dbops:partitions.list. */
function tagOf(text: string): string {
  return /^\/\* (dbops:[\w.-]+) \*\//.exec(text)?.[1] ?? text.slice(0, 60).replaceAll(/\s+/g, ' ');
}

class Session implements Db {
  server!: ServerFacts;
  statements = 0;
  readonly #client: pg.Client;
  readonly #settings: ConnectionSettings;
  readonly #options: SessionOptions;
  #closed = false;

  constructor(client: pg.Client, settings: ConnectionSettings, options: SessionOptions) {
    this.#client = client;
    this.#settings = settings;
    this.#options = options;
  }

  /** Pins the session and reads the server's facts, in one statement: the start of every command pays for it. */
  async learn(place: string): Promise<void> {
    const [row] = await this.query<{
      versionNum: number;
      version: string;
      isStandby: boolean;
      isReadOnly: boolean;
      database: string;
      user: string;
      isSuperuser: boolean;
      pid: number;
      now: Date;
      timezone: string;
      deadlockTimeoutMs: number;
    }>({
      text: `/* dbops:session.pin */
        with before as (
          select pg_catalog.current_setting('TimeZone') as timezone,
                 pg_catalog.current_setting('transaction_read_only')::boolean as "isReadOnly")
        select pg_catalog.current_setting('server_version_num')::int4 as "versionNum",
               pg_catalog.current_setting('server_version') as version,
               pg_catalog.pg_is_in_recovery() as "isStandby",
               before."isReadOnly",
               pg_catalog.current_database() as database,
               current_user as "user",
               pg_catalog.current_setting('is_superuser')::boolean as "isSuperuser",
               pg_catalog.pg_backend_pid() as pid,
               pg_catalog.clock_timestamp() as now,
               before.timezone,
               (extract(epoch from pg_catalog.current_setting('deadlock_timeout')::interval) * 1000)::int4
                 as "deadlockTimeoutMs",
               pg_catalog.set_config('TimeZone', 'UTC', false) as "a",
               pg_catalog.set_config('DateStyle', 'ISO, YMD', false) as "b",
               pg_catalog.set_config('IntervalStyle', 'postgres', false) as "c",
               pg_catalog.set_config('search_path', '', false) as "d",
               pg_catalog.set_config('statement_timeout', '0', false) as "e",
               pg_catalog.set_config('lock_timeout', '${sessionLockTimeout}', false) as "h",
               pg_catalog.set_config('idle_in_transaction_session_timeout', '60s', false) as "f",
               pg_catalog.set_config('client_min_messages', 'warning', false) as "g",
               pg_catalog.set_config('row_security', 'off', false) as "i"
          from before`,
    });
    if (row === undefined) throw new Error('the server answered the first statement with no row');
    const major = Math.floor(row.versionNum / 10000);
    if (major < supported.from || major > supported.to) {
      throw new DbopsError(
        'unsupported_version',
        `the server at ${place} is PostgreSQL ${row.version}; dbops works with ${String(supported.from)} to ${String(supported.to)}`,
        { hint: 'Use a dbops release that names this version, or connect to another server.' },
      );
    }
    const handshakePid = (this.#client as unknown as { processID: number | null }).processID;
    this.server = { ...row, isPooled: handshakePid !== null && handshakePid !== row.pid };
  }

  async query<Row extends object>(query: Query): Promise<Row[]> {
    if (query.timeoutMs === undefined) return (await this.#send(query.text, query.values)) as Row[];
    await this.#send(`set statement_timeout = '${String(query.timeoutMs)}ms'`, undefined);
    try {
      return (await this.#send(query.text, query.values)) as Row[];
    } finally {
      await this.resetTimeouts();
    }
  }

  async execute(text: string): Promise<void> {
    await this.#send(text, undefined);
  }

  async #send(text: string, values: unknown[] | undefined): Promise<unknown[]> {
    const { signal, onStatement } = this.#options;
    if (isAborted(signal)) throw interruption(signal);
    this.statements += 1;
    const started = performance.now();
    const onAbort = () => void this.#cancelOnServer();
    signal?.addEventListener('abort', onAbort, { once: true });
    let failed = true;
    try {
      const result = await (values === undefined
        ? this.#client.query(text)
        : this.#client.query(text, values));
      failed = false;
      return result.rows as unknown[];
    } catch (error) {
      if (isAborted(signal)) throw interruption(signal, error);
      throw toDbopsError(error, tagOf(text), true);
    } finally {
      signal?.removeEventListener('abort', onAbort);
      onStatement?.(text, performance.now() - started, failed);
    }
  }

  /** Ctrl-C must end the work on the server too: a second session cancels the first one's statement. */
  async #cancelOnServer(): Promise<void> {
    const helper = new pg.Client(await clientConfig({ ...this.#settings, connectTimeoutMs: 3000 }));
    helper.on('error', () => undefined);
    try {
      await helper.connect();
      await helper.query('/* dbops:session.cancel */ select pg_catalog.pg_cancel_backend($1)', [
        this.server.pid,
      ]);
    } catch {
      // No second connection to be had: closing ours makes the server notice at its next write.
      this.#client.connection.stream.destroy();
    } finally {
      await helper.end().catch(() => undefined);
    }
  }

  async transaction<T>(
    work: () => Promise<T>,
    mode: 'read write' | 'repeatable read, read only' = 'read write',
  ): Promise<T> {
    await this.execute(mode === 'read write' ? 'begin' : `begin isolation level ${mode}`);
    try {
      const result = await work();
      await this.execute('commit');
      return result;
    } catch (error) {
      await this.#rollback(error);
      throw error;
    }
  }

  async executeTransaction(statements: string[]): Promise<void> {
    try {
      await this.execute(['begin', ...statements, 'commit'].join(';\n'));
    } catch (error) {
      await this.#rollback(error);
      throw error;
    }
  }

  async resetTimeouts(): Promise<void> {
    // Also after an interruption or a lost connection, when there is nobody left to tell.
    await this.#client
      .query(`set lock_timeout = '${sessionLockTimeout}'; set statement_timeout = '0'`)
      .catch(() => undefined);
  }

  /** Goes round the abort check: an interrupted transaction has to be rolled back as well. */
  async #rollback(reason: unknown): Promise<void> {
    if (isConnectionLoss(reason)) return;
    this.statements += 1;
    await this.#client.query('rollback').catch(() => undefined);
  }

  async openAnother(): Promise<Db> {
    return await connect(this.#settings, this.#options);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#client.end().catch(() => undefined);
  }
}

/** A call, so that the compiler does not believe the answer of the last time. */
function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

function interruption(signal: AbortSignal | undefined, cause?: unknown): DbopsError {
  const terminated = signal?.reason === 'SIGTERM' || signal?.reason === 'SIGHUP';
  return new DbopsError(
    terminated ? 'terminated' : 'interrupted',
    `interrupted by ${String(signal?.reason)}`,
    {
      hint: 'The statement on the server was cancelled; running the same command again goes on from here.',
      cause,
    },
  );
}
