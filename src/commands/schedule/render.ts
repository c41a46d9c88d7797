import { Option } from 'commander';
import { DbopsError } from '../../errors.ts';
import { renderKubernetes } from '../../schedule/render/kubernetes.ts';
import { renderPgCron } from '../../schedule/render/pg-cron.ts';
import { renderSystemd } from '../../schedule/render/systemd.ts';
import { defineCommand, type CommandContext, type Result } from '../command.ts';
import {
  addCron,
  crontabOf,
  environmentWarnings,
  hostFacts,
  scheduledJobs,
  type CronOptions,
} from './shared.ts';

interface Options extends CronOptions {
  format: 'crontab' | 'systemd' | 'k8s' | 'pg_cron';
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
      new Option('--format <format>', 'for which scheduler')
        .choices(['crontab', 'systemd', 'k8s', 'pg_cron'])
        .default('crontab'),
    );
    addCron(cmd);
    cmd.option('--image <image>', 'of the container, for k8s', 'dbops:latest');
    cmd.option(
      '--database <name>',
      'in which pg_cron runs the statements; default that of the configuration',
    );
    cmd.option('--pg-cron-timezone <zone>', 'as cron.timezone of the server says', 'UTC');
  },
  run(context): Promise<Result> {
    return Promise.resolve(render(context));
  },
});

function render(context: CommandContext<Options>): Result {
  const { args, options } = context;
  const warnings = environmentWarnings(context);
  switch (options.format) {
    case 'crontab': {
      const text = crontabOf(context, args);
      return { data: { format: options.format, text }, text, warnings };
    }
    case 'systemd': {
      const files = renderSystemd(scheduledJobs(context, args), hostFacts(context));
      const text = files.map(({ path, content }) => `# ${path}\n${content}`).join('\n');
      return { data: { format: options.format, files }, text, warnings };
    }
    case 'k8s': {
      const text = renderKubernetes(scheduledJobs(context, args), options);
      return { data: { format: options.format, text }, text };
    }
    case 'pg_cron': {
      const zone = options.pgCronTimezone;
      const where = { database: databaseOf(context), zone, now: new Date() };
      const { text, impossible } = renderPgCron(scheduledJobs(context, args), where);
      return { data: { format: options.format, text, impossible }, text };
    }
  }
}

function databaseOf({ options, settings: { connection } }: CommandContext<Options>): string {
  const { url, database } = connection;
  const named =
    url !== undefined && URL.canParse(url) ? decodeURIComponent(new URL(url).pathname.slice(1)) : database;
  const found = options.database ?? named;
  if (found !== undefined && found !== '') return found;
  throw new DbopsError('usage', 'pg_cron has to be told in which database its jobs run', {
    hint: 'Give --database.',
  });
}
