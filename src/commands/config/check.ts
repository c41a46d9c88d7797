import { DbopsError } from '../../errors.ts';
import { healthProblems } from '../../health/plan.ts';
import { checkEntries } from '../../partition/inspect/check-entries.ts';
import { defineCommand, type Result } from '../command.ts';

export const command = defineCommand({
  changes: false,
  examples: [
    { command: 'dbops config check', about: 'read the configuration and say what is wrong, all at once' },
    { command: 'dbops config check --config dbops.yaml', about: 'this file alone, as CI does it' },
  ],
  notes:
    'Exit 2 with every error, each with its file, line and path. No database is needed: what only the database\n' +
    'can tell (tables, keys, bounds) is told by "dbops partition plan".',
  declare: () => undefined,
  run({ settings }): Promise<Result> {
    if (settings.files.length === 0) {
      throw new DbopsError('config_not_found', 'no configuration file was found', {
        hint: 'Write one with "dbops init", or name one with --config.',
      });
    }
    const { errors: entries, warnings } = checkEntries(settings);
    const errors = [...entries, ...healthProblems(settings)];
    if (errors.length > 0) {
      const count = errors.length === 1 ? '1 error' : `${String(errors.length)} errors`;
      throw new DbopsError('config_invalid', `the configuration has ${count}`, {
        detail: errors.join('\n'),
        hint: '"dbops help config" shows an example.',
      });
    }
    const files = settings.files.map(({ path, kind }) => ({ path, kind }));
    const count = settings.partitions.length;
    const tables = count === 1 ? '1 partitioned table' : `${String(count)} partitioned tables`;
    const read = files.map((file) => `${file.path} (${file.kind} file)`).join(', ');
    return Promise.resolve({
      data: { valid: true, files, tables: count },
      text: `valid: ${read}; ${tables}`,
      warnings,
    });
  },
});
