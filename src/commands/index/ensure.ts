import type { DbopsError } from '../../errors.ts';
import { ensureIndexes, planEnsure, type EnsureIndexesResult } from '../../indexes/ensure.ts';
import { renderTable } from '../../output/table.ts';
import { combineProblems } from '../../partition/problems.ts';
import { defineCommand, type Result } from '../command.ts';
import { addDryRun, addWait } from '../options.ts';

interface Options {
  check?: boolean;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    { command: 'dbops index ensure', about: 'create what the configuration wants and is missing, for cron' },
    { command: 'dbops index ensure --check', about: 'say what is missing; exit 6 when something is' },
  ],
  notes:
    'Never asks: the configuration decided. The same index under another name counts as there. An index of the wanted name\n' +
    'that is another one is drift: it is told, exit 6, and not touched.',
  declare(cmd) {
    cmd.option('--check', 'only say what is missing or differs, and exit 6 when something does');
    addWait(cmd);
    addDryRun(cmd);
  },
  async run({ options, settings, job, dryRun }): Promise<Result> {
    const specs = settings.indexes;
    const context = await job(null);
    if (options.dryRun === true) {
      const { plans, problems } = await planEnsure(context, specs);
      const changes = plans.flatMap((plan) => plan.changes);
      const told = problems.map(({ error }) => error.message);
      return dryRun(changes, `index ensure: ${String(plans.length)} indexes`, told);
    }
    const result =
      options.check === true ? await planEnsure(context, specs) : await ensureIndexes(context, specs);
    if (result.problems.length > 0) throw problemsOf(result);
    const isFound = result.indexes.some(({ state }) => state === 'drift' || state === 'missing');
    return {
      data: { indexes: result.indexes },
      text:
        specs.length === 0
          ? 'the configuration wants no indexes: see "indexes" in "dbops help config"'
          : render(result),
      exitCode: isFound ? 6 : 0,
    };
  },
});

function problemsOf({ problems, indexes }: EnsureIndexesResult): DbopsError {
  const others = indexes.map(({ index, state }) => `${index}: ${state}`).join(', ');
  return combineProblems(
    problems,
    `The others: ${others === '' ? 'none' : others}. Correct these and run it again.`,
  );
}

function render({ indexes }: EnsureIndexesResult): Promise<string> {
  return renderTable(indexes, [
    { title: 'table', value: (row) => row.table },
    { title: 'index', value: (row) => row.index },
    { title: 'state', value: (row) => row.state },
    { title: 'detail', value: (row) => row.detail ?? '' },
  ]);
}
