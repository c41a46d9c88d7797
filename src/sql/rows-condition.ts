import type { Db } from '../pg/connection.ts';
import type { PlanNode } from './explain.ts';
import { relation, type RelationName } from './quote.ts';

/** What is explained may plan for this long; nothing of it is ever run. */
const planTimeoutMs = 10_000;

/**
 * Plans a statement without running it. With a parameter the server takes it for one statement whatever stands in it. Privilege: what the statement needs. Locks: those of planning, for an instant.
 */
async function explain(db: Db, text: string, values?: unknown[]): Promise<PlanNode> {
  const [row] = await db.query<{ 'QUERY PLAN': { Plan: PlanNode }[] }>({
    text: `explain (format json, verbose) ${text}`,
    ...(values === undefined ? {} : { values }),
    timeoutMs: planTimeoutMs,
  });
  const plan = row?.['QUERY PLAN'][0]?.Plan;
  if (plan === undefined) throw new Error('EXPLAIN came back without a plan');
  return plan;
}

/**
 * Whether an expression stands by itself. Within brackets a closing parenthesis that it did not open is a mistake, and
 * within parentheses a closing bracket: what passes both cannot break out of where it is put. Throws what the server
 * says of it. Privilege: SELECT on its columns.
 */
export async function checkExpression(db: Db, table: RelationName, expression: string): Promise<void> {
  await explain(db, `select array[${expression}\n] from ${relation(table)} as t where $1::int4 = 1`, [1]);
  await explain(db, `select (${expression}\n) from ${relation(table)} as t where $1::int4 = 1`, [1]);
}

/** How the rows that a condition chooses would be read: which tables, and how many rows the planner expects. */
export async function explainRows(db: Db, table: RelationName, condition: string): Promise<PlanNode> {
  return await explain(
    db,
    `select 1 from ${relation(table)} as t where (${condition}\n) and $1::int4 is not null`,
    [1],
  );
}

/** Plans a change of one table, made of checked expressions. Throws what would refuse it: a privilege, a type, a generated column. */
export async function explainChange(db: Db, statement: string): Promise<void> {
  await explain(db, statement);
}

/** Which of these names a volatile function has, anywhere: it would answer differently for each row or batch. */
export async function listVolatile(db: Db, names: string[]): Promise<string[]> {
  if (names.length === 0) return [];
  const rows = await db.query<{ name: string }>({
    text: `/* dbops:rows-condition.volatile */
      select distinct p.proname::text as name from pg_catalog.pg_proc as p
       where p.proname = any ($1::text[]) and p.provolatile = 'v' order by 1`,
    values: [names],
  });
  return rows.map((row) => row.name);
}

/** The moment that lies so far back, and how the column's type writes it. */
export interface CutoffRow {
  at: Date;
  /** For a literal of the column's type. */
  text: string;
}

/**
 * The moment before which rows are old. The calendar of the time zone decides what a month back is. For a type without a
 * zone it is the wall clock of that zone; for a date, its day. Privilege: none.
 */
export async function getCutoff(
  db: Db,
  now: Date,
  age: { months: number; seconds: number },
  timezone: string,
  type: 'timestamptz' | 'timestamp' | 'date',
): Promise<CutoffRow> {
  const wall = 'm.at at time zone $4';
  const text = {
    timestamptz: 'm.at::text',
    timestamp: `(${wall})::text`,
    date: `(${wall})::date::text`,
  }[type];
  const [row] = await db.query<CutoffRow>({
    text: `/* dbops:rows-condition.cutoff */
      select m.at, ${text} as text
        from (select (($1::timestamptz at time zone $4)
                       - pg_catalog.make_interval(months => $2, secs => 0)) at time zone $4
                     - pg_catalog.make_interval(secs => $3::float8) as at) as m`,
    values: [now.toISOString(), age.months, age.seconds, timezone],
  });
  if (row === undefined) throw new Error('the cutoff came back without a row');
  return row;
}
