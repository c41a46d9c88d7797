import { defineCommand, type Result } from '../command.ts';
import { addWhich, requestOf, runRequests, type WhichOptions } from './shared.ts';

interface Options extends WhichOptions {
  to: string;
  create?: boolean;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    {
      command:
        'dbops rows move public.llm_call_logs --to public.llm_call_logs_archive --create --older-than "created_at 30 days" --dry-run',
      about: 'the archive table that would be made, and the first batch',
    },
    {
      command:
        'dbops rows move public.llm_call_logs --to public.llm_call_logs_archive --create --older-than "created_at 30 days"',
      about: 'move them; asks',
    },
  ],
  notes:
    'Each row is deleted and inserted by one statement, so it is in one of the two tables at any time. --create makes\n' +
    'the archive table with the same columns and primary key, lz4 for long values where the server has it, and no\n' +
    'defaults: its rows come as they are.',
  declare(cmd) {
    addWhich(cmd);
    cmd.requiredOption('--to <table>', 'schema.table with the same columns');
    cmd.option('--create', 'make that table when it is not there');
  },
  async run(context): Promise<Result> {
    const { to, create } = context.options;
    return await runRequests(context, 'rows move', [
      requestOf('move', context, { to, create: create === true }),
    ]);
  },
});
