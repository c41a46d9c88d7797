// What the tests of archives share: partitions that are due, a store in a directory, programs that wait or die, and what
// has to be true whatever happened.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { findCopyPrograms } from '../../src/process/tools.ts';
import { waitUntil, type Querier, type TestDatabase } from './database.ts';
import { createWorkspace, type Workspace } from './workspace.ts';

/** Partitions of July and before are due. */
export const now = { DBOPS_TEST_NOW: '2026-11-21T12:00:00Z' };
/** Past the quarantine of what was detached then. */
export const later = { DBOPS_TEST_NOW: '2026-12-05T12:00:00Z' };

export interface Setup extends Workspace {
  db: Pick<TestDatabase, 'url' | 'query'>;
  /** Directory of the store "cold". */
  store: string;
}

export interface ConfigOptions {
  tables?: string[];
  /** YAML below the entry of each table, indented by four. */
  more?: string;
  /** YAML at the top. */
  top?: string;
  /** YAML below "stores", indented by two; the default is a directory. */
  stores?: string;
}

/** The configuration: months, hot for 90 days, a quarantine of a week. */
export function archiveYaml(store: string, options: ConfigOptions = {}): string {
  const { tables = ['public.events'], more = '', top = '', stores } = options;
  const entries = tables.map(
    (table) =>
      `  - table: ${table}\n    key: at\n    interval: month\n    premake: 1\n    retention: { hot: 90 days }\n    quarantine: 7 days\n${more}`,
  );
  return `locking: { deadline: 20s }\n${top}\nstores:\n${stores ?? `  cold: { url: "file://${store}" }\n`}\npartitions:\n${entries.join('')}`;
}

/** A folder with a configuration for this database. */
export function archiveSetup(db: Pick<TestDatabase, 'url' | 'query'>, options: ConfigOptions = {}): Setup {
  const work = createWorkspace(db, '');
  const store = path.join(work.dir, 'store');
  work.configure(archiveYaml(store, options));
  return { ...work, db, store };
}

/** A table with partitions for these months of 2026, the current one among them, and rows in each. */
export async function makeTable(db: Querier, name = 'events', months = [6, 11], rows = 20): Promise<void> {
  await db.query(
    `create table ${name} (id int8 not null, at timestamptz not null, note text) partition by range (at)`,
  );
  for (const month of months) {
    await db.query(
      `create table ${name}_${month} partition of ${name}
         for values from ('2026-${month}-01 00:00:00+00') to ('2026-${month + 1}-01 00:00:00+00')`,
    );
    await db.query(
      `insert into ${name} select ${month} * 1000 + g, '2026-${month}-02', 'row ' || g from generate_series(1, $1) as g`,
      [rows],
    );
  }
}

/** Forgets everything: tables, state, and what is in the store. */
export async function startAfresh(setup: Setup): Promise<void> {
  await setup.db.query('drop schema if exists dbops cascade');
  await setup.db.query('drop schema public cascade');
  await setup.db.query('create schema public');
  fs.rmSync(setup.store, { recursive: true, force: true });
  fs.mkdirSync(setup.store);
}

/** Every file below a directory, temporary ones too, in order. */
export function filesIn(folder: string): string[] {
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .sort();
}

export interface StoredManifest {
  id: string;
  rows: number;
  partition: { schema: string; name: string };
  parts: { name: string; rows: number; sizeBytes: number }[];
  masked: { column: string }[];
  digest: string | null;
  settings: Record<string, string>;
}

/** The manifests in a store, with the folder of each. */
export function manifestsIn(store: string): { folder: string; manifest: StoredManifest }[] {
  return filesIn(store)
    .filter((file) => path.basename(file) === 'manifest.json')
    .map((file) => ({
      folder: path.join(store, path.dirname(file)),
      manifest: JSON.parse(fs.readFileSync(path.join(store, file), 'utf8')) as StoredManifest,
    }));
}

/** The rows of an archive as lines of COPY. */
export function linesOf(folder: string): string[] {
  const parts = fs
    .readdirSync(folder)
    .filter((name) => name.endsWith('.zst'))
    .sort();
  return parts.flatMap((name) =>
    execFileSync('zstd', ['-q', '-dc', path.join(folder, name)], { encoding: 'utf8', maxBuffer: 2 ** 28 })
      .split('\n')
      .slice(0, -1),
  );
}

/** The rows of tables as lines of COPY, under the settings of an export. */
export function copyOf(db: { url: string }, ...tables: string[]): string[] {
  const settings = 'set datestyle = iso; set timezone = utc; set extra_float_digits = 3;';
  return tables.flatMap((table) =>
    execFileSync(
      'psql',
      ['-XAtq', '-d', db.url, '-c', settings, '-c', `copy (select * from ${table}) to stdout`],
      {
        encoding: 'utf8',
        maxBuffer: 2 ** 28,
      },
    )
      .split('\n')
      .slice(0, -1),
  );
}

export interface ArchiveState {
  state: string;
  partition: string;
  stores: string[];
  id: string;
  message: string | null;
}

export async function archiveStates(db: Querier): Promise<ArchiveState[]> {
  return await db.query<ArchiveState & Record<string, unknown>>(
    `select state, partition_name as partition, stores, id, message from dbops.archive order by created_at, id`,
  );
}

export async function ledgerStates(db: Querier): Promise<string[]> {
  const rows = await db.query<{ line: string }>(
    `select partition_name || ' ' || state as line from dbops.partition_ledger order by id`,
  );
  return rows.map((row) => row.line);
}

/** Tables of the database that hold rows of the application, attached or not. */
async function tablesWithRows(db: Querier): Promise<string[]> {
  const rows = await db.query<{ name: string }>(
    `select c.oid::regclass::text as name from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
      where c.relkind = 'r' and n.nspname = 'public' order by 1`,
  );
  return rows.map((row) => row.name);
}

/**
 * What holds at every moment: no row is gone that is not in an archive of the ledger, and every such archive is whole in
 * its store. `rows` are those of before.
 */
export async function expectNothingLost(setup: Setup, rows: string[]): Promise<void> {
  const found = new Set(copyOf(setup.db, ...(await tablesWithRows(setup.db))));
  const proven = await archiveStates(setup.db).catch((): ArchiveState[] => []);
  for (const { folder, manifest } of manifestsIn(setup.store)) {
    if (!proven.some((row) => row.id === manifest.id && row.state === 'proven')) continue;
    for (const line of linesOf(folder)) found.add(line);
  }
  expect(rows.filter((row) => !found.has(row))).toEqual([]);
}

/**
 * What holds after a run that ended well: the ledger says what is so, the store holds what manifests name and nothing else,
 * and nobody of ours is left.
 */
export async function expectTrueLedger(setup: Setup): Promise<void> {
  const { db, store } = setup;
  const open = await db.query<{ state: string; detached: boolean; marked: boolean; name: string }>(
    `select l.partition_name as name, l.state, not c.relispartition as detached,
            coalesce(obj_description(c.oid, 'pg_class') like 'dbops:detached %', false) as marked
       from dbops.partition_ledger as l left join pg_class as c on c.oid = l.partition_oid
      where l.state in ('detaching', 'detached')`,
  );
  for (const row of open)
    expect(row).toEqual({ name: row.name, state: 'detached', detached: true, marked: true });
  expect(await db.query('select inhrelid::regclass from pg_inherits where inhdetachpending')).toEqual([]);
  const states = await archiveStates(db);
  expect(states.filter((row) => row.state === 'exporting')).toEqual([]);
  const manifests = manifestsIn(store);
  for (const row of states.filter(({ state }) => ['verified', 'proven'].includes(state))) {
    expect(manifests.map(({ manifest }) => manifest.id)).toContain(row.id);
  }
  const named = manifests.flatMap(({ folder, manifest }) => {
    const place = path.relative(store, folder);
    return [...manifest.parts.map((part) => part.name), 'manifest.json', 'schema.sql'].map((name) =>
      path.join(place, name),
    );
  });
  expect(filesIn(store)).toEqual(named.sort());
  for (const { folder, manifest } of manifests) expect(linesOf(folder)).toHaveLength(manifest.rows);
}

/** The next run finishes; the one after the quarantine drops; every row is in the archive then. */
export async function expectToFinish(setup: Setup, rows: string[], pattern?: RegExp): Promise<void> {
  const next = await setup.run(['archive', 'run'], now);
  expect(next.code, next.stderr).toBe(0);
  if (pattern !== undefined) expect(next.stderr).toMatch(pattern);
  await expectTrueLedger(setup);
  expect((await ledgerStates(setup.db)).at(-1)).toBe('events_6 detached');
  expect((await archiveStates(setup.db)).filter(({ state }) => state === 'proven')).toHaveLength(1);
  const last = await setup.run(['archive', 'run'], later);
  expect(last.code, last.stderr).toBe(0);
  expect((await ledgerStates(setup.db)).at(-1)).toBe('events_6 dropped');
  await expectTrueLedger(setup);
  await expectNothingLost(setup, rows);
}

/** Waits until no session of a run is left: what a kill leaves ends by itself. */
export async function untilSessionsEnd(db: Querier): Promise<void> {
  await waitUntil(
    async () =>
      (
        await db.query(
          `select from pg_stat_activity where application_name like 'dbops archive%' and datname = current_database()`,
        )
      ).length === 0,
    { what: 'the sessions of the run to end' },
  );
}

/** What a program is started for. */
export type Job = 'psql' | 'compress' | 'decompress';

export interface Programs {
  /** For the environment of a run. */
  env: { PATH: string };
  /** From now on a program waits before it does this. */
  hold: (job: Job) => void;
  release: (job: Job) => void;
  /** Waits for the next start, and returns its pid. */
  started: (job: Job) => Promise<number>;
  /** Those that have not ended. */
  alive: () => number[];
  /** Makes it do something else instead: the lines of a shell script, in which $real is the program. */
  replace: (job: Job, script: string) => void;
}

/**
 * psql and zstd that do as a test says: shell scripts that come first on the PATH, tell when they start, wait while they
 * are held, and turn into the real ones.
 */
export async function heldPrograms(dir: string): Promise<Programs> {
  const bin = fs.mkdtempSync(path.join(dir, 'bin-'));
  const real = await findCopyPrograms(process.env['PATH'] ?? '');
  const log = path.join(bin, 'started');
  fs.writeFileSync(log, '');
  const script = (program: string, job: string) => `#!/bin/sh
real='${program}'
case "$*" in *--version*) exec "$real" "$@";; esac
${job}
echo "$job $$" >> '${log}'
while [ -e '${bin}/hold-'$job ]; do sleep 0.02 || exit 1; done
if [ -e '${bin}/instead-'$job ]; then . '${bin}/instead-'$job; fi
exec "$real" "$@"
`;
  const write = (name: string, text: string) => fs.writeFileSync(path.join(bin, name), text, { mode: 0o755 });
  write('psql', script(real.psql, 'job=psql'));
  write('zstd', script(real.zstd, 'case "$*" in *-dc*) job=decompress;; *) job=compress;; esac'));
  let seen = 0;
  const starts = () => fs.readFileSync(log, 'utf8').split('\n').filter(Boolean);
  return {
    env: { PATH: `${bin}:${process.env['PATH'] ?? ''}` },
    hold: (job) => {
      seen = starts().length;
      write(`hold-${job}`, '');
    },
    release: (job) => fs.rmSync(path.join(bin, `hold-${job}`), { force: true }),
    replace: (job, text) => write(`instead-${job}`, text),
    started: async (job) => {
      const line = await waitUntil(
        () => {
          const at = starts().findIndex((text, index) => index >= seen && text.startsWith(`${job} `));
          if (at === -1) return undefined;
          seen = at + 1;
          return starts()[at];
        },
        { what: `${job} to start`, timeoutMs: 30_000 },
      );
      return Number(line.split(' ')[1]);
    },
    alive: () =>
      starts()
        .map((line) => Number(line.split(' ')[1]))
        .filter(isAlive),
  };
}

function isAlive(pid: number): boolean {
  try {
    // A process that has ended and was not waited for (zombie) counts as ended.
    return !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return fs.existsSync('/proc/self') ? false : canSignal(pid);
  }
}

function canSignal(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Waits until none of the programs of a run is left. */
export async function untilProgramsEnd(programs: Programs): Promise<void> {
  await waitUntil(() => programs.alive().length === 0, { what: 'psql and zstd to end' });
}
