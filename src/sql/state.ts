import type { Db } from '../pg/connection.ts';
import { ident } from './quote.ts';

/**
 * The statements that make the state schema, one list a version; a list is never changed once it was released. `$schema`
 * stands for the schema's quoted name.
 */
const migrations: readonly (readonly string[])[] = [
  [
    'create schema if not exists $schema',
    "comment on schema $schema is 'dbops: run history, ledger of detached partitions, cursors of resumable jobs'",
    'create table $schema.meta (version int4 not null)',
    'insert into $schema.meta (version) values (0)',
    `create table $schema.run (
       id int8 generated always as identity primary key,
       command text not null,
       target text,
       plan jsonb,
       outcome text not null check (outcome in ('running', 'done', 'nothing to do', 'partly done', 'failed', 'interrupted')),
       message text,
       changes int4 not null default 0,
       started_at timestamptz not null default pg_catalog.clock_timestamp(),
       duration_ms float8,
       host text not null,
       os_user text not null,
       database_user name not null default current_user,
       backend_pid int4 not null default pg_catalog.pg_backend_pid(),
       version text not null)`,
    'create index run_command_started_at_idx on $schema.run (command, started_at desc)',
    `create table $schema.partition_ledger (
       id int8 generated always as identity primary key,
       parent text not null,
       partition_schema name not null,
       partition_name name not null,
       partition_oid oid not null,
       bounds text not null,
       state text not null check (state in ('detaching', 'detached', 'attached again', 'dropped')),
       reason text not null,
       policy text not null,
       drop_after timestamptz,
       archive_id text,
       detached_at timestamptz,
       changed_at timestamptz not null default pg_catalog.clock_timestamp(),
       run_id int8)`,
    'create index partition_ledger_partition_oid_idx on $schema.partition_ledger (partition_oid)',
    `create table $schema.job (
       name text primary key,
       spec jsonb not null,
       cursor jsonb,
       state text not null,
       changed_at timestamptz not null default pg_catalog.clock_timestamp())`,
  ],
  [
    `create table $schema.archive (
       id text primary key,
       table_schema name not null,
       table_name name not null,
       partition_schema name not null,
       partition_name name not null,
       partition_oid oid not null,
       bounds text not null,
       upper_bound text,
       place text not null,
       stores text[] not null,
       state text not null check (state in ('exporting', 'verified', 'proven', 'superseded', 'failed', 'expired')),
       row_count int8,
       stored_bytes int8,
       baseline_xmin text,
       hold text,
       message text,
       created_at timestamptz not null default pg_catalog.clock_timestamp(),
       verified_at timestamptz,
       changed_at timestamptz not null default pg_catalog.clock_timestamp())`,
    'create index archive_partition_oid_idx on $schema.archive (partition_oid)',
  ],
  [
    `create table $schema.backup (
       id text primary key,
       kind text not null,
       database text,
       place text not null,
       stores text[] not null,
       state text not null check (state in ('running', 'done', 'failed', 'removed')),
       parent text,
       tables text[],
       moment timestamptz,
       needs text,
       reason text,
       stored_bytes int8,
       source_bytes int8,
       message text,
       hold text,
       started_at timestamptz not null,
       finished_at timestamptz,
       verified_at timestamptz,
       drilled_at timestamptz,
       drill_passed bool,
       changed_at timestamptz not null default pg_catalog.clock_timestamp())`,
    'create index backup_kind_started_at_idx on $schema.backup (kind, started_at desc)',
    // A drill writes a mark before and one after its recovery target, and looks for them in what it recovered.
    `create table $schema.drill_mark (
       drill text not null,
       is_after bool not null,
       at timestamptz not null default pg_catalog.clock_timestamp(),
       primary key (drill, is_after))`,
  ],
  [
    // One a day: what is recorded again on the same day replaces it.
    `create table $schema.sample (
       kind text not null check (kind in ('database', 'table', 'disk', 'sequence', 'xid')),
       object text not null,
       day date not null,
       value int8 not null,
       bound int8,
       taken_at timestamptz not null,
       primary key (kind, object, day))`,
  ],
  [
    // What is sampled grows with dbops; which kinds there are, the code knows.
    'alter table $schema.sample drop constraint sample_kind_check',
  ],
];

/** The version that this dbops writes. */
export const stateVersion = migrations.length;

/**
 * The version of the state schema in the database; 0 when there is none. Privilege: USAGE on the schema, SELECT on meta.
 * Locks: ACCESS SHARE on meta.
 */
export async function findStateVersion(db: Db, schema: string): Promise<number> {
  const [there] = await db.query<{ found: boolean }>({
    text: '/* dbops:state.found */ select pg_catalog.to_regclass($1) is not null as found',
    values: [`${ident(schema)}.meta`],
  });
  if (there?.found !== true) return 0;
  const [row] = await db.query<{ version: number }>({
    text: `/* dbops:state.version */ select m.version from ${ident(schema)}.meta as m`,
  });
  return row?.version ?? 0;
}

/** The statements that bring the state schema from one version to the newest. */
export function migrationStatements(schema: string, from: number): string[] {
  const quoted = ident(schema);
  return migrations
    .slice(from)
    .flatMap((list, index) => [
      ...list.map((sql) => sql.replaceAll('$schema', () => quoted)),
      `update ${quoted}.meta set version = ${String(from + index + 1)}`,
    ]);
}

export interface RunRow {
  id: bigint;
  command: string;
  target: string | null;
  plan: unknown;
  outcome: string;
  message: string | null;
  changes: number;
  startedAt: Date;
  durationMs: number | null;
  host: string;
  osUser: string;
  databaseUser: string;
  version: string;
}

export interface NewRun {
  command: string;
  target: string | null;
  plan: unknown;
  outcome: string;
  message: string | null;
  changes: number;
  durationMs: number | null;
  host: string;
  osUser: string;
  version: string;
}

/**
 * Writes a run, without waiting for the disk: a crash of the server may lose the last moment of history, and a run with
 * nothing to do must not cost a flush. No row comes back when the state schema is older than this dbops. Privilege: INSERT. */
export async function insertRun(db: Db, schema: string, run: NewRun): Promise<bigint | undefined> {
  const [row] = await db.query<{ id: bigint }>({
    text: `/* dbops:state.insert-run */
      insert into ${ident(schema)}.run
             (command, target, plan, outcome, message, changes, started_at, duration_ms, host, os_user, version)
      select $1, $2, $3::jsonb, $4, $5, $6,
             pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => coalesce($7::float8, 0) / 1000),
             $7, $8, $9, $10
        from ${ident(schema)}.meta as m
       cross join (select pg_catalog.set_config('synchronous_commit', 'off', true)) as quick
       where m.version >= ${String(stateVersion)}
      returning id`,
    values: [
      run.command,
      run.target,
      run.plan === null ? null : JSON.stringify(run.plan),
      run.outcome,
      run.message,
      run.changes,
      run.durationMs,
      run.host,
      run.osUser,
      run.version,
    ],
  });
  return row?.id;
}

/** Writes how a run ended. */
export async function finishRun(
  db: Db,
  schema: string,
  id: bigint,
  end: { outcome: string; message: string | null; changes: number; durationMs: number },
): Promise<void> {
  await db.query({
    text: `/* dbops:state.finish-run */
      update ${ident(schema)}.run set outcome = $2, message = $3, changes = $4, duration_ms = $5 where id = $1`,
    values: [id, end.outcome, end.message, end.changes, end.durationMs],
  });
}

/** Runs that say "running" though their session is gone were killed: says so. */
export async function markInterruptedRuns(db: Db, schema: string): Promise<void> {
  await db.query({
    text: `/* dbops:state.mark-interrupted */
      update ${ident(schema)}.run as r
         set outcome = 'interrupted', message = 'the process ended without a word'
       where r.outcome = 'running' and r.backend_pid <> pg_catalog.pg_backend_pid()
         and not exists (select from pg_catalog.pg_stat_activity as a
                          where a.pid = r.backend_pid and a.backend_start <= r.started_at)`,
  });
}

/** The newest runs, newest first. `command` filters by its beginning. Privilege: SELECT. */
export async function listRuns(
  db: Db,
  schema: string,
  limit: number,
  command: string | null,
): Promise<RunRow[]> {
  return await db.query<RunRow>({
    text: `/* dbops:state.list-runs */
      select r.id, r.command, r.target, r.plan, r.outcome, r.message, r.changes, r.started_at as "startedAt",
             r.duration_ms as "durationMs", r.host, r.os_user as "osUser", r.database_user as "databaseUser", r.version
        from ${ident(schema)}.run as r
       where $2::text is null or pg_catalog.starts_with(r.command, $2)
       order by r.started_at desc, r.id desc
       limit $1`,
    values: [limit, command],
  });
}

/** When a command last ended well for all tables; null when it never did. */
export async function findLastSuccess(db: Db, schema: string, command: string): Promise<Date | null> {
  const [row] = await db.query<{ at: Date | null }>({
    text: `/* dbops:state.last-success */
      select pg_catalog.max(r.started_at) as at from ${ident(schema)}.run as r
       where r.command = $1 and r.target is null and r.outcome in ('done', 'nothing to do')`,
    values: [command],
  });
  return row?.at ?? null;
}
