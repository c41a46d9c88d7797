import { planReindex } from '../../maintenance/reindex.ts';
import { defineCommand, type Result } from '../command.ts';
import { addMaintenance, changesSomething, maintain, repeatable, type MaintenanceOptions } from './shared.ts';

interface Options extends MaintenanceOptions {
  table?: string[];
  index?: string[];
  bloated?: boolean;
}

export const command = defineCommand<Options>({
  changes: changesSomething,
  examples: [
    { command: 'dbops maintenance reindex --plan', about: 'what failed rebuilds have left behind' },
    {
      command: 'dbops maintenance reindex --bloated --plan',
      about: 'those, and indexes that are mostly air',
    },
    { command: 'dbops maintenance reindex --table public.event_outbox', about: 'all indexes of a table' },
    {
      command: 'dbops maintenance reindex --index public.event_outbox_pkey --until 05:00 --plan',
      about: 'one index',
    },
  ],
  notes:
    'Indexes are rebuilt concurrently, one after the other, the smallest first; readers and writers go on. What a rebuild that fails leaves behind is removed by the same run, or the next.',
  declare(cmd) {
    cmd.option('--table <table>', 'all indexes of schema.table; repeatable', repeatable);
    cmd.option('--index <index>', 'schema.index; repeatable', repeatable);
    cmd.option('--bloated', 'those that are mostly air; maintenance.reindex says from where on');
    addMaintenance(cmd, { hasJobs: false });
  },
  async run(context): Promise<Result> {
    const { table = [], index = [], bloated = false } = context.options;
    return await maintain(context, 'maintenance reindex', (job) =>
      planReindex(job, { tables: table, indexes: index, bloated }),
    );
  },
});
