import { applyCrontab, planCrontab } from '../../schedule/install.ts';
import { withBlock } from '../../schedule/render/crontab.ts';
import { defineCommand, type Result } from '../command.ts';
import { addCron, crontabOf, shellWarnings, type CronOptions } from './shared.ts';

export const command = defineCommand<CronOptions>({
  changes: false,
  examples: [
    { command: 'dbops schedule install --dry-run', about: 'the lines that would come and go' },
    { command: 'dbops schedule install --cron cronie --dry-run', about: 'where cron obeys CRON_TZ' },
  ],
  notes:
    "Writes the crontab of this user: the lines between the markers of dbops, and nobody else's. A crontab that somebody\n" +
    'edits meanwhile is left alone, with exit 4. Running it again brings the lines up to date.',
  declare(cmd) {
    addCron(cmd);
    cmd.option('--dry-run', 'show the lines that would come and go, and change nothing');
  },
  async run(context): Promise<Result> {
    const { options, signal } = context;
    const block = crontabOf(context, []);
    const change = await planCrontab((crontab) => withBlock(crontab, block), signal);
    if (options.dryRun !== true) await applyCrontab(change, signal);
    const { difference } = change;
    const done = options.dryRun === true ? 'nothing was changed' : 'the crontab is written';
    return {
      data: { dryRun: options.dryRun === true, difference },
      text:
        difference.length === 0 ? 'the crontab has these lines already' : [...difference, done].join('\n'),
      warnings: await shellWarnings(context, 'crontab', options.cron),
    };
  },
});
