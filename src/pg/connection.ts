import type pg from 'pg';
import { DbopsError } from '../errors.ts';
import { clientConfig, describePlace, openClient, type ConnectionSettings } from './client.ts';
import { isConnectionLoss, toDbopsError } from './sqlstate.ts';

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
  /** For a text from outside: more than one statement is a syntax error. */
  isOneStatement?: boolean;
}

/** Told of every statement, with its milliseconds; -v prints them. */
export type StatementListener = (text: string, milliseconds: number, failed: boolean) => void;

export interface SessionOptions {
  signal?: AbortSignal | undefined;
  onStatement?: StatementListener | undefined;
}

/** A warning or a notice. */
export interface ServerWarning {
  /** In the language of the server, and worded anew from one major version to the next. */
  message: string;
  /** The function of the server that sent it. */
  routine: string | undefined;
}

/** One session on one server. Not a pool: advisory locks and `set local` belong to a session. */
export interface Db {
  readonly server: ServerFacts;
  /** Statements sent so far, those that failed included. */
  readonly statements: number;
  query<Row extends object>(query: Query): Promise<Row[]>;
  /** Runs an INSERT, UPDATE or DELETE and says how many rows it touched, without a row for each of them. */
  change(query: Omit<Query, 'timeoutMs'>): Promise<number>;
  /** Runs statements one by one; for DDL, whose text takes no parameters. */
  execute(text: string): Promise<void>;
  /** `begin`, the statements and `commit` in one message; `rollback` when one of them fails. */
  executeTransaction(statements: string[]): Promise<void>;
  /** Does the work, and returns the warnings that the server sent meanwhile: some statements "succeed" with nothing else. */
  catchWarnings(work: () => Promise<void>): Promise<ServerWarning[]>;
  /** Puts lock_timeout and statement_timeout back to what this session began with. */
  resetTimeouts(): Promise<void>;
  /** `begin`, the work, `commit`; `rollback` when the work throws. */
  transaction<T>(work: () => Promise<T>, mode?: 'read write' | 'repeatable read, read only'): Promise<T>;
  /** A second session with the same settings, which an interruption may be kept from ending. The caller closes it. */
  openAnother(options?: { isUninterrupted?: boolean }): Promise<Db>;
  close(): Promise<void>;
}

/** What reading statements may wait for a lock; changes set their own, shorter one. */
const sessionLockTimeout = '1s';

const supported = { from: 14, to: 18 };

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
               pg_catalog.set_config('row_security', 'off', false) as "i",
               pg_catalog.set_config('idle_session_timeout', '0', false) as "j",
               -- Questions to catalogs take milliseconds, and would take most of a second to be compiled.
               pg_catalog.set_config('jit', 'off', false) as "l",
               case when pg_catalog.current_setting('transaction_timeout', true) is not null
                    then pg_catalog.set_config('transaction_timeout', '0', false) end as "k"
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
    const { text, values, timeoutMs, isOneStatement } = query;
    const send = async () => (await this.#send(text, values, isOneStatement)).rows as Row[];
    if (timeoutMs === undefined) return await send();
    await this.#send(`set statement_timeout = '${String(timeoutMs)}ms'`, undefined);
    try {
      return await send();
    } finally {
      await this.resetTimeouts();
    }
  }

  async change(query: Omit<Query, 'timeoutMs'>): Promise<number> {
    return (await this.#send(query.text, query.values)).rowCount ?? 0;
  }

  async execute(text: string): Promise<void> {
    await this.#send(text, undefined);
  }

  async catchWarnings(work: () => Promise<void>): Promise<ServerWarning[]> {
    const warnings: ServerWarning[] = [];
    const listener = ({
      message = '',
      routine,
    }: {
      message?: string | undefined;
      routine?: string | undefined;
    }) => warnings.push({ message, routine });
    this.#client.on('notice', listener);
    try {
      await work();
      return warnings;
    } finally {
      this.#client.off('notice', listener);
    }
  }

  async #send(text: string, values: unknown[] | undefined, isOneStatement = false): Promise<pg.QueryResult> {
    const { signal, onStatement } = this.#options;
    if (isAborted(signal)) throw interruption(signal);
    this.statements += 1;
    const started = performance.now();
    const onAbort = () => void this.#cancelOnServer();
    signal?.addEventListener('abort', onAbort, { once: true });
    let failed = true;
    try {
      const result = await (isOneStatement
        ? this.#client.query({ text, values, queryMode: 'extended' } as pg.QueryConfig)
        : values === undefined
          ? this.#client.query(text)
          : this.#client.query(text, values));
      failed = false;
      return result;
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
    try {
      const helper = await openClient(await clientConfig({ ...this.#settings, connectTimeoutMs: 3000 }));
      try {
        await helper.query('/* dbops:session.cancel */ select pg_catalog.pg_cancel_backend($1)', [
          this.server.pid,
        ]);
      } finally {
        await helper.end().catch(() => undefined);
      }
    } catch {
      // No second connection to be had: closing ours makes the server notice at its next write.
      this.#client.connection.stream.destroy();
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

  async openAnother({ isUninterrupted = false } = {}): Promise<Db> {
    const options = isUninterrupted ? { ...this.#options, signal: undefined } : this.#options;
    return await connect(this.#settings, options);
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
