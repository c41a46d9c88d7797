import type { ScheduledJob } from '../config/schedule.ts';
import { visible } from '../sql/quote.ts';

/** How dbops is run on a host, for schedulers that know nothing of a shell's environment. */
export interface HostFacts {
  /** The absolute path of Node, and of the program that it runs. */
  node: string;
  entry: string;
  /** Where pg_dump, psql and zstd are found. */
  path: string;
  /** Where its configuration is looked for. */
  cwd: string;
  user: string;
  /** In which the host's own cron reads times. */
  timezone: string;
  /** The absolute path of the one configuration file, where there is one. */
  config: string | undefined;
}

/** Words that run a job: the same on each scheduler. Pure. */
export function runWords(job: Pick<ScheduledJob, 'name'>, config: string | undefined): string[] {
  return ['schedule', 'run', job.name, '--quiet', ...(config === undefined ? [] : ['--config', config])];
}

/** What a job does, in a line for people. Pure. */
export function describeWork({ work }: Pick<ScheduledJob, 'work'>): string {
  return visible(work.kind === 'sql' ? work.sql.replaceAll(/\s+/g, ' ') : `dbops ${work.words.join(' ')}`);
}
