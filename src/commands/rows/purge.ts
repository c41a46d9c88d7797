import { defineCommand, type Result } from '../command.ts';
import { addWhich, requestOf, runRequests, type WhichOptions } from './shared.ts';

export const command = defineCommand<WhichOptions>({
  changes: true,
  examples: [
    {
      command: `dbops rows purge public.event_outbox --older-than "published_at 7 days" --where "status = 'PUBLISHED'"`,
      about: 'what was published a week ago; asks',
    },
    {
      command: 'dbops rows purge public.llm_call_logs --older-than "created_at 30 days" --dry-run',
      about: 'how many rows, the first batch as SQL, and what it sets off',
    },
    {
      command: 'dbops rows purge public.llm_call_logs --older-than "created_at 30 days" --until 05:00 --yes',
      about: 'until five in the morning; the same command goes on the next night',
    },
  ],
  notes:
    'Deletes in batches that are each a transaction with its cursor, and may be killed at any moment. For partitioned\n' +
    'tables "dbops partition detach" takes whole partitions out instead. What cron runs belongs in the configuration:\n' +
    'see "dbops help rows run".',
  declare: addWhich,
  async run(context): Promise<Result> {
    return await runRequests(context, 'rows purge', [requestOf('purge', context, {})]);
  },
});
