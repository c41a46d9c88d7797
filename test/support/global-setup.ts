// Starts one PostgreSQL server for a run of vitest; the projects share it.
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import type { Server } from '../../scripts/lib/postgres-server.mjs';
import { embeddedBinaries, findSystemBinaries, startServer } from '../../scripts/lib/postgres-server.mjs';
import { versitygw } from '../../scripts/lib/versitygw.mjs';
import { shareProgram } from './program.ts';
import { TEMPLATE, testSettings } from './settings.ts';

/** The server of this run, as `inject('postgres')` gives it to the tests. */
export interface TestServer {
  /** Of the database `postgres`, as a superuser. */
  url: string;
  /** server_version_num, such as 150018. */
  version: number;
  /** Where private servers are started from; null where the server is an external one. */
  binDir: string | null;
}

declare module 'vitest' {
  interface ProvidedContext {
    postgres: TestServer;
  }
}

interface Shared {
  users: number;
  started: Promise<{ own: Server | null; server: TestServer }>;
  /** Removes the copy of the program. */
  unshare: () => void;
}

/** vitest loads this file anew for every project, so what they share cannot be a variable of the module. */
const holder = globalThis as { dbopsTestServer?: Shared | undefined };

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const shared = (holder.dbopsTestServer ??= { users: 0, unshare: shareProgram(), started: start() });
  shared.users += 1;
  const { own, server } = await shared.started;
  project.provide('postgres', server);
  return async () => {
    shared.users -= 1;
    if (shared.users > 0) return;
    holder.dbopsTestServer = undefined;
    shared.unshare();
    await own?.stop({ immediate: true });
  };
}

async function start(): Promise<{ own: Server | null; server: TestServer }> {
  // Built here, once: within a test file it would outlast every timeout, and two workers would build it twice.
  if (!process.env['DBOPS_TEST_S3_ENDPOINT']) versitygw();
  const external = process.env['DBOPS_TEST_URL'];
  // The newest major that most people run: for those who have neither a server nor chosen one.
  const binDir = external ? null : (findSystemBinaries()?.dir ?? embeddedBinaries(17));
  const own = binDir ? await startServer({ binDir, settings: testSettings }) : null;
  const url = own?.url ?? external!;
  return { own, server: { url, binDir, version: await createTemplate(url) } };
}

/** Creates the database that every test database is a clone of, and returns the server's version number. */
async function createTemplate(url: string): Promise<number> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    // Two runs on one external server would both find the template missing.
    await client.query("select pg_advisory_lock(hashtext('dbops test template'))");
    const { rowCount } = await client.query('select from pg_database where datname = $1', [TEMPLATE]);
    if (rowCount === 0) {
      const encoding = "encoding 'UTF8' lc_collate 'C' lc_ctype 'C'";
      await client.query(`create database ${TEMPLATE} template template0 ${encoding}`);
    }
    const version = await client.query<{ number: number }>(
      "select current_setting('server_version_num')::int as number",
    );
    return version.rows[0]!.number;
  } finally {
    await client.end();
  }
}
