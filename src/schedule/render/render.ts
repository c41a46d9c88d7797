import { DbopsError } from '../../errors.ts';
import type { ScheduledJob } from '../../config/schedule.ts';
import { isTimeZone } from '../../config/schema-timezone.ts';
import type { HostFacts } from '../host.ts';
import { renderCrontab, type CronMake } from './crontab.ts';
import { renderKubernetes } from './kubernetes.ts';
import { renderPgCron, type PgCronJobs } from './pg-cron.ts';
import { renderSystemd, type UnitFile } from './systemd.ts';

export const scheduleFormats = ['crontab', 'systemd', 'k8s', 'pg_cron'] as const;
export type ScheduleFormat = (typeof scheduleFormats)[number];

/** What the schedulers have to be told beside the jobs. */
export interface RenderOptions {
  cron: CronMake;
  /** Of the container. */
  image: string;
  /** In which pg_cron runs the statements; undefined where nobody said it. */
  database: string | undefined;
  /** In which pg_cron works. */
  pgCronTimezone: string;
}

/** What a scheduler is given: a text, with the files or the leftovers that it consists of. */
export interface Rendered extends Partial<Pick<PgCronJobs, 'impossible'>> {
  format: ScheduleFormat;
  text: string;
  files?: UnitFile[];
}

/** Writes jobs for a scheduler. Throws usage for what it cannot be told, and refused where it cannot keep the times. Pure. */
export function renderSchedule(
  format: ScheduleFormat,
  jobs: ScheduledJob[],
  host: HostFacts,
  options: RenderOptions & { now: Date },
): Rendered {
  switch (format) {
    case 'crontab':
      return { format, text: renderCrontab(jobs, host, options.cron, options.now) };
    case 'systemd': {
      const files = renderSystemd(jobs, host);
      return { format, text: files.map(({ path, content }) => `# ${path}\n${content}`).join('\n'), files };
    }
    case 'k8s':
      if (!/^\S+$/.test(options.image))
        throw new DbopsError('usage', `--image is the name of an image, not "${options.image}"`, {
          hint: 'Write it as registry.example.com/dbops:0.1.0.',
        });
      return { format, text: renderKubernetes(jobs, options) };
    case 'pg_cron':
      return { format, ...forPgCron(jobs, options) };
  }
}

function forPgCron(
  jobs: ScheduledJob[],
  { database, pgCronTimezone: zone, now }: RenderOptions & { now: Date },
): PgCronJobs {
  if (!isTimeZone(zone))
    throw new DbopsError(
      'usage',
      `--pg-cron-timezone is the name of a time zone, not ${JSON.stringify(zone)}`,
      {
        hint: 'Write it as "show cron.timezone" prints it, such as Asia/Seoul or UTC.',
      },
    );
  if (database === undefined || database === '')
    throw new DbopsError('usage', 'pg_cron has to be told in which database its jobs run', {
      hint: 'Give --database.',
    });
  return renderPgCron(jobs, { database, zone, now });
}
