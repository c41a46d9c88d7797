// The printed plan is the plan that runs: psql with the script and a run leave the same catalog.
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, inject, it } from 'vitest';
import { runDbops, runProgram } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { catalogOf, invocation, runEnsure, type TableEntry } from '../support/ensure.ts';

const databases: TestDatabase[] = [];

afterEach(async () => {
  for (const db of databases.splice(0)) await db.drop();
});

async function database(): Promise<TestDatabase> {
  const db = await createDatabase('ensure_dry_run');
  databases.push(db);
  return db;
}

const hostile = `x'; \\! false\n"$dbops$" :name :'name' %s`;
const quoted = `"${hostile.replaceAll('"', '""')}"`;

const index = quoted.replace('"x', '"index of x');

/** Everything that makes a plan long: default partition, replica identity by index, policies, grants, hostile names. */
const schema = `
  create schema ${quoted};
  create table ${quoted}.${quoted} (id int not null, ${quoted} timestamptz not null, note text default 'a\\''b')
    partition by range (${quoted});
  create unique index ${index} on ${quoted}.${quoted} (id, ${quoted});
  alter table ${quoted}.${quoted} replica identity using index ${index};
  alter table ${quoted}.${quoted} enable row level security;
  create policy ${quoted} on ${quoted}.${quoted} using (note <> 'it''s \\ :note');
  grant select (id, ${quoted}), insert on ${quoted}.${quoted} to public;
  comment on column ${quoted}.${quoted}.id is E'a\\nb\\\\c';
  create table plain (id bigint generated always as identity) partition by range (id);
  create table with_default (at date) partition by range (at);
  create table with_default_rest partition of with_default default;
  create table with_default_a partition of with_default for values from ('2026-11-01') to ('2026-12-01');
  create table left_behind_y2026m11 (at date);
  comment on table left_behind_y2026m11 is 'dbops:creating parent=public.left_behind';
  create table left_behind (at date) partition by range (at);
`.replaceAll(`'a\\''b'`, `E'a\\'\\'b'`);

const entries: TableEntry[] = [
  { table: `${quoted}.${quoted}`, key: hostile, interval: 'month', premake: 2 },
  { table: 'public.plain', key: 'id', interval: 1000, premake: 2 },
  { table: 'public.with_default', key: 'at', interval: 'month', premake: 2 },
  { table: 'public.left_behind', key: 'at', interval: 'month', premake: 0 },
];

function psql(): string | undefined {
  const { binDir } = inject('postgres');
  const candidates = [...(binDir === null ? [] : [binDir]), ...(process.env['PATH'] ?? '').split(':')];
  const folders = fs.existsSync('/usr/lib/postgresql')
    ? fs.readdirSync('/usr/lib/postgresql').map((major) => `/usr/lib/postgresql/${major}/bin`)
    : [];
  return [...candidates, ...folders]
    .map((folder) => path.join(folder, 'psql'))
    .find((file) => fs.existsSync(file));
}

describe('partition ensure --dry-run', () => {
  it('prints a script with which psql does what a run does', async ({ skip }) => {
    const program = psql();
    if (program === undefined) return skip('no psql on this machine');
    const [run, script] = [await database(), await database()];
    await run.query(schema);
    await script.query(schema);
    const before = await catalogOf(script);
    expect(before).toEqual(await catalogOf(run));
    const { cwd, env } = invocation(script.url, entries);
    const printed = await runDbops(['partition', 'ensure', '--dry-run'], { cwd, env });
    expect(printed.code).toBe(0);
    expect(await catalogOf(script)).toEqual(before);
    const done = await runProgram([program, '-X', '-q', '-d', script.url, '-f', '-'], {
      input: printed.stdout,
    });
    expect(done.stderr).toBe('');
    expect(done.code).toBe(0);
    const real = await runEnsure(run, entries);
    expect(real.stderr).not.toContain('hint');
    expect(real.code).toBe(0);
    expect(await catalogOf(script)).toEqual(await catalogOf(run, { withoutState: true }));
    expect((await catalogOf(script)).length).toBeGreaterThan(before.length + 30);
  });

  it('wins over --yes-like habits, makes no state schema, and gives the plan as data with --json', async () => {
    const db = await database();
    await db.query('create table t (at date) partition by range (at)');
    const before = await catalogOf(db);
    const run = await runEnsure(db, [{ table: 't', key: 'at', interval: 'day', premake: 1 }], {
      args: ['--dry-run', '--json'],
    });
    expect(run.code).toBe(0);
    const document = JSON.parse(run.stdout) as {
      command: string;
      data: { dryRun: boolean; changes: { steps: { sql: string }[] }[] };
    };
    expect(document.command).toBe('partition ensure');
    expect(document.data.dryRun).toBe(true);
    expect(document.data.changes).toHaveLength(4);
    expect(document.data.changes[0]!.steps[0]!.sql).toMatch(/^create table public\.t_y2026m11d21 /);
    expect(await catalogOf(db)).toEqual(before);
  });

  it('with nothing to do prints a script that does nothing', async () => {
    const db = await database();
    await db.query('create table t (at date) partition by range (at)');
    const entry = { table: 't', key: 'at', interval: 'day', premake: 0 };
    expect((await runEnsure(db, [entry])).code).toBe(0);
    const run = await runEnsure(db, [entry], { args: ['--dry-run'] });
    expect(run.stdout).toContain('-- nothing to do');
    expect(run.stdout).not.toContain('begin;');
  });
});
