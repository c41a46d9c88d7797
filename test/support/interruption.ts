// What the tests of interrupted runs share: a table to extend, a session in the way, and what has to be there at the end.
import { expect } from 'vitest';
import { openSession, type Querier, type Session } from './database.ts';
import { boundsOf, type TableEntry } from './ensure.ts';

/** A table with the partition of November 2026, and its entry in the configuration. */
export async function table(on: Querier, name: string, withDefault = false): Promise<TableEntry> {
  await on.query(`create table ${name} (id int, at date) partition by range (at)`);
  await on.query(
    `create table ${name}_old partition of ${name} for values from ('2026-11-01') to ('2026-12-01')`,
  );
  if (withDefault) await on.query(`create table ${name}_rest partition of ${name} default`);
  return { table: `public.${name}`, key: 'at', interval: 'month', premake: 2 };
}

/** A session that keeps an ensure from its attach until it is ended. */
export async function blocker(url: string, name: string): Promise<Session> {
  const session = await openSession(url);
  await session.begin();
  await session.query(`lock table only ${name} in share update exclusive mode`);
  return session;
}

/** The two months ahead are there, and nothing that an interrupted run left. */
export async function isComplete(
  on: Querier,
  name: string,
  partitions = [`${name}_y2026m12`, `${name}_y2027m01`],
): Promise<void> {
  expect((await boundsOf(on, name)).map(([partition]) => partition)).toEqual(
    expect.arrayContaining(partitions),
  );
  const leftOvers = await on.query(
    `select conname as name from pg_constraint where conname like 'dbops%'
     union all select c.relname from pg_class as c where obj_description(c.oid, 'pg_class') like 'dbops:creating%'`,
  );
  expect(leftOvers).toEqual([]);
}

/** Sessions of dbops in this database. */
export const ours = `select pid, state, query from pg_stat_activity
               where application_name like 'dbops partition%' and datname = current_database()`;
