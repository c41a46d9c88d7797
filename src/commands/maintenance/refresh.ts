import { planRefresh } from '../../maintenance/refresh.ts';
import { defineCommand, type Result } from '../command.ts';
import { addMaintenance, changesSomething, maintain, type MaintenanceOptions } from './shared.ts';

interface Options extends MaintenanceOptions {
  allowLock?: boolean;
}

export const command = defineCommand<Options>({
  changes: changesSomething,
  examples: [
    { command: 'dbops maintenance refresh --plan', about: 'which of the configured views are due' },
    { command: 'dbops maintenance refresh', about: 'refresh those, for cron' },
  ],
  notes:
    'Concurrently, so that readers go on; that takes a unique index. When a view is due, maintenance.refresh of the configuration says.',
  declare(cmd) {
    cmd.argument('[view...]', 'schema.view, whether due or not; those that are due when none is named');
    cmd.option('--allow-lock', 'keep readers out where no concurrent refresh is possible');
    addMaintenance(cmd, { hasJobs: true });
  },
  async run(context): Promise<Result> {
    const { args, options } = context;
    return await maintain(context, 'maintenance refresh', (job) =>
      planRefresh(job, { views: args, allowLock: options.allowLock === true }),
    );
  },
});
