import { renderTable } from '../../output/table.ts';
import { ensure, planEnsure, type EnsurePlan } from '../../partition/create/ensure.ts';
import { combineProblems } from '../../partition/problems.ts';
import { selectTables } from '../../partition/model/select.ts';
import { defineCommand, type Result } from '../command.ts';
import { addDryRun, addTables, addWait } from '../options.ts';

interface Options {
  fillGaps?: boolean;
  keepGoing?: boolean;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    { command: 'dbops partition ensure', about: 'create what all configured tables will need' },
    { command: 'dbops partition ensure --dry-run', about: 'the same as a psql script, nothing changed' },
    {
      command: 'dbops partition ensure public.audit_logs --wait 30s',
      about: 'one table; wait for another run',
    },
  ],
  notes:
    'Never asks: cron runs it. The parent is locked in SHARE UPDATE EXCLUSIVE only, so readers and writers go on.',
  declare(cmd) {
    addTables(cmd);
    cmd.option(
      '--fill-gaps',
      'also make the partitions that are missing between others, or that the default serves now',
    );
    cmd.option('--keep-going', 'do the other tables when one cannot be worked on');
    addWait(cmd);
    addDryRun(cmd);
  },
  async run({ args, options, job, settings, dryRun }): Promise<Result> {
    const chosen = selectTables(settings, args);
    const context = { ...(await job(args.length === 0 ? null : args.join(' '))), settings: chosen };
    const wish = { tables: args, fillGaps: options.fillGaps === true, keepGoing: options.keepGoing === true };
    if (options.dryRun === true) {
      const plan = await planEnsure(context, wish);
      return dryRun(plan.changes, `partition ensure: ${summary(plan)}`, plan.warnings);
    }
    const result = await ensure(context, wish);
    if (result.problems.length > 0) {
      throw combineProblems(
        result.problems,
        'The other tables have what they need; correct these and run it again.',
      );
    }
    return {
      data: { tables: result.tables, created: result.created },
      text: result.created.length === 0 ? summary(result) : `${await render(result)}\n${summary(result)}`,
      warnings: result.warnings,
    };
  },
});

function summary(plan: Pick<EnsurePlan, 'created' | 'tables'>): string {
  const tables = `${String(plan.tables)} ${plan.tables === 1 ? 'table' : 'tables'}`;
  if (plan.created.length === 0) return `nothing to create: ${tables} have what they need`;
  return `${String(plan.created.length)} ${plan.created.length === 1 ? 'partition' : 'partitions'} for ${tables}`;
}

/** Loaded when there is something to show: most runs have nothing to create. */
function render(plan: Pick<EnsurePlan, 'created'>): Promise<string> {
  return renderTable(plan.created, [
    { title: 'table', value: (row) => row.table },
    { title: 'partition', value: (row) => row.partition },
    { title: 'from', value: (row) => row.from },
    { title: 'to', value: (row) => row.to },
  ]);
}
