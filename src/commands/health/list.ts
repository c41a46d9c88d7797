import { paint } from '../../output/style.ts';
import { renderTable } from '../../output/table.ts';
import { listChecks } from '../../health/plan.ts';
import { describeThresholds } from '../../health/explain.ts';
import { defineCommand, type Result } from '../command.ts';

export const command = defineCommand({
  changes: false,
  examples: [{ command: 'dbops health list', about: 'every check, with what it is judged by' }],
  declare() {
    // Takes nothing.
  },
  run({ settings }): Promise<Result> {
    const checks = listChecks(settings);
    const data = checks.map(({ check, bounds }) => ({
      id: check.id,
      group: check.group,
      answers: check.answers,
      profiles: check.profiles,
      thresholds: bounds.general ?? null,
    }));
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
