import { lookAtLocks, type LockNode } from '../../inspect/locks.ts';
import { humanSeconds } from '../../output/human.ts';
import { visible } from '../../sql/quote.ts';
import { defineInspection, shownQuery } from './inspection.ts';

export const command = defineInspection<object, LockNode>({
  examples: [
    { command: 'dbops inspect locks', about: 'who waits for whom, those that hold everybody up first' },
    { command: 'dbops inspect locks --watch', about: 'again every two seconds' },
  ],
  notes: 'Says what would end the wait and what that costs; ends nothing itself.',
  look: lookAtLocks,
  nothing: 'nobody waits for a lock',
  columns: [
    {
      title: 'pid',
      value: (row) =>
        `${'  '.repeat(row.depth)}${row.depth > 0 ? '└ ' : ''}${row.pid === null ? 'prepared' : String(row.pid)}`,
    },
    {
      title: 'waits',
      value: (row) => (row.waitSeconds === null ? '' : humanSeconds(Math.max(0, row.waitSeconds))),
      align: 'right',
    },
    { title: 'for', value: waitOf },
    {
      title: 'transaction',
      value: (row) =>
        row.transactionSeconds === null ? '' : humanSeconds(Math.max(0, row.transactionSeconds)),
      align: 'right',
    },
    { title: 'state', value: (row) => row.state ?? (row.isHidden ? 'not seen' : '') },
    { title: 'who', value: (row) => visible(`${row.user} ${row.application}`.trim()) },
    { title: 'statement', value: (row) => (row.isHidden ? 'not seen' : shownQuery(row.query)) },
  ],
  after: (rows) =>
    rows.flatMap(({ end }) => (end === null ? [] : [`${visible(end.sql)}  -- ${visible(end.effect)}`])),
});

/** "ShareLock on a row of public.orders", and whom else it waits for. */
function waitOf({ depth, waitMode, waitKind, table, alsoBlockedBy }: LockNode): string {
  if (waitMode === null) return '';
  const thing =
    table === null
      ? `a ${waitKind ?? 'lock'}`
      : waitKind === 'relation'
        ? table
        : `a ${waitKind === 'tuple' || waitKind === 'transactionid' ? 'row' : (waitKind ?? 'part')} of ${table}`;
  const others =
    alsoBlockedBy.length === 0 ? '' : `; ${depth === 0 ? '' : 'also '}behind ${alsoBlockedBy.join(', ')}`;
  return visible(`${waitMode} on ${thing}${others}`);
}
