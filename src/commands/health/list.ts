import { Option } from 'commander';
import { describeThresholds } from '../../health/explain.ts';
import { listChecks } from '../../health/plan.ts';
import { renderReference } from '../../health/reference.ts';
import { paint } from '../../output/style.ts';
import { renderTable } from '../../output/table.ts';
import { defineCommand, type Result } from '../command.ts';

interface Options {
  format: 'table' | 'markdown';
}

export const command = defineCommand<Options>({
  changes: false,
  examples: [{ command: 'dbops health list', about: 'every check, with what it is judged by' }],
  declare(cmd) {
    cmd.addOption(
      new Option('--format <format>', 'markdown: with all that docs/health.md says of each')
        .choices(['table', 'markdown'])
        .default('table'),
    );
  },
  run({ options, settings }): Promise<Result> {
    const checks = listChecks(settings);
    const data = checks.map(({ check, bounds }) => ({
      id: check.id,
      group: check.group,
      answers: check.answers,
      profiles: check.profiles,
      thresholds: bounds.general ?? null,
    }));
    if (options.format === 'markdown') return Promise.resolve({ data, text: renderReference(checks) });
    return Promise.resolve({
      data,
      text: renderTable(checks, [
        { title: 'check', value: ({ check }) => paint('bold', check.id) },
        { title: 'answers', value: ({ check }) => check.answers },
        { title: 'judged by', value: ({ bounds }) => describeThresholds(bounds.general) },
        { title: 'profiles', value: ({ check }) => check.profiles.join(', ') },
      ]),
    });
  },
});
