import type { Db } from '../pg/connection.ts';
import { ident, literal } from './quote.ts';

/** The runs of one scheduled job, as the history has them. */
export interface ScheduledRunsRow {
  name: string;
  firstAt: Date;
  lastAt: Date;
  lastOutcome: string;
  lastMessage: string | null;
  /** When the last run that ended well had begun. */
  succeededAt: Date | null;
}

/**
 * First and last run of each scheduled job, and the last that ended well; jobs that never ran are left out. PostgreSQL 14
 * and later. Privilege: USAGE on the state schema, SELECT on its table run. Locks: ACCESS SHARE on that table.
 */
export async function listScheduledRuns(
  db: Db,
  schema: string,
  names: string[],
  timeoutMs: number,
): Promise<ScheduledRunsRow[]> {
  return await db.query<ScheduledRunsRow>({
    text: `/* dbops:schedule.runs */
      select n.name, first.started_at as "firstAt", last.started_at as "lastAt", last.outcome as "lastOutcome",
             last.message as "lastMessage", success.started_at as "succeededAt"
        from pg_catalog.unnest($1::text[]) as n(name)
       cross join lateral (select r.started_at, r.outcome, r.message from ${ident(schema)}.run as r
                            where r.command = 'schedule run' and r.target = n.name
                            order by r.started_at desc, r.id desc limit 1) as last
       cross join lateral (select r.started_at from ${ident(schema)}.run as r
                            where r.command = 'schedule run' and r.target = n.name
                            order by r.started_at limit 1) as first
        left join lateral (select r.started_at from ${ident(schema)}.run as r
                            where r.command = 'schedule run' and r.target = n.name
                              and r.outcome in ('done', 'nothing to do')
                            order by r.started_at desc limit 1) as success on true`,
    values: [names],
    timeoutMs,
  });
}

/**
 * A job of pg_cron. A job of that name is replaced. pg_cron 1.4 and later. Privilege: EXECUTE on cron.schedule_in_database,
 * in the database of the extension. Locks: ROW EXCLUSIVE on cron.job.
 */
export function scheduleInDatabase(name: string, cron: string, sql: string, database: string): string {
  return `select cron.schedule_in_database(${[name, cron, sql, database].map(literal).join(', ')});`;
}
