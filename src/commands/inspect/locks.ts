import { lookAtLocks, type LockNode } from '../../inspect/locks.ts';
import { visible } from '../../sql/quote.ts';
import { defineInspection, shownQuery, shownSeconds } from './inspection.ts';

export const command = defineInspection<object, LockNode>({
  examples: [
    { command: 'dbops inspect locks', about: 'who waits for whom, those that hold everybody up first' },
    { command: 'dbops inspect locks --watch', about: 'again every two seconds' },
  ],
  notes: 'Says what would end the wait and what that costs; ends nothing itself.',
  look: ({ db, limit }) => lookAtLocks(db, limit),
  nothing: 'nobody waits for a lock',
  columns: [
    {
      title: 'pid',
      // Without spaces: a narrow terminal would wrap between them.
      value: (row) =>
        `${row.depth === 0 ? '' : `└${'─'.repeat(2 * row.depth - 1)}`}${row.pid === null ? 'prepared' : String(row.pid)}`,
    },
    { title: 'waits', value: (row) => shownSeconds(row.waitedSeconds), align: 'right' },
    { title: 'for', value: waitOf },
    { title: 'transaction', value: (row) => shownSeconds(row.transactionSeconds), align: 'right' },
    { title: 'state', value: (row) => row.state ?? (row.isHidden ? 'not seen' : '') },
    {
      title: 'who',
      value: (row) => visible(`${row.user ?? row.backendType ?? ''} ${row.application ?? ''}`.trim()),
    },
    { title: 'statement', value: (row) => (row.isHidden ? 'not seen' : shownQuery(row.query)) },
  ],
  after: (rows) =>
    rows.flatMap(({ end }) =>
      end === null ? [] : [`${end.sql === null ? '' : `${visible(end.sql)}  `}-- ${visible(end.effect)}`],
    ),
});

/** "ShareLock on a row of table public.orders", and whom else it waits for. */
function waitOf({ depth, mode, target, alsoBehind }: LockNode): string {
  if (mode === null) return '';
  const others =
    alsoBehind.length === 0 ? '' : `; ${depth === 0 ? '' : 'also '}behind ${alsoBehind.join(', ')}`;
  return visible(`${mode} on ${target ?? ''}${others}`);
}
