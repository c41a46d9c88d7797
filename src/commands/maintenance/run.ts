import { planNight } from '../../maintenance/night.ts';
import { defineCommand, type Result } from '../command.ts';
import { addMaintenance, changesSomething, maintain, type MaintenanceOptions } from './shared.ts';

export const command = defineCommand<MaintenanceOptions>({
  changes: changesSomething,
  examples: [
    { command: 'dbops maintenance run --plan', about: 'what tonight would bring, and why' },
    { command: 'dbops maintenance run --until 05:00 --dry-run', about: 'the same as a script for psql' },
  ],
  notes:
    'For cron; it never asks. Settings of autovacuum, tables that need VACUUM or ANALYZE, leftovers of rebuilds, indexes that are mostly air, and views that are due. Exit 5 when something was skipped or not reached.',
  declare(cmd) {
    addMaintenance(cmd, { hasJobs: true });
  },
  run: (context): Promise<Result> => maintain(context, 'maintenance run', planNight),
});
