import { resumeRequest } from '../../rows/jobs.ts';
import { defineCommand, type Result } from '../command.ts';
import { addDryRun, addWait, addYes } from '../options.ts';
import { addLimits, limitsOf, runRequests, type LimitOptions } from './shared.ts';

export const command = defineCommand<LimitOptions>({
  changes: true,
  examples: [
    { command: 'dbops rows resume outbox-cleanup', about: 'go on from its cursor; asks' },
    { command: 'dbops rows resume outbox-cleanup --max-time 1h --yes', about: 'for an hour at most' },
  ],
  notes:
    'The moment that was frozen when the job began stays: rows that have become old since then are left alone.',
  declare(cmd) {
    cmd.argument('<job>', 'as "dbops rows jobs" shows it');
    addLimits(cmd);
    addWait(cmd);
    addYes(cmd);
    addDryRun(cmd);
  },
  async run(context): Promise<Result> {
    const { args, settings, options } = context;
    const name = args[0] ?? '';
    const configured = settings.rows.jobs.find((job) => job.name === name);
    const limits = limitsOf(configured?.limits ?? settings.rows.limits, options);
    const request = await resumeRequest({ db: await context.connect(), settings }, name, limits);
    return await runRequests(context, 'rows resume', [request]);
  },
});
