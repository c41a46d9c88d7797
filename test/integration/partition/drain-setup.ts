// What the tests of drain have in common: a set with a default or a legacy partition, and runs of the command.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { runDbops, spawnDbops, type CliResult, type RunningCli } from '../../support/cli.ts';
import type { Querier } from '../../support/database.ts';

/** What every run of these tests sees as the present. */
export const now = '2026-03-15T12:00:00Z';

/** A directory with a dbops.yaml for public.events, by month over `at`. */
export function configured(extra = ''): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-drain-'));
  const entry = `partitions:\n  - table: public.events\n    key: at\n    interval: month\n    premake: 2\n${extra}`;
  fs.writeFileSync(path.join(dir, 'dbops.yaml'), entry);
  return dir;
}

export interface Run {
  url: string;
  from?: string;
  mode?: 'transaction' | 'batches';
  flags?: string[];
  cwd?: string;
}

function argumentsOf(run: Run): [string[], { cwd: string; env: Record<string, string> }] {
  const { from = 'events_default', mode = 'transaction', flags = ['--yes'] } = run;
  return [
    ['partition', 'drain', 'public.events', '--from', from, '--mode', mode, ...flags],
    { cwd: run.cwd ?? configured(), env: { DBOPS_URL: run.url, DBOPS_TEST_NOW: now } },
  ];
}

export async function drain(run: Run): Promise<CliResult> {
  const [args, options] = argumentsOf(run);
  return runDbops(args, options);
}

export function startDrain(run: Run): RunningCli {
  const [args, options] = argumentsOf(run);
  return spawnDbops(args, options);
}

/** An identity column and a generated one are in it, since a move must keep both. */
const columns = `id bigint generated always as identity, at timestamptz not null, body text,
  size int generated always as (length(body)) stored`;

/** Rows from January to March and a few in April, all in the default partition. */
export async function withDefault(db: Querier, rows: number, more = ''): Promise<void> {
  await db.query(`create table events (${columns}${more}) partition by range (at)`);
  await db.query('create table events_default partition of events default');
  await fill(db, rows, '2026-01-01', 100);
}

/** A partition for all before March, as a converted table has it, with one for March behind it. */
export async function withLegacy(db: Querier, rows: number): Promise<void> {
  await db.query(`create table events (${columns}, primary key (id, at)) partition by range (at)`);
  await db.query(
    "create table events_legacy partition of events for values from (minvalue) to ('2026-03-01')",
  );
  await db.query(
    "create table events_y2026m03 partition of events for values from ('2026-03-01') to ('2026-04-01')",
  );
  await fill(db, rows, '2025-12-01', 88);
}

async function fill(db: Querier, rows: number, start: string, days: number): Promise<void> {
  await db.query(
    `insert into events (at, body)
     select timestamptz '${start} 00:00+00' + (g * interval '1 day' * ${days} / ${rows}), 'row ' || g
       from generate_series(0, ${rows - 1}) as g`,
  );
  await db.query('analyze events');
}

/** A digest of all rows, whatever partition they are in. */
export async function digest(on: Querier): Promise<string> {
  const [row] = await on.query<{ digest: string }>(
    `select count(*) || ' ' || coalesce(md5(string_agg(e::text, '|' order by e.id)), '') as digest from events as e`,
  );
  return row!.digest;
}

/** Partitions with their bounds and rows, in order of their names. */
export async function partitions(on: Querier): Promise<{ name: string; bound: string; rows: number }[]> {
  const list = await on.query<{ name: string; bound: string }>(
    `select c.relname as name, pg_get_expr(c.relpartbound, c.oid) as bound
       from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
      where i.inhparent = 'events'::regclass order by c.relname`,
  );
  const result = [];
  for (const item of list) {
    const [count] = await on.query<{ rows: number }>(`select count(*)::int as rows from only ${item.name}`);
    result.push({ ...item, rows: count!.rows });
  }
  return result;
}
