import { hostname } from 'node:os';
import { writeStderr } from '../../output/log.ts';
import { describeWork } from '../../schedule/host.ts';
import { runScheduled } from '../../schedule/run.ts';
import { defineCommand, type CommandContext, type Result } from '../command.ts';
import { addDryRun, addWait } from '../options.ts';
import { scheduledJobs } from './shared.ts';

export const command = defineCommand({
  changes: true,
  worksOnStandby: () => true,
  examples: [
    { command: 'dbops schedule run nightly', about: 'as cron runs it' },
    { command: 'dbops schedule run nightly --dry-run', about: 'what would be run' },
  ],
  notes:
    'The exit code is that of the job. A run that is under way elsewhere is not joined: exit 4. At its time limit a job is\n' +
    'asked to end, and killed 10 s later. A notification that fails is a warning and changes nothing.',
  declare(cmd) {
    cmd.argument('<job>', 'a name under "schedule:" in the configuration');
    addWait(cmd);
    addDryRun(cmd);
  },
  async run(context): Promise<Result> {
    const { args, options, log, signal } = context;
    const [job] = scheduledJobs(context, args.slice(0, 1));
    if (job === undefined) throw new Error('a job that was named is not there');
    if (options.dryRun === true) return { data: { dryRun: true, job: job.name }, text: describeWork(job) };
    const result = await runScheduled(
      {
        open: () => context.job(job.name),
        log,
        signal,
        host: hostname(),
        ...handedOn(context),
        stdout: options.json === true ? 'stderr' : 'inherit',
        onStderr: writeStderr,
      },
      job,
    );
    const { exitCode, outcome, message } = result;
    return { data: result, text: '', exitCode, recorded: { outcome, message } };
  },
});

/** The job reads the configuration and the database that this run reads; a URL goes by the environment, not by argv. */
function handedOn({ options }: CommandContext<unknown>) {
  return {
    args: options.config === undefined ? [] : ['--config', options.config],
    env: options.url === undefined ? {} : { DBOPS_URL: options.url },
  };
}
