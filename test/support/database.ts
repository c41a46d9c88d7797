// Databases, sessions and servers for tests. The server of the run comes from global-setup.ts.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { inject, onTestFinished } from 'vitest';
import type { Server } from '../../scripts/lib/postgres-server.mjs';
import { embeddedBinaries, startServer } from '../../scripts/lib/postgres-server.mjs';
import { TEMPLATE, privateSettings } from './settings.ts';

export type Row = pg.QueryResultRow;

/** Runs one statement and returns its rows; the caller names their type. */
type Query = <R extends Row = Row>(text: string, values?: unknown[]) => Promise<R[]>;

/** What can run a statement: a test database, or a session. */
export interface Querier {
  query: Query;
}

/** A database of one test, a clone of the template. */
export interface TestDatabase extends Querier {
  url: string;
  name: string;
  /** A further connection; drop() closes it. */
  connect: () => Promise<pg.Client>;
  /** Drops the database, whoever is connected to it. */
  drop: () => Promise<void>;
}

/** One connection, for tests in which two sessions meet. */
export interface Session extends Querier {
  client: pg.Client;
  /** Of the server process, as in pg_locks and pg_stat_activity. */
  pid: number;
  begin: () => Promise<void>;
  /** Closes the connection; a transaction that is open is rolled back. */
  end: () => Promise<void>;
}

export interface LockRow {
  relation: string;
  mode: string;
  granted: boolean;
}

/** server_version_num of the server of this run, such as 150018. */
export function serverVersion(): number {
  return inject('postgres').version;
}

/** Creates a database: empty, or a clone of one to which nobody is connected. Its name, a help in logs, is made unique. */
export async function createDatabase(name = 'test', template = TEMPLATE): Promise<TestDatabase> {
  return createDatabaseOn(inject('postgres').url, name, template);
}

async function createDatabaseOn(serverUrl: string, label: string, template: string): Promise<TestDatabase> {
  const name = `dbops_${label.slice(0, 40)}_${randomBytes(5).toString('hex')}`;
  await runOnce(
    serverUrl,
    `create database ${pg.escapeIdentifier(name)} template ${pg.escapeIdentifier(template)}`,
  );
  const url = databaseUrl(serverUrl, name);
  const clients = new Set<pg.Client>();
  const connect = async (): Promise<pg.Client> => {
    const client = await connectTo(url);
    clients.add(client);
    return client;
  };
  let shared: Promise<pg.Client> | undefined;
  return {
    url,
    name,
    connect,
    query: async <R extends Row>(text: string, values: unknown[] = []) => {
      shared ??= connect();
      return (await (await shared).query<R>(text, values)).rows;
    },
    drop: async () => {
      await Promise.all([...clients].map((client) => client.end()));
      await runOnce(serverUrl, `drop database if exists ${pg.escapeIdentifier(name)} with (force)`);
    },
  };
}

/** The same server, another database. */
export function databaseUrl(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${encodeURIComponent(name)}`;
  return changed.href;
}

/** Opens a connection of its own. */
export async function openSession(url: string): Promise<Session> {
  const client = await connectTo(url);
  const query: Query = async <R extends Row>(text: string, values: unknown[] = []) =>
    (await client.query<R>(text, values)).rows;
  const [own] = await query<{ pid: number }>('select pg_backend_pid() as pid');
  endWithTest(client);
  return {
    client,
    pid: own!.pid,
    query,
    begin: async () => {
      await client.query('begin');
    },
    end: () => client.end(),
  };
}

/** A test that fails before it ends its session would leave locks behind, on which every later one waits. */
function endWithTest(client: pg.Client): void {
  try {
    onTestFinished(() => client.end());
  } catch {
    // In a hook: what it opened is for several tests.
  }
}

/** The locks on relations that a server process holds or waits for, in the database of `on`. */
export async function locksOf(on: Querier, pid: number): Promise<LockRow[]> {
  return on.query<LockRow & Row>(
    `select relation::regclass::text as relation, mode, granted
       from pg_locks
      where pid = $1 and locktype = 'relation'
        and database = (select oid from pg_database where datname = current_database())
      order by relation::regclass::text, mode`,
    [pid],
  );
}

/** Asks again and again until the answer is neither false nor null nor undefined, and returns it. */
export async function waitUntil<T>(
  ask: () => T | Promise<T>,
  { timeoutMs = 10_000, what }: { timeoutMs?: number; what: string },
): Promise<NonNullable<T>> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== false && answer !== null && answer !== undefined) return answer;
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await sleep(20);
  }
}

/**
 * Starts a server for one test alone, to crash it or to set what only a start can set. The test stops it.
 * It has no template: createDatabase() is for the server of the run.
 */
export async function startPrivateServer(
  settings: Record<string, string> = {},
  initdbArgs: string[] = [],
  binDir = serverBinaries(),
): Promise<Server> {
  return startServer({
    binDir,
    settings: { ...privateSettings, ...settings },
    initdbArgs,
  });
}

/** The database of a private server, asked through a new connection each time: the server may restart in between. */
export function ownDatabase(server: Pick<Server, 'url'>): Pick<TestDatabase, 'url' | 'query'> {
  return {
    url: server.url,
    query: async <R extends Row>(text: string, values: unknown[] = []) => {
      const client = await connectTo(server.url);
      try {
        return (await client.query<R>(text, values)).rows;
      } finally {
        await client.end();
      }
    },
  };
}

/** Starts a streaming standby of a private server, which is restarted for the copy. */
export async function startStandby(primary: Server, settings: Record<string, string> = {}): Promise<Server> {
  const connection = `host=${primary.host} port=${primary.port} user=${primary.user}`;
  let standby: Server | undefined;
  await primary.restart({
    // A copy of a stopped server needs no client tool, which the servers of the matrix do not have.
    whileStopped: async () => {
      standby = await startServer({
        binDir: primary.binDir,
        copyOf: primary.dataDir,
        signalFile: 'standby.signal',
        settings: {
          ...privateSettings,
          primary_conninfo: connection,
          wal_retrieve_retry_interval: '100ms',
          ...settings,
        },
      });
    },
  });
  return standby!;
}

/** Where the programs of the server of this run are; private servers are started from it. */
export function serverBinaries(): string {
  const { binDir, version } = inject('postgres');
  return binDir ?? embeddedBinaries(Math.floor(version / 10_000));
}

async function connectTo(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: 'dbops test' });
  // Tests cut connections on purpose; without a listener that would end the process.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

async function runOnce(url: string, statement: string): Promise<void> {
  const client = await connectTo(url);
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
