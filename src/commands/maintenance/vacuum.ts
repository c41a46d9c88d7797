import { DbopsError } from '../../errors.ts';
import { planVacuum } from '../../maintenance/vacuum.ts';
import { planVacuumFull } from '../../maintenance/vacuum-full.ts';
import { defineCommand, type Result } from '../command.ts';
import {
  addMaintenance,
  addScope,
  changesSomething,
  maintain,
  type MaintenanceOptions,
  type ScopeOptions,
} from './shared.ts';

interface Options extends MaintenanceOptions, ScopeOptions {
  full?: boolean;
  confirm?: string;
}

export const command = defineCommand<Options>({
  changes: changesSomething,
  examples: [
    { command: 'dbops maintenance vacuum --plan', about: 'which tables need it, and why' },
    { command: 'dbops maintenance vacuum --jobs 2', about: 'those that need it, two at once' },
    { command: 'dbops maintenance vacuum --table public.event_outbox', about: 'one table, now' },
    {
      command:
        'dbops maintenance vacuum --full --table public.event_outbox --confirm public.event_outbox --until 05:00 --plan',
      about: 'what VACUUM FULL would lock, and for how much',
    },
  ],
  notes:
    'Tables are analyzed with it where that is due. Exit 5 when a table was skipped, gone or not reached. See docs/maintenance.md for what locks what.',
  declare(cmd) {
    addScope(cmd);
    addMaintenance(cmd, { hasJobs: true });
    cmd.option('--full', 'write one table anew, which nobody can read or write meanwhile');
    cmd.option('--confirm <table>', 'with --full: the table once more');
  },
  async run(context): Promise<Result> {
    const { options, settings } = context;
    const tables = options.table ?? [];
    if (options.confirm !== undefined && options.full !== true)
      throw new DbopsError('usage', '--confirm goes with --full');
    if (options.full === true && (options.all === true || options.schema !== undefined))
      throw new DbopsError('usage', '--full goes neither with --all nor with --schema');
    return await maintain(context, 'maintenance vacuum', (job) =>
      options.full === true
        ? planVacuumFull(job, {
            tables,
            confirm: options.confirm,
            isPlan: options.plan === true || options.dryRun === true,
            until: options.until ?? settings.maintenance.until,
          })
        : planVacuum(job, { tables, schemas: options.schema ?? [], all: options.all === true }, 'vacuum'),
    );
  },
});
