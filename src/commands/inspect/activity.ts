import { firstOf, unseenSessions } from '../../inspect/look.ts';
import { listActivity, type ActivityRow } from '../../sql/inspect-activity.ts';
import { visible } from '../../sql/quote.ts';
import { defineInspection, shownQuery, shownSeconds } from './inspection.ts';

export const command = defineInspection<object, ActivityRow>({
  examples: [
    {
      command: 'dbops inspect activity',
      about: 'what runs, and what is idle in a transaction, longest first',
    },
    { command: 'dbops inspect activity --watch 5', about: 'again every five seconds; Ctrl-C ends it' },
  ],
  notes:
    'Sessions of all databases, without this one. Sessions that are idle outside of a transaction: inspect connections.',
  look: async ({ db, limit }) => ({
    ...firstOf(await listActivity(db, limit + 1), limit),
    unseen: await unseenSessions(db),
  }),
  nothing: 'no session that this role may see does anything',
  columns: [
    { title: 'pid', value: (row) => String(row.pid), align: 'right' },
    { title: 'transaction', value: (row) => shownSeconds(row.transactionSeconds), align: 'right' },
    { title: 'state', value: (row) => `${row.state} ${shownSeconds(row.stateSeconds)}` },
    { title: 'waits for', value: (row) => row.waitsFor ?? '' },
    {
      title: 'who',
      value: (row) => visible(`${row.user || row.backendType}@${row.database} ${row.application}`.trim()),
    },
    { title: 'statement', value: (row) => shownQuery(row.query) },
  ],
});
