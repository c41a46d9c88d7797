import { applyCrontab, planCrontab } from '../../schedule/install.ts';
import { withoutBlock } from '../../schedule/render/crontab.ts';
import { defineCommand, type Result } from '../command.ts';

export const command = defineCommand({
  changes: false,
  examples: [{ command: 'dbops schedule remove --dry-run', about: 'the lines that would go' }],
  notes: "Takes the lines between the markers of dbops out of the crontab of this user, and nobody else's.",
  declare(cmd) {
    cmd.option('--dry-run', 'show the lines that would go, and change nothing');
  },
  async run({ options, signal }): Promise<Result> {
    const change = await planCrontab(withoutBlock, signal);
    if (options.dryRun !== true) await applyCrontab(change, signal);
    const { difference } = change;
    const done = options.dryRun === true ? 'nothing was changed' : 'the crontab is written';
    return {
      data: { dryRun: options.dryRun === true, difference },
      text: difference.length === 0 ? 'the crontab has no lines of dbops' : [...difference, done].join('\n'),
    };
  },
});
