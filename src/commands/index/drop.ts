import { dropIndex, planDrop } from '../../indexes/drop.ts';
import { displayName } from '../../sql/quote.ts';
import { defineCommand, type Result } from '../command.ts';
import { addDryRun, addWait, addYes } from '../options.ts';

export const command = defineCommand({
  changes: true,
  examples: [
    {
      command: 'dbops index drop public.loaded_again_idx',
      about: 'asks, and says how it is made again',
    },
    { command: 'dbops index drop public.loaded_again_idx --dry-run', about: 'the same as a psql script' },
  ],
  notes:
    'DROP INDEX CONCURRENTLY: readers and writers go on. The statements that make it again are kept in "dbops history --json".\n' +
    'Refused for constraints, replica identities, what foreign keys lean on, the last index that serves one, and\n' +
    'partitioned indexes.',
  declare(cmd) {
    cmd.argument('<index>', 'schema.index');
    addWait(cmd);
    addYes(cmd);
    addDryRun(cmd);
  },
  async run({ args, options, job, dryRun }): Promise<Result> {
    const [name = ''] = args;
    const context = await job(name);
    const plan = await planDrop(context.db, name);
    const label = displayName(plan.index);
    const undo = `to make it again: ${plan.undo.join(' ')}`;
    if (options.dryRun === true) return dryRun(plan.changes, `index drop: ${label}; ${undo}`);
    await context.consent(plan.changes, `Drop ${label}? ${undo}`);
    await dropIndex(context, plan);
    return {
      data: { dropped: label, undo: plan.undo },
      text: [`dropped ${label}; to make it again:`, ...plan.undo].join('\n'),
    };
  },
});
