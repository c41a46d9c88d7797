import { configuredRequests } from '../../rows/jobs.ts';
import { defineCommand, type Result } from '../command.ts';
import { addDryRun, addWait } from '../options.ts';
import { addLimits, limitsOf, runRequests, type LimitOptions } from './shared.ts';

export const command = defineCommand<LimitOptions>({
  changes: true,
  examples: [
    { command: 'dbops rows run', about: 'all jobs of the configuration, one after the other, for cron' },
    {
      command: 'dbops rows run outbox-published outbox-failed --until 05:00',
      about: 'two of them, until five',
    },
    { command: 'dbops rows run --dry-run', about: 'what each would do' },
  ],
  notes:
    'Never asks: the configuration decided. A job that was stopped goes on; one that cannot run does not stop the others.',
  declare(cmd) {
    cmd.argument(
      '[job...]',
      'names under "rows: jobs:" in the configuration; all of them when none is named',
    );
    addLimits(cmd);
    addWait(cmd);
    addDryRun(cmd);
  },
  async run(context): Promise<Result> {
    const requests = configuredRequests(context, context.args).map((request) => ({
      ...request,
      limits: limitsOf(request.limits, context.options),
    }));
    return await runRequests(context, 'rows run', requests);
  },
});
