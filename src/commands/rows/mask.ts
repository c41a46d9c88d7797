import { DbopsError } from '../../errors.ts';
import { defineCommand, type Result } from '../command.ts';
import { addWhich, requestOf, runRequests, type WhichOptions } from './shared.ts';

interface Options extends WhichOptions {
  set: string[];
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    {
      command: `dbops rows mask public.audit_logs --set "ip_address=null" --set "user_agent='masked'" --older-than "created_at 1 year"`,
      about: 'addresses of old audit rows; asks',
    },
    {
      command: `dbops rows mask public.tenants --set "display_name='tenant ' || id" --where "status = 'closed'" --dry-run`,
      about: 'a value made from the primary key, so that it stays unique',
    },
  ],
  notes:
    'Rows that have the new values already are left alone. The old values remain in dead rows until VACUUM and reuse, in\n' +
    'WAL and its archive, and in every backup taken before. The table needs a primary key. Unique columns are checked\n' +
    'before the first row is changed.',
  declare(cmd) {
    addWhich(cmd);
    cmd.requiredOption(
      '--set <column=expression>',
      'what the column gets; SQL over the row alone; once for each column',
      (value: string, before: string[] | undefined) => [...(before ?? []), value],
    );
  },
  async run(context): Promise<Result> {
    const set = Object.fromEntries(context.options.set.map(assignment));
    return await runRequests(context, 'rows mask', [requestOf('mask', context, { set })]);
  },
});

function assignment(text: string): [string, string] {
  const [, column = '', expression = ''] = /^\s*([^=]*?)\s*=([^]*)$/.exec(text) ?? [];
  if (column !== '' && expression.trim() !== '') return [column, expression.trim()];
  throw new DbopsError('usage', `--set is a column and an expression, not "${text}"`, {
    hint: `Write it as --set "email='masked_' || id".`,
  });
}
