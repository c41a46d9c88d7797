// What the tests of `partition convert` share: a table with everything on it, and a run of the command.
import { runDbops, type CliOptions, type CliResult } from './cli.ts';
import type { Querier, TestDatabase } from './database.ts';

/** Runs `partition convert`; --yes unless the arguments say that nothing is to be changed. */
export async function convert(
  db: Pick<TestDatabase, 'url'>,
  args: string[],
  options: CliOptions = {},
): Promise<CliResult> {
  const reading = args.includes('--check') || args.includes('--dry-run');
  return runDbops(['partition', 'convert', ...args, ...(reading ? [] : ['--yes'])], {
    ...options,
    env: { DATABASE_URL: db.url, ...options.env },
  });
}

export const byMonth = ['--key', 'created_at', '--interval', 'month'];

/** A table with an identity, indexes, a view and a trigger, and some rows of the last months. */
export async function createEvents(db: Querier, name = 'public.events', rows = 2000): Promise<void> {
  await db.query(
    `create table ${name} (
       id bigint generated always as identity primary key,
       tenant int not null default 1 check (tenant > 0),
       payload text collate "C",
       created_at timestamptz default now() not null)`,
  );
  await db.query(
    `insert into ${name} (tenant, payload, created_at)
     select i % 7 + 1, 'row ' || i, now() - i * interval '1 hour' from generate_series(1, $1::int) as i`,
    [rows],
  );
}

/** One value of one row. */
export async function one<T>(db: Querier, text: string, values: unknown[] = []): Promise<T> {
  const [row] = await db.query<Record<string, T>>(text, values);
  return Object.values(row ?? {})[0] as T;
}
