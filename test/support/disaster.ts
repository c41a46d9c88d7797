// A host with a PostgreSQL server whose WAL goes to two stores, and a shell in which the lines of a document are run on it.
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Server } from '../../scripts/lib/postgres-server.mjs';
import { afterFile } from './cleanup.ts';
import { runProgram, type CliResult } from './cli.ts';
import {
  databaseUrl,
  ownDatabase,
  serverBinaries,
  startPrivateServer,
  waitUntil,
  type TestDatabase,
} from './database.ts';
import type { ShownCommand } from './examples.ts';
import { giveTo } from './physical.ts';
import { entry } from './program.ts';

/** The database that the documents speak of. */
export const databaseName = 'factory';

/** What the documents call a place or a port, and what it is in the test. */
export type Names = Record<string, string>;

export interface DisasterSite {
  server: Server;
  /** Everything of the host but the server: stores, configuration, restored clusters. */
  dir: string;
  /** The database "factory" of whatever server listens on the port of the first one. */
  db: Pick<TestDatabase, 'url' | 'query'>;
  /** Runs a line as the operator does: as the user of the server, with the PG* variables of it. */
  run: (line: string) => Promise<CliResult>;
  /** As run, with --json; the data of the document. Throws where it fails. */
  ask: <T>(line: string) => Promise<T>;
  /** Runs lines of a document in their order, with these names replaced. Throws at the first that ends otherwise. */
  follow: (commands: ShownCommand[], names?: Names) => Promise<string[]>;
  /** Closes the segment that is written to, and waits until it is in the stores. */
  archived: () => Promise<void>;
  /** Loses the database. */
  drop: () => Promise<void>;
  /** Makes the directories anew that a host has before anything is on it. */
  renew: () => void;
  /** A database of another server of this host. */
  at: (port: string, name?: string) => Pick<TestDatabase, 'url' | 'query'>;
}

/** Why no disaster can be practised here; undefined where it can. */
export function whyNoDisaster(): string | undefined {
  const missing = ['pg_basebackup', 'pg_dump', 'pg_waldump', 'psql'].filter(
    (name) => !fs.existsSync(path.join(serverBinaries(), name)),
  );
  return missing.length === 0 ? undefined : `${missing.join(', ')} is not in ${serverBinaries()}`;
}

/** Starts it with the tables of `schema`; it is ended after the tests of the file. */
export async function openDisasterSite(schema: string[], settings = ''): Promise<DisasterSite> {
  const server = await startPrivateServer(
    { full_page_writes: 'on', archive_mode: 'on', archive_command: 'exit 1' },
    ['--wal-segsize=1'],
  );
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-disaster-'));
  fs.chmodSync(dir, 0o755);
  afterFile(async () => {
    for (const name of fs.readdirSync(path.join(dir, 'pg'))) await endServer(path.join(dir, 'pg', name));
    await server.stop({ immediate: true });
    fs.rmSync(dir, { recursive: true, force: true });
  });
  const renew = () => {
    giveTo(server, ...['spool', 'work', 'pg', 'etc', 'home', 'bin'].map((name) => path.join(dir, name)));
  };
  renew();
  giveTo(server, path.join(dir, 'local'), path.join(dir, 'offsite'));
  fs.writeFileSync(path.join(dir, 'etc', 'dbops.yaml'), configuration(dir, ['local', 'offsite'], settings));
  fs.symlinkSync(entry, path.join(dir, 'bin', 'dbops'));

  const run = (line: string) => runLine(server, dir, line);
  const postgres = ownDatabase(server);
  await postgres.query(`create database ${databaseName}`);
  const db = ownDatabase({ url: databaseUrl(server.url, databaseName) });
  for (const statement of schema) await db.query(statement);

  const ask = async <T>(line: string): Promise<T> => {
    const { code, stdout, stderr } = await run(`${line} --json`);
    if (code !== 0) throw new Error(`$ ${line}\nended with ${String(code)}\n${stderr}`);
    return (JSON.parse(stdout) as { data: T }).data;
  };
  const { settings: wanted } = await ask<{ settings: { name: string; value: string }[] }>(
    'dbops wal commands',
  );
  for (const { name, value } of wanted.filter((item) => item.name === 'archive_command'))
    await postgres.query(`alter system set ${name} = '${value.replaceAll("'", "''")}'`);
  await postgres.query('select pg_reload_conf()');

  const archived = async () => {
    const [row] = await postgres.query<{ name: string }>(
      "select pg_walfile_name(pg_logical_emit_message(true, 'test', 'x')) as name",
    );
    await postgres.query('select pg_switch_wal()');
    await waitUntil(
      async () => {
        const [archiver] = await postgres.query<{ last: string | null }>(
          'select last_archived_wal as last from pg_stat_archiver',
        );
        return (archiver?.last ?? '') >= (row?.name ?? '');
      },
      { what: `the archive of ${row?.name ?? ''}\n${server.log().slice(-2000)}`, timeoutMs: 60_000 },
    );
  };
  return {
    server,
    dir,
    db,
    run,
    ask,
    archived,
    renew,
    drop: async () => {
      await postgres.query(`drop database ${databaseName} with (force)`);
    },
    at: (port, name = databaseName) =>
      ownDatabase({ url: databaseUrl(`postgresql://postgres@127.0.0.1:${port}/`, name) }),
    follow: async (commands, names = {}) => {
      const outputs: string[] = [];
      for (const { line, exits, at } of commands) {
        const real = withNames(line, { ...placesOf(server, dir), ...names });
        const { code, stdout, stderr } = await run(real);
        if (code !== exits)
          throw new Error(`line ${String(at)}: $ ${real}\nended with ${String(code)}\n${stdout}${stderr}`);
        outputs.push(stdout);
      }
      return outputs;
    },
  };
}

/** A configuration with these stores, as the host of the site has it. */
export function configuration(dir: string, stores: string[], more = ''): string {
  const lines = stores.map((name) => `  ${name}: { url: "file://${path.join(dir, name)}" }\n`);
  return `stores:\n${lines.join('')}backup: { workDirectory: "${dir}/work" }\nwal: { spool: "${dir}/spool" }\n${more}`;
}

/** The places that the documents use. */
function placesOf(server: Server, dir: string): Names {
  return {
    '/var/lib/postgresql/15/main': server.dataDir,
    '/srv/pg': path.join(dir, 'pg'),
    '/etc/dbops': path.join(dir, 'etc'),
    '5432': String(server.port),
  };
}

/** All at once: what was filled in is not looked at again. */
function withNames(line: string, names: Names): string {
  const marks = Object.entries(names)
    .sort(([a], [b]) => b.length - a.length)
    .map(([shown, real]) => ({ shown, real, mark: `<${randomBytes(8).toString('hex')}>` }));
  const marked = marks.reduce((text, { shown, mark }) => text.replaceAll(shown, mark), line);
  return marks.reduce((text, { real, mark }) => text.replaceAll(mark, real), marked);
}

async function runLine(server: Server, dir: string, line: string): Promise<CliResult> {
  const { uid, gid } = fs.statSync(path.join(dir, 'home'));
  const as =
    process.getuid?.() === uid ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'];
  return await runProgram([...as, 'bash', '-o', 'pipefail', '-c', line], {
    cwd: path.join(dir, 'home'),
    timeoutMs: 110_000,
    env: {
      HOME: path.join(dir, 'home'),
      DBOPS_CONFIG: path.join(dir, 'etc', 'dbops.yaml'),
      PGHOST: server.host,
      PGPORT: String(server.port),
      PGUSER: server.user,
      PGDATABASE: databaseName,
      PATH: [
        path.join(dir, 'bin'),
        server.binDir,
        path.dirname(process.execPath),
        process.env['PATH'] ?? '',
      ].join(path.delimiter),
    },
  });
}

/** Ends the server of a data directory, where one runs. */
async function endServer(dataDirectory: string): Promise<void> {
  const file = path.join(dataDirectory, 'postmaster.pid');
  if (!fs.existsSync(file)) return;
  const pid = Number(fs.readFileSync(file, 'utf8').split('\n')[0]);
  try {
    process.kill(pid, 'SIGQUIT');
  } catch {
    return;
  }
  await waitUntil(() => !fs.existsSync(file), { what: `the end of server ${String(pid)}` }).catch(
    () => undefined,
  );
}
