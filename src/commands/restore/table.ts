import { tableCommand } from './table-command.ts';

export const command = tableCommand('table', {
  examples: [
    {
      command: 'dbops restore table 20261115 --table public.llm_calls --into public.llm_calls_before --yes',
      about: 'beside the one that is there, with its partitions',
    },
    {
      command: 'dbops restore table 20261115 --table public.llm_calls --into checked.llm_calls --dry-run',
      about: 'what would be done',
    },
  ],
  notes:
    'From backups of kind logical, table and partition. The table is made in a schema of its own in the database that dbops\n' +
    'is connected to, with its partitions, indexes, keys, triggers, grants and policies; its rows are compared with the\n' +
    'backup, and only then it gets its name: a restore that fails leaves nothing under it. The definition is read in a\n' +
    'database beside, which is dropped again. Types and functions that are missing are made, those that are there are\n' +
    'kept, and a type that is different is refused. What the commands at its end do is for you to decide.',
});
