import { tableCommand } from './table-command.ts';

export const command = tableCommand('partition', {
  examples: [
    {
      command:
        'dbops restore partition 20261115 --table public.llm_calls_y2026m06 --into public.llm_calls_june --yes',
      about: 'as a table of its own, to be looked at or attached',
    },
  ],
  notes:
    'Does what "dbops restore table" does, to a partition: it becomes a table of its own, and the command that attaches it is\n' +
    'printed. Foreign keys and triggers of the parent come with the attach.',
});
