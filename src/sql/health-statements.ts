import type { Query } from '../pg/connection.ts';
import { ident } from './quote.ts';

export interface SlowStatementRow {
  queryId: string;
  role: string;
  calls: number;
  meanSeconds: number;
  maxSeconds: number;
  totalSeconds: number;
  /** Of the time of all statements of this database, in percent. */
  share: number;
  /** On one line, the first 300 characters; null where it may not be read. */
  text: string | null;
}

export interface StatementsRow {
  /** Statements of this database that are counted. */
  counted: number;
  countedSince: Date;
  /** How often the least used were dropped to make room: then the figures are of some, not of all. */
  evictions: number;
  slow: SlowStatementRow[];
}

/**
 * Statements of this database that take `least` seconds on average over at least `calls` calls; of those the `limit` with
 * the largest time in all. The file of texts is read only when there are any. `schema` is that of the extension, whose
 * version is 1.9 or later (PostgreSQL 14). Fails where the library is not loaded. Privilege: pg_read_all_stats, without
 * which the statements of others have no text. Locks: none.
 */
export function slowStatements(
  schema: string,
  bounds: { least: number; calls: number; limit: number },
): Query {
  const from = ident(schema);
  return {
    text: `/* dbops:health.statements */
      with counted as materialized (
             select s.userid, s.queryid, s.toplevel, s.calls, s.mean_exec_time, s.max_exec_time, s.total_exec_time
               from ${from}.pg_stat_statements(false) as s
              where s.dbid = (select d.oid from pg_catalog.pg_database as d
                               where d.datname = pg_catalog.current_database())),
           slow as materialized (
             select c.userid, c.queryid, c.toplevel, c.calls, c.mean_exec_time, c.max_exec_time, c.total_exec_time
               from counted as c
              where c.mean_exec_time >= $1::float8 * 1000 and c.calls >= $2::int4
              order by c.total_exec_time desc
              limit $3::int4),
           texts as materialized (
             select s.userid, s.queryid, s.toplevel, s.query from ${from}.pg_stat_statements(true) as s
              where exists (select from slow)
                and s.dbid = (select d.oid from pg_catalog.pg_database as d
                               where d.datname = pg_catalog.current_database()))
      select (select pg_catalog.count(*) from counted)::float8 as counted,
             i.stats_reset as "countedSince", i.dealloc::float8 as evictions,
             coalesce((select pg_catalog.json_agg(pg_catalog.json_build_object(
                                'queryId', w.queryid::text, 'role', pg_catalog.pg_get_userbyid(w.userid),
                                'calls', w.calls, 'meanSeconds', w.mean_exec_time / 1000,
                                'maxSeconds', w.max_exec_time / 1000, 'totalSeconds', w.total_exec_time / 1000,
                                'share', 100 * w.total_exec_time
                                         / (select pg_catalog.sum(c.total_exec_time) from counted as c),
                                'text', (select pg_catalog.left(pg_catalog.regexp_replace(t.query, '\\s+', ' ', 'g'), 300)
                                           from texts as t
                                          where t.queryid = w.queryid and t.userid = w.userid
                                            and t.toplevel = w.toplevel
                                          limit 1))
                                order by w.total_exec_time desc)
                         from slow as w), '[]') as slow
        from ${from}.pg_stat_statements_info as i`,
    values: [bounds.least, bounds.calls, bounds.limit],
  };
}
