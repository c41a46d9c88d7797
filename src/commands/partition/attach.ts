import { applyAttach, planAttach } from '../../partition/retire/attach.ts';
import { defineCommand, type Result } from '../command.ts';
import { addDryRun, addWait, addYes } from '../options.ts';

interface Options {
  to: string;
  from?: string;
  until?: string;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    {
      command: 'dbops partition attach public.llm_calls_y2026m04 --to public.llm_calls',
      about: 'back where it was detached from',
    },
    {
      command:
        'dbops partition attach public.loaded --to public.llm_calls --from 2020-01-01 --until 2020-02-01',
      about: 'any table of the same columns',
    },
  ],
  notes:
    'A CHECK of the bounds is validated first, so that the attach scans nothing and nobody waits for it.',
  declare(cmd) {
    cmd.argument('<partition>', 'the table to attach');
    cmd.requiredOption('--to <table>', 'the partitioned table');
    cmd.option('--from <value>', 'lower bound, included; from its mark when left out');
    cmd.option('--until <value>', 'upper bound, excluded');
    addWait(cmd);
    addYes(cmd);
    addDryRun(cmd);
  },
  async run({ args, options, job, dryRun }): Promise<Result> {
    const partition = args[0] ?? '';
    const context = await job(partition);
    const wish = {
      partition,
      to: options.to,
      from: options.from,
      until: options.until,
    };
    const replan = () => planAttach(context, wish);
    const plan = await replan();
    if (options.dryRun === true) return dryRun(plan.changes, `partition attach ${plan.partition}`);
    await context.consent(plan.changes, `Attach ${plan.partition} to ${plan.table}?`);
    await applyAttach(context, plan, replan);
    return {
      data: { table: plan.table, partition: plan.partition, bounds: plan.bounds },
      text: `${plan.partition} is a partition of ${plan.table} ${plan.bounds}`,
    };
  },
});
