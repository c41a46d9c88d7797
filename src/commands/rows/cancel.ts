import { humanCount } from '../../output/human.ts';
import { past } from '../../rows/job.ts';
import { cancelJob, getBegun } from '../../rows/jobs.ts';
import { visible } from '../../sql/quote.ts';
import { defineCommand, type Result } from '../command.ts';
import { addDryRun, addWait, addYes } from '../options.ts';

export const command = defineCommand({
  changes: true,
  examples: [{ command: 'dbops rows cancel outbox-cleanup', about: 'forget its cursor; asks' }],
  notes:
    'What is done stays done. A job that is running has to be ended first, by Ctrl-C or a signal to its process.',
  declare(cmd) {
    cmd.argument('<job>', 'as "dbops rows jobs" shows it');
    addWait(cmd);
    addYes(cmd);
    addDryRun(cmd);
  },
  async run({ args, options, job, dryRun }): Promise<Result> {
    const name = args[0] ?? '';
    const context = await job(name);
    if (options.dryRun === true) {
      const { cursor } = await getBegun(context, name);
      return dryRun([], `rows cancel: ${visible(name)}, ${humanCount(cursor.changed)} rows done`);
    }
    const { spec, cursor } = await cancelJob(context, name);
    const done = `${humanCount(cursor.changed)} rows were ${past[spec.definition.verb]} before`;
    return { data: { job: name, rows: cursor.changed }, text: `the job ${visible(name)} is ended; ${done}` };
  },
});
