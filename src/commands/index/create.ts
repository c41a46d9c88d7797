import { splitTable } from '../../config/table-name.ts';
import { createIndex } from '../../indexes/create.ts';
import { planCreate } from '../../indexes/plan-create.ts';
import { splitList, type IndexSpec } from '../../indexes/spec.ts';
import { defineCommand, type Result } from '../command.ts';
import { addDryRun, addWait } from '../options.ts';

interface Options {
  table: string;
  columns: string;
  unique?: boolean;
  where?: string;
  method: string;
  include?: string;
  name?: string;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    {
      command: 'dbops index create --table public.audit_logs --columns "actor_id, created_at desc"',
      about: 'on a partitioned table: partition by partition, then attached',
    },
    {
      command: `dbops index create --table public.event_outbox --columns created_at --where "status = 'PENDING'" --dry-run`,
      about: 'the plan of a partial one, as a psql script',
    },
  ],
  notes:
    'Readers and writers go on. The index is looked at when it is done; what a stopped run has left is removed or completed\n' +
    'by running the same command again. Nothing is done where the same index is there under another name.',
  declare(cmd) {
    cmd.requiredOption('--table <table>', 'schema.table');
    cmd.requiredOption(
      '--columns <list>',
      'columns or expressions, with commas: "a, b desc, lower(c)"; functions outside of pg_catalog with their schema',
    );
    cmd.option('--unique', 'refuse duplicates');
    cmd.option('--where <condition>', 'SQL condition of a partial index');
    cmd.option('--method <method>', 'btree, hash, gin, gist, brin ...', 'btree');
    cmd.option('--include <list>', 'columns that are carried along and not searched by');
    cmd.option('--name <name>', 'of the index; by default the one that PostgreSQL would give it');
    addWait(cmd);
    addDryRun(cmd);
  },
  async run({ options, job, dryRun }): Promise<Result> {
    const spec: IndexSpec = {
      table: splitTable(options.table),
      columns: splitList(options.columns, '--columns'),
      include: options.include === undefined ? [] : splitList(options.include, '--include'),
      unique: options.unique === true,
      where: options.where,
      method: options.method,
      name: options.name,
    };
    const context = await job(options.table);
    if (options.dryRun === true) {
      const plan = await planCreate(context, spec);
      return dryRun(plan.changes, `index create: ${plan.table}`, plan.notes);
    }
    const result = await createIndex(context, spec);
    return {
      data: result,
      text:
        result.changes === 0
          ? `nothing to do: ${result.index} is there`
          : `${result.index} is there and valid`,
      warnings: result.notes,
    };
  },
});
