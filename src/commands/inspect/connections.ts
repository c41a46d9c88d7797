import { firstOf, unseenSessions } from '../../inspect/look.ts';
import { connectionsUsed, type ConnectionsRow } from '../../sql/health-connections.ts';
import { listConnectionGroups, type ConnectionGroupRow } from '../../sql/inspect-activity.ts';
import { askQuickly } from '../../sql/quick.ts';
import { visible } from '../../sql/quote.ts';
import { defineInspection, shownSeconds } from './inspection.ts';

export const command = defineInspection<object, ConnectionGroupRow>({
  examples: [
    { command: 'dbops inspect connections', about: 'who takes the connections, and what they do with them' },
    { command: 'dbops inspect connections --json', about: 'the same for programs' },
  ],
  look: async ({ db, limit }) => {
    const { rows, notes } = firstOf(await listConnectionGroups(db, limit + 1), limit);
    const unseen = await unseenSessions(db);
    const [used] = unseen.length > 0 ? [] : await askQuickly<ConnectionsRow>(db, connectionsUsed());
    if (used !== undefined)
      notes.push(`${String(used.used)} of ${String(used.available)} connections are taken`);
    return { rows, notes, unseen };
  },
  nothing: 'there is no session',
  columns: [
    { title: 'database', value: (row) => visible(row.database) },
    { title: 'role', value: (row) => visible(row.user) },
    { title: 'application', value: (row) => visible(row.application) },
    { title: 'from', value: (row) => row.client ?? (row.hidden > 0 ? 'not seen' : 'socket') },
    { title: 'sessions', value: (row) => String(row.sessions), align: 'right' },
    { title: 'active', value: (row) => known(row, row.active), align: 'right' },
    { title: 'idle', value: (row) => known(row, row.idle), align: 'right' },
    { title: 'in transaction', value: (row) => known(row, row.idleInTransaction), align: 'right' },
    {
      title: 'longest idle',
      value: (row) => shownSeconds(row.longestIdleSeconds),
      align: 'right',
    },
  ],
});

/** A count of states that were not seen would be a lie. */
function known(row: ConnectionGroupRow, count: number): string {
  return row.hidden > 0 ? '?' : String(count);
}
