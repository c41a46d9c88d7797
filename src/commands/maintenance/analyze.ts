import { planVacuum } from '../../maintenance/vacuum.ts';
import { defineCommand, type Result } from '../command.ts';
import {
  addMaintenance,
  addScope,
  changesSomething,
  maintain,
  type MaintenanceOptions,
  type ScopeOptions,
} from './shared.ts';

export const command = defineCommand<MaintenanceOptions & ScopeOptions>({
  changes: changesSomething,
  examples: [
    { command: 'dbops maintenance analyze --plan', about: 'which statistics are old or missing' },
    { command: 'dbops maintenance analyze --schema public --jobs 2', about: 'all tables of a schema' },
  ],
  notes:
    'Partitioned tables are analyzed when they have no statistics of their own: autovacuum never does it.',
  declare(cmd) {
    addScope(cmd);
    addMaintenance(cmd, { hasJobs: true });
  },
  async run(context): Promise<Result> {
    const { table = [], schema = [], all = false } = context.options;
    return await maintain(context, 'maintenance analyze', (job) =>
      planVacuum(job, { tables: table, schemas: schema, all }, 'analyze'),
    );
  },
});
