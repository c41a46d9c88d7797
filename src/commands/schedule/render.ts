import { Option } from 'commander';
import { renderSchedule, scheduleFormats, type ScheduleFormat } from '../../schedule/render/render.ts';
import type { CronMake } from '../../schedule/render/crontab.ts';
import { defineCommand, type CommandContext, type Result } from '../command.ts';
import { addCron, hostFacts, scheduledJobs, shellWarnings } from './shared.ts';

interface Options {
  format: ScheduleFormat;
  cron: CronMake;
  image: string;
  database?: string;
  pgCronTimezone: string;
}

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    { command: 'dbops schedule render', about: 'the lines for a crontab' },
    { command: 'dbops schedule render --format systemd', about: 'a service and a timer for each job' },
    {
      command: 'dbops schedule render nightly --format k8s --image registry.local/dbops:0.1.0',
      about: 'one CronJob',
    },
    {
      command: 'dbops schedule render --format pg_cron --database factory',
      about: 'the jobs that are plain SQL',
    },
  ],
  notes:
    'Prints and changes nothing. All formats but pg_cron run "dbops schedule run <job>", which keeps runs apart, records\n' +
    'them and tells who is to be told. Files of systemd begin with their path.',
  declare(cmd) {
    cmd.argument('[job...]', 'names under "schedule:" in the configuration; all of them when none is named');
    cmd.addOption(
      new Option('--format <format>', 'for which scheduler').choices(scheduleFormats).default('crontab'),
    );
    addCron(cmd);
    cmd.option('--image <image>', 'of the container, for k8s', 'dbops:latest');
    cmd.option(
      '--database <name>',
      'in which pg_cron runs the statements; default that of the configuration',
    );
    cmd.option('--pg-cron-timezone <zone>', 'as cron.timezone of the server says', 'UTC');
  },
  async run(context): Promise<Result> {
    const { args, options } = context;
    const { format } = options;
    const told = { ...options, database: options.database ?? configuredDatabase(context), now: new Date() };
    const rendered = renderSchedule(format, scheduledJobs(context, args), hostFacts(context), told);
    const warnings =
      format === 'crontab' || format === 'systemd' ? await shellWarnings(context, format, options.cron) : [];
    return { data: rendered, text: rendered.text, warnings };
  },
});

function configuredDatabase({ settings: { connection } }: CommandContext<Options>): string | undefined {
  const { url, database } = connection;
  return url !== undefined && URL.canParse(url)
    ? decodeURIComponent(new URL(url).pathname.slice(1))
    : database;
}
