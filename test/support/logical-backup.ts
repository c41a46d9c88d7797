// What the tests of logical backups share: a database with all that a dump may lose, a store, and the way back by hand.
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { inject } from 'vitest';
import type { BackupManifest, LogicalPart } from '../../src/backup/manifest.ts';
import { filesIn } from './archive-run.ts';
import { afterFile } from './cleanup.ts';
import type { CliResult } from './cli.ts';
import { createDatabase, type Querier, type TestDatabase } from './database.ts';
import { createWorkspace, type Workspace } from './workspace.ts';

export interface LogicalSetup extends Workspace {
  db: Pick<TestDatabase, 'url' | 'query'>;
  store: string;
  /** Where dumps are made. */
  work: string;
}

/** A folder with a store, a work directory and a configuration. */
export function logicalSetup(db: Pick<TestDatabase, 'url' | 'query'>, more = ''): LogicalSetup {
  const workspace = createWorkspace(db, '');
  const store = path.join(workspace.dir, 'store');
  const work = path.join(workspace.dir, 'work');
  workspace.configure(logicalYaml(store, work, more));
  return { ...workspace, db, store, work };
}

/** The same for a database of its own that is filled; it is dropped after the tests of the file. */
export async function filledSetup(name: string): Promise<{ db: TestDatabase; setup: LogicalSetup }> {
  const db = await createDatabase(name);
  afterFile(() => db.drop());
  await fillDatabase(db);
  return { db, setup: logicalSetup(db) };
}

/** The rows of each table of the application, as a manifest says. */
export function rowCounts(logical: LogicalPart | null): Record<string, number | null | undefined> {
  const tables = (logical?.tables ?? []).filter((table) => table.schema !== 'dbops');
  return Object.fromEntries(tables.map((table) => [table.name, table.rows]));
}

/** `more` stands below "backup:", indented by two. */
export function logicalYaml(store: string, work: string, more = ''): string {
  return `locking: { deadline: 3s }\nstores:\n  local: { url: "file://${store}" }\nbackup:\n  workDirectory: ${work}\n${more}`;
}

/** Directory of the client programs of the server of this run; undefined where the server brings none. */
export function clientDirectory(): string | undefined {
  const { binDir, version } = inject('postgres');
  const folders = [binDir ?? '', `/usr/lib/postgresql/${String(Math.floor(version / 10_000))}/bin`];
  return folders.find((folder) => fs.existsSync(path.join(folder, 'pg_dump')));
}

/** Whether this program is here in the server's own major version; one of another does not read its files. */
export function hasProgram(name: string): boolean {
  return fs.existsSync(path.join(clientDirectory() ?? '', name));
}

/** Why logical backups cannot be tested here; undefined where they can. */
export function whyNoDump(): string | undefined {
  return clientDirectory() === undefined
    ? "there is no pg_dump of the server's own major version"
    : undefined;
}

/** Types, partitions, a trigger, large objects, sequences, comments, grants. */
export async function fillDatabase(db: Querier): Promise<void> {
  await db.query(`create schema shop`);
  await db.query(`create type shop.mood as enum ('calm', 'wild')`);
  await db.query(`create domain shop.positive as int check (value > 0)`);
  await db.query(`create sequence shop.tickets start 100`);
  await db.query(
    `create function shop.touch() returns trigger language plpgsql as $$ begin new.note := 'touched'; return new; end $$`,
  );
  await db.query(`create table shop.orders (
      id bigint generated always as identity, at date not null, amount shop.positive, state shop.mood default 'calm',
      ticket bigint default nextval('shop.tickets'), note text, primary key (id, at)) partition by range (at)`);
  for (const month of ['01', '02']) {
    await db.query(
      `create table shop.orders_${month} partition of shop.orders
         for values from ('2026-${month}-01') to ('2026-${month}-28')`,
    );
  }
  await db.query(`insert into shop.orders (at, amount, note)
    select date '2026-01-01' + g % 50, g, 'tab' || chr(9) || 'line' || chr(10) || chr(92) || g from generate_series(1, 300) as g
     where date '2026-01-01' + g % 50 not in ('2026-01-28', '2026-01-29', '2026-01-30', '2026-01-31')`);
  await db.query(
    `create trigger touch before update on shop.orders for each row execute function shop.touch()`,
  );
  await db.query(`comment on table shop.orders is 'all orders'`);
  await db.query(`create table "We""ird Name" (id serial primary key, "Two words" text)`);
  await db.query(
    `insert into "We""ird Name" ("Two words") select md5(g::text) from generate_series(1, 50) as g`,
  );
  await db.query(`create table nothing (id int)`);
  await db.query(
    `create table log_lines as select g as id, md5(g::text) as line from generate_series(1, 20000) as g`,
  );
  await db.query(`select lo_from_bytea(0, decode(md5(g::text), 'hex')) from generate_series(1, 3) as g`);
}

/** The manifests in a store, with the folder of each. */
export function backupsIn(store: string): { folder: string; manifest: BackupManifest }[] {
  return filesIn(store)
    .filter((file) => path.basename(file) === 'manifest.json')
    .map((file) => ({
      folder: path.join(store, path.dirname(file)),
      manifest: JSON.parse(fs.readFileSync(path.join(store, file), 'utf8')) as BackupManifest,
    }));
}

/** Runs "backup create", which must do well, and returns what it made. */
export async function createBackup(
  setup: LogicalSetup,
  args: string[],
  env?: Record<string, string>,
): Promise<{ folder: string; manifest: BackupManifest; result: CliResult }> {
  const result = await setup.run(['backup', 'create', '--json', ...args], env);
  if (result.code !== 0) throw new Error(`exit ${String(result.code)}: ${result.stderr}`);
  const { data } = JSON.parse(result.stdout) as { data: { place: string; manifest: BackupManifest } };
  return { folder: path.join(setup.store, data.place), manifest: data.manifest, result };
}

/** Decompresses a file of a backup. */
export function read(folder: string, name: string): string {
  return execFileSync('zstd', ['-q', '-dc', path.join(folder, name)], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
}

/** Restores a backup by hand, as docs/backup-format.md says, into a new database; it must end without an error. */
export async function restoreByHand(folder: string, manifest: BackupManifest): Promise<TestDatabase> {
  const target = await createDatabase('by_hand');
  const bin = clientDirectory() ?? '';
  const scratch = fs.mkdtempSync(path.join(folder, 'by-hand-'));
  const has = (name: string) => manifest.files.some((file) => file.name === name);
  if (has('requirements.sql.zst')) runSql(target, read(folder, 'requirements.sql.zst'));
  if (has('schema.sql.zst')) runSql(target, read(folder, 'schema.sql.zst'));
  let source: string | undefined;
  if (has('dump.custom.zst')) {
    source = path.join(scratch, 'dump.custom');
    execFileSync('zstd', ['-q', '-d', path.join(folder, 'dump.custom.zst'), '-o', source]);
  } else if (has('dump/toc.dat.zst')) {
    source = path.join(scratch, 'dump');
    fs.mkdirSync(source);
    execFileSync('zstd', ['-q', '-d', '-r', path.join(folder, 'dump'), '--output-dir-flat', source]);
  }
  if (source !== undefined) {
    execFileSync(path.join(bin, 'pg_restore'), ['-e', '-d', target.url, source], { encoding: 'utf8' });
  }
  fs.rmSync(scratch, { recursive: true });
  return target;
}

function runSql(target: TestDatabase, sql: string): void {
  const done = spawnSync('psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', target.url, '-f', '-'], {
    input: sql,
    encoding: 'utf8',
  });
  if (done.status !== 0) throw new Error(done.stderr);
}

/** Every row of a table as text, in order. */
export async function rowsOf(db: Querier, table: string): Promise<string[]> {
  const rows = await db.query<{ row: string }>(`select t::text as row from ${table} as t order by 1`);
  return rows.map(({ row }) => row);
}

export interface FakePrograms {
  /** For the environment of a run. */
  env: { PATH: string };
  /** A folder that the scripts know as $own. */
  own: string;
  /** Puts lines of a shell script before the program, which they know as $real; they may end it or replace it. */
  replace: (program: string, script: string) => void;
}

/** Programs that come first on the PATH and do as a test says; asked for their version they are the real ones. */
export function fakePrograms(dir: string): FakePrograms {
  const own = fs.mkdtempSync(path.join(dir, 'bin-'));
  return {
    env: { PATH: `${own}:${process.env['PATH'] ?? ''}` },
    own,
    replace: (program, script) => {
      const real = [clientDirectory() ?? '', ...(process.env['PATH'] ?? '').split(':')]
        .map((folder) => path.join(folder, program))
        .find((file) => fs.existsSync(file));
      const text = `#!/bin/sh
real='${real ?? ''}' own='${own}'
case "$*" in --version) exec "$real" "$@";; esac
${script}
exec "$real" "$@"
`;
      fs.writeFileSync(path.join(own, program), text, { mode: 0o755 });
    },
  };
}
