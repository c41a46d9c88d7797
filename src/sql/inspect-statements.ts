import type { Db } from '../pg/connection.ts';
import { askQuickly } from './quick.ts';
import { ident } from './quote.ts';

/** A statement with what it cost since its counters were reset. */
export interface StatementRow {
  /** Null where the statement of another role may not be seen. */
  queryId: string | null;
  user: string;
  database: string;
  calls: number;
  totalMs: number;
  meanMs: number;
  maxMs: number;
  rows: number;
  /** Of the blocks that it read, those found in shared buffers; null when it read none. */
  hitPercent: number | null;
  tempBlocks: number;
  /** Of the time of all statements. */
  sharePercent: number;
  isHidden: boolean;
  query: string;
}

/** What statements can be sorted by, with the column for it. */
export const statementOrders = {
  total: 'total_exec_time',
  mean: 'mean_exec_time',
  max: 'max_exec_time',
  calls: 'calls',
} as const;
export type StatementOrder = keyof typeof statementOrders;

/**
 * The costliest statements of all databases by pg_stat_statements, which is in `schema`. One read of its file of texts,
 * which can be large. Extension 1.9 and later (PostgreSQL 14). Privilege: pg_read_all_stats for the texts of other
 * roles. Locks: ACCESS SHARE on the view.
 */
export async function listStatements(
  db: Db,
  schema: string,
  order: StatementOrder,
  limit: number,
): Promise<StatementRow[]> {
  return await askQuickly<StatementRow>(db, {
    text: `/* dbops:inspect.statements */
      select s.queryid::text as "queryId", coalesce(r.rolname::text, s.userid::text) as "user",
             coalesce(d.datname::text, s.dbid::text) as database, s.calls::float8 as calls,
             s.total_exec_time as "totalMs", s.mean_exec_time as "meanMs", s.max_exec_time as "maxMs",
             s.rows::float8 as rows,
             100.0 * s.shared_blks_hit / nullif(s.shared_blks_hit + s.shared_blks_read, 0)::float8 as "hitPercent",
             (s.temp_blks_read + s.temp_blks_written)::float8 as "tempBlocks",
             coalesce(100 * s.total_exec_time / nullif(s.whole, 0), 0) as "sharePercent",
             s.queryid is null as "isHidden", pg_catalog.left(s.query, 2000) as query
        from (select p.queryid, p.userid, p.dbid, p.calls, p.total_exec_time, p.mean_exec_time, p.max_exec_time, p.rows,
                     p.shared_blks_hit, p.shared_blks_read, p.temp_blks_read, p.temp_blks_written, p.query,
                     pg_catalog.sum(p.total_exec_time) over () as whole
                from ${ident(schema)}.pg_stat_statements as p) as s
        left join pg_catalog.pg_roles as r on r.oid = s.userid
        left join pg_catalog.pg_database as d on d.oid = s.dbid
       order by s.${statementOrders[order]} desc, s.queryid
       limit $1`,
    values: [limit],
  });
}

/** Since when pg_stat_statements counts, and how often it dropped what was rare. */
export interface StatementsInfoRow {
  resetAt: Date;
  evictions: number;
}

/** Extension 1.9 and later. Privilege: none. Locks: ACCESS SHARE on the view. */
export async function findStatementsInfo(db: Db, schema: string): Promise<StatementsInfoRow | undefined> {
  const [row] = await askQuickly<StatementsInfoRow>(db, {
    text: `/* dbops:inspect.statements-info */
      select i.stats_reset as "resetAt", i.dealloc::float8 as evictions
        from ${ident(schema)}.pg_stat_statements_info as i`,
  });
  return row;
}
