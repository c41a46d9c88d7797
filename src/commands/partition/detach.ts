import { DbopsError } from '../../errors.ts';
import { renderTable } from '../../output/table.ts';
import { applyDetach, planDetach, type DetachPlan } from '../../partition/retire/detach.ts';
import { combineProblems } from '../../partition/problems.ts';
import { displayName } from '../../sql/quote.ts';
import { defineCommand, type Result } from '../command.ts';
import { addDryRun, addWait, addYes, countOption } from '../options.ts';

interface Options {
  due?: boolean;
  max: string;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    { command: 'dbops partition detach --due', about: 'what is past its hot retention, for cron' },
    { command: 'dbops partition detach --due --dry-run', about: 'the same as a psql script' },
    { command: 'dbops partition detach public.llm_calls_y2026m07', about: 'one partition by name; asks' },
  ],
  notes:
    'DETACH ... CONCURRENTLY where there is no default partition: readers and writers of the parent go on. The rows stay\n' +
    'in the detached table, which keeps its name; "dbops partition attach" undoes it.',
  declare(cmd) {
    cmd.argument('[partition...]', 'partitions by name');
    cmd.option('--due', 'those that the configured retention has made due');
    cmd.option('--max <count>', 'with --due, at most so many of one table', '3');
    addWait(cmd);
    addYes(cmd);
    addDryRun(cmd);
  },
  async run({ args, options, job, dryRun }): Promise<Result> {
    if ((options.due === true) === args.length > 0) {
      throw new DbopsError('usage', 'name the partitions, or give --due, not both and not neither', {
        hint: '"dbops partition plan" shows what is due.',
      });
    }
    const context = await job(options.due === true ? '--due' : args.join(' '));
    const wish = { partitions: args, due: options.due === true, max: countOption('--max', options.max) };
    const replan = () => planDetach(context, wish);
    let plan = await replan();
    const changes = [...plan.before, ...plan.targets.flatMap((target) => target.changes)];
    if (options.dryRun === true) {
      const told = plan.problems.map((problem) => problem.error.message);
      return dryRun(changes, `partition detach: ${summary(plan)}`, [...plan.notes, ...told]);
    }
    if (options.due !== true) await context.consent(changes, `Detach ${summary(plan)}?`);
    if (changes.length > 0) plan = await applyDetach(context, replan);
    if (plan.problems.length > 0)
      throw combineProblems(plan.problems, 'What else was due is detached; correct these.');
    return {
      data: { detached: plan.targets.map(rowOf) },
      text: plan.targets.length === 0 ? 'nothing is due' : render(plan),
      warnings: plan.notes,
    };
  },
});

function summary(plan: DetachPlan): string {
  return `${String(plan.targets.length)} ${plan.targets.length === 1 ? 'partition' : 'partitions'}`;
}

function rowOf(target: DetachPlan['targets'][number]) {
  return {
    table: displayName(target.parent),
    partition: displayName(target.member),
    bounds: target.member.bound,
    reason: target.reason,
    policy: target.policy,
    dropAfter: target.dropAfter,
  };
}

function render(plan: DetachPlan): Promise<string> {
  return renderTable(plan.targets.map(rowOf), [
    { title: 'table', value: (row) => row.table },
    { title: 'detached', value: (row) => row.partition },
    { title: 'why', value: (row) => row.reason },
    { title: 'drop after', value: (row) => row.dropAfter?.toISOString() ?? 'only with --confirm' },
  ]);
}
