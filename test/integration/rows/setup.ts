// What the tests of rows have in common: tables of an outbox, and runs of the command.
import type { Querier } from '../../support/database.ts';
import type { Workspace } from '../../support/workspace.ts';
import type { CliResult } from '../../support/cli.ts';

/** What every run of these tests sees as the present. */
export const now = '2026-11-21T12:00:00Z';

/** Runs "dbops rows ..." at that time. */
export function rows(workspace: Workspace, ...args: string[]): Promise<CliResult> {
  return workspace.run(['rows', ...args], { DBOPS_TEST_NOW: now });
}

/**
 * An outbox: one row an hour back from now, so that row 168 is seven days old; two of three are PUBLISHED, the others
 * FAILED.
 */
export async function outbox(db: Querier, count: number, name = 'event_outbox'): Promise<void> {
  await db.query(`create table ${name} (
    id bigint generated always as identity primary key, status text not null, payload jsonb not null,
    created_at timestamptz not null, published_at timestamptz)`);
  await db.query(
    `insert into ${name} (status, payload, created_at, published_at)
     select case when n % 3 = 0 then 'FAILED' else 'PUBLISHED' end, jsonb_build_object('n', n),
            timestamptz '${now}' - n * interval '1 hour',
            case when n % 3 > 0 then timestamptz '${now}' - n * interval '1 hour' end
       from generate_series(1, ${count}) as n`,
  );
  await db.query(`vacuum analyze ${name}`);
}

/** How many rows a table has, of those that fit a condition. */
export async function count(db: Querier, table: string, where = 'true'): Promise<number> {
  const [row] = await db.query<{ rows: number }>(`select count(*)::int as rows from ${table} where ${where}`);
  return row!.rows;
}
