import { splitTable } from '../../config/table-name.ts';
import type { ScheduledJob } from '../../config/schedule.ts';
import { relation } from '../../sql/quote.ts';
import { scheduleInDatabase } from '../../sql/schedule.ts';
import { convertZone } from './convert-zone.ts';

/** What pg_cron can do of the jobs, as a script, and why not the others. */
export interface PgCronJobs {
  text: string;
  impossible: { job: string; why: string }[];
}

/** One statement a job, for the database of pg_cron; its times are of `cron.timezone`, GMT where it is not set. Pure. */
export function renderPgCron(
  jobs: ScheduledJob[],
  { database, zone, now }: { database: string; zone: string; now: Date },
): PgCronJobs {
  const impossible: PgCronJobs['impossible'] = [];
  const lines = [
    '-- For the database that pg_cron is in (cron.database_name); pg_cron 1.4 or later.',
    `-- Times are of cron.timezone = ${zone}. These jobs leave no trace in the history of dbops: see cron.job_run_details.`,
  ];
  for (const job of jobs) {
    const sql = sqlOf(job);
    const converted = convertZone(job, zone, now);
    if (sql === undefined)
      impossible.push({ job: job.name, why: 'pg_cron runs SQL only, and this is a program of dbops' });
    else if ('problem' in converted) impossible.push({ job: job.name, why: converted.problem });
    else lines.push(scheduleInDatabase(`dbops-${job.name}`, converted.cron, sql, database));
  }
  const others = impossible.map(({ job, why }) => `-- not possible here: ${job}: ${why}`);
  return { text: [...lines, ...others, ''].join('\n'), impossible };
}

/** The one statement of a job: its own, or that of the maintenance of one table. */
function sqlOf({ work }: ScheduledJob): string | undefined {
  if (work.kind === 'sql') return work.sql;
  const [noun, verb = '', flag, name = '', ...others] = work.words;
  if (noun !== 'maintenance' || flag !== '--table' || name === '' || others.length > 0) return undefined;
  const table = relation(splitTable(name));
  return { vacuum: `vacuum (analyze) ${table}`, analyze: `analyze ${table}` }[verb];
}
