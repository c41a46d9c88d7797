import type { Db } from '../pg/connection.ts';
import { ident, literal } from './quote.ts';

/** A node of EXPLAIN's JSON; only what is looked at. */
export interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  Schema?: string;
  'Subplans Removed'?: number;
  Plans?: PlanNode[];
  [property: string]: unknown;
}

export interface Explained {
  plan: PlanNode;
  /** Types of the parameters, as the server understood them. */
  parameterTypes: string[];
  /** Those of the tables asked about that the statement reads. */
  tables: number[];
}

/** The search_path that this session would have, had dbops not emptied it. Privilege: none. */
export async function getDefaultSearchPath(db: Db): Promise<string> {
  const [row] = await db.query<{ path: string }>({
    text: "/* dbops:explain.search-path */ select s.reset_val as path from pg_catalog.pg_settings as s where s.name = 'search_path'",
  });
  return row?.path ?? '';
}

/**
 * Plans a statement and never runs it: EXPLAIN without ANALYZE, in a read-only transaction with short timeouts. It is
 * prepared, so that parameters need no values, and its generic plan is shown for NULLs: the executor then says how many
 * subplans it left out at its start, which EXPLAIN (GENERIC_PLAN) of 16 and later does not. Which tables are read is seen
 * from the locks that planning took. Privilege: what the statement needs. Locks: those of planning, until the rollback.
 */
export async function explainStatement(
  db: Db,
  sql: string,
  searchPath: string,
  tables: number[],
): Promise<Explained> {
  const name = ident('dbops_prune_check');
  await db.execute('set default_transaction_read_only = on');
  try {
    return await db.transaction(async () => {
      await db.execute(
        "set local lock_timeout = '500ms'; set local statement_timeout = '5s'; " +
          'set local plan_cache_mode = force_generic_plan; set local standard_conforming_strings = on; ' +
          `set local search_path = ${searchPath === '' ? "''" : searchPath}`,
      );
      await db.execute(`prepare ${name} as\n${sql}`);
      const [prepared] = await db.query<{ types: string[] }>({
        text: `/* dbops:explain.parameters */
          select p.parameter_types::text[] as types from pg_catalog.pg_prepared_statements as p where p.name = $1`,
        values: ['dbops_prune_check'],
      });
      const types = prepared?.types ?? [];
      const values = types.length === 0 ? '' : ` (${types.map(() => 'null').join(', ')})`;
      const [row] = await db.query<{ 'QUERY PLAN': { Plan: PlanNode }[] }>({
        text: `explain (format json, verbose) execute ${name}${values}`,
      });
      const plan = row?.['QUERY PLAN'][0]?.Plan;
      if (plan === undefined) throw new Error('EXPLAIN came back without a plan');
      const locked = await db.query<{ oid: number }>({
        text: `/* dbops:explain.tables */
          select distinct l.relation::int8::float8 as oid from pg_catalog.pg_locks as l
           where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.relation = any ($1::oid[])`,
        values: [tables],
      });
      return { plan, parameterTypes: types, tables: locked.map((item) => item.oid) };
    }, 'repeatable read, read only');
  } finally {
    await db.execute('deallocate all; reset default_transaction_read_only').catch(() => undefined);
  }
}

/** A statement that pg_stat_statements has seen. */
export interface TopStatementRow {
  sql: string;
  calls: number;
  totalMs: number;
}

/** Where pg_stat_statements is installed; undefined when it is not in this database. Privilege: none. */
export async function findStatStatements(db: Db): Promise<string | undefined> {
  const [row] = await db.query<{ schema: string }>({
    text: `/* dbops:explain.find-stat-statements */
      select n.nspname as schema from pg_catalog.pg_extension as e
        join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
       where e.extname = 'pg_stat_statements'`,
  });
  return row?.schema;
}

/**
 * The statements of this database that took most time and name one of the tables. Leaves out what names none of them in
 * its own text (through views), and our own. Privilege: pg_read_all_stats to see those of other users. Throws SQLSTATE
 * 55000 where the library is not loaded.
 */
export async function listTopStatements(
  db: Db,
  schema: string,
  tables: string[],
  limit: number,
): Promise<TopStatementRow[]> {
  return await db.query<TopStatementRow>({
    text: `/* dbops:explain.top-statements */
      select s.query as sql, pg_catalog.sum(s.calls)::float8 as calls,
             pg_catalog.sum(s.total_exec_time)::float8 as "totalMs"
        from ${ident(schema)}.pg_stat_statements as s
       where s.dbid = (select d.oid from pg_catalog.pg_database as d
                        where d.datname = pg_catalog.current_database())
         and s.query ~* ${literal('^[[:space:](]*(/[*].*?[*]/)?[[:space:](]*(select|with|update|delete)\\y')}
         and s.query not like '/* dbops:%'
         and exists (select from pg_catalog.unnest($1::text[]) as t(name)
                      where pg_catalog.strpos(pg_catalog.lower(s.query), pg_catalog.lower(t.name)) > 0)
       group by s.query
       order by "totalMs" desc
       limit $2`,
    values: [tables, limit],
  });
}
