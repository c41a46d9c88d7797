import { DbopsError } from '../../errors.ts';
import { humanBytes } from '../../output/human.ts';
import { renderTable } from '../../output/table.ts';
import { applyDrop, planDrop, type DropPlan } from '../../partition/retire/drop.ts';
import { displayName, visible } from '../../sql/quote.ts';
import { defineCommand, type Result } from '../command.ts';
import { addDryRun, addWait, countOption } from '../options.ts';

interface Options {
  due?: boolean;
  max: string;
  confirm?: string;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    { command: 'dbops partition drop --due', about: 'what is past its quarantine, for cron' },
    { command: 'dbops partition drop --due --dry-run', about: 'the same as a psql script' },
    {
      command: 'dbops partition drop public.llm_calls_y2026m04 --confirm llm_calls_y2026m04',
      about: 'one detached partition, before its date',
    },
  ],
  notes:
    'Drops only what dbops has detached and marked, that is still detached, and that is either due by "then: delete" and\n' +
    'past its quarantine, or confirmed by its name. There is no way back.',
  declare(cmd) {
    cmd.argument('[partition...]', 'detached partitions by name');
    cmd.option('--due', 'those that the policy has made due');
    cmd.option('--max <count>', 'with --due, at most so many of one table', '3');
    cmd.option('--confirm <name>', 'the name of the partition once more, without its schema');
    addWait(cmd);
    addDryRun(cmd);
  },
  async run({ args, options, job, dryRun }): Promise<Result> {
    if ((options.due === true) === args.length > 0) {
      throw new DbopsError('usage', 'name the partitions, or give --due, not both and not neither', {
        hint: '"dbops partition list --detached" shows what could be dropped.',
      });
    }
    const context = await job(options.due === true ? '--due' : args.join(' '));
    const wish = {
      partitions: args,
      due: options.due === true,
      max: countOption('--max', options.max),
      confirm: options.confirm,
    };
    const replan = () => planDrop(context, wish);
    let plan = await replan();
    const changes = [...plan.before, ...plan.targets.flatMap((target) => target.changes)];
    if (options.dryRun === true)
      return dryRun(changes, `partition drop: ${String(plan.targets.length)} tables`, plan.notes);
    if (plan.targets.length > 0) plan = await applyDrop(context, replan);
    return {
      data: { dropped: plan.targets.map(rowOf) },
      text: plan.targets.length === 0 ? 'nothing is due' : render(plan),
      warnings: plan.notes,
    };
  },
});

function rowOf(target: DropPlan['targets'][number]) {
  return {
    partition: displayName(target),
    from: target.from,
    bounds: target.bounds,
    dropAfter: target.dropAfter,
    sizeBytes: target.sizeBytes,
  };
}

function render(plan: DropPlan): Promise<string> {
  return renderTable(plan.targets, [
    { title: 'dropped', value: displayName },
    { title: 'was in', value: (row) => visible(row.from) },
    { title: 'bounds', value: (row) => visible(row.bounds) },
    {
      title: 'size',
      value: (row) => (row.sizeBytes === null ? 'unknown' : humanBytes(row.sizeBytes)),
      align: 'right',
    },
  ]);
}
