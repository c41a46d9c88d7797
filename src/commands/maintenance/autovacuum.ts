import { planAutovacuum } from '../../maintenance/autovacuum.ts';
import { defineCommand, type Result } from '../command.ts';
import { addMaintenance, changesSomething, maintain, type MaintenanceOptions } from './shared.ts';

export const command = defineCommand<MaintenanceOptions>({
  changes: changesSomething,
  examples: [
    { command: 'dbops maintenance autovacuum --plan', about: 'what differs from the configuration' },
    { command: 'dbops maintenance autovacuum', about: 'set what differs' },
  ],
  notes:
    'Settings of single tables under "maintenance: autovacuum:". What the configuration does not name stays as it is.',
  declare(cmd) {
    addMaintenance(cmd, { hasJobs: false });
  },
  run: (context): Promise<Result> => maintain(context, 'maintenance autovacuum', planAutovacuum),
});
