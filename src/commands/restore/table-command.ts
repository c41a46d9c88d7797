import { planTable, type TableWish } from '../../backup/restore/table/plan.ts';
import { restoreTable, type TableResult } from '../../backup/restore/table/table.ts';
import { confirm } from '../../output/confirm.ts';
import { humanCount, humanSeconds } from '../../output/human.ts';
import { defineCommand, type CommandDefinition, type Result } from '../command.ts';
import { addYes, countOption } from '../options.ts';
import { withBackupFiles, withRestoreServer } from './context.ts';

interface Options {
  table: string;
  into: string;
  partial?: boolean;
  store?: string;
  jobs?: string;
}

/** `restore table` and `restore partition` are one command but for what they are said to be for. */
export function tableCommand(
  kind: 'table' | 'partition',
  texts: Pick<CommandDefinition, 'examples' | 'notes'>,
): CommandDefinition {
  return defineCommand<Options>({
    changes: true,
    ...texts,
    declare(cmd) {
      cmd.argument('<id>', 'the backup, as "dbops backup list" shows it');
      cmd.requiredOption('--table <table>', `the ${kind} as it was called, schema.table`);
      cmd.requiredOption(
        '--into <table>',
        'the table to make, schema.table; its own name where that is free',
      );
      cmd.option('--partial', 'go on without roles, indexes or grants that cannot be made here');
      cmd.option('--store <name>', 'take it from this store; default: any that has it');
      cmd.option('--jobs <count>', 'parallel sessions; default: backup.jobs of the configuration');
      addYes(cmd);
      cmd.option('--dry-run', 'print what would be done and change nothing');
    },
    async run(context): Promise<Result> {
      const { args, options, settings, signal } = context;
      const wish: TableWish = {
        table: options.table,
        into: options.into,
        isPartition: kind === 'partition',
        partial: options.partial === true,
      };
      const jobs = options.jobs === undefined ? undefined : countOption('--jobs', options.jobs);
      const found = { id: args[0] ?? '', store: options.store, jobs };
      const locks = { timeoutMs: settings.lockTimeoutMs, deadlineMs: settings.lockDeadlineMs };
      return await withBackupFiles(context, found, async (files, backup) => {
        const target = await context.connect();
        return await withRestoreServer(context, files, undefined, async (restore): Promise<Result> => {
          const own = { ...restore, target, locks };
          const plan = await planTable(own, backup, wish);
          const { steps, warnings } = plan;
          if (options.dryRun === true) {
            const data = { dryRun: true, backup: backup.id, table: wish.table, into: wish.into, steps };
            return { data, text: steps.join('\n'), warnings };
          }
          const question = `Restore ${wish.table} of backup ${backup.id} as ${wish.into}?`;
          await confirm(steps.join('\n'), question, { yes: options.yes === true, signal });
          const result = await restoreTable(own, plan);
          return { data: result, text: describe(result), warnings: result.warnings };
        });
      });
    },
  });
}

function describe(result: TableResult): string {
  const { table, into, backup, partitions, rows, seconds, next } = result;
  const below = partitions.length === 0 ? '' : ` with ${humanCount(partitions.length)} partitions`;
  return [
    `${into}: ${table} of backup ${backup}${below}, ${humanCount(rows)} rows compared, in ${humanSeconds(seconds)}`,
    ...next,
  ].join('\n');
}
