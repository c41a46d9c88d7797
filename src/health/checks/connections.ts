import {
  connectionsOfDatabases,
  connectionsOfRoles,
  connectionsUsed,
  type ConnectionLimitRow,
  type ConnectionsRow,
} from '../../sql/health-connections.ts';
import { allWell, sqlCheck, type Check, type Look } from '../check.ts';

export const connections: Check[] = [
  sqlCheck<ConnectionsRow>({
    id: 'connections.used',
    group: 'connections',
    answers: 'how many of the connections that applications can have are taken',
    why: 'When the last one is taken, every new session of an application fails with "too many clients already".',
    advice: 'Put a pooler between, close what is idle, or raise max_connections, which takes a restart.',
    thresholds: { unit: 'percent', worse: 'above', warn: 80, crit: 90 },
    source:
      'warn: 80 % of max_connections without the reserved ones (PostgreSQL mixin, pgEdge); crit: check_postgres.',
    privilege: ['pg_read_all_stats', 'pg_monitor'],
    profiles: ['daily', 'weekly', 'monthly', 'deploy'],
    question: connectionsUsed,
    judge: ([row]) => {
      if (row === undefined) throw new Error('the server answered with no row');
      const value = (row.used / Math.max(1, row.available)) * 100;
      const message = `${String(row.used)} of ${String(row.available)} connections are taken`;
      const detail = `${String(row.active)} active, ${String(row.idle)} idle, ${String(row.idleInTransaction)} idle in transaction`;
      return {
        observations: [{ object: null, value, message, detail, mend: 'dbops inspect connections' }],
        summary: message,
      };
    },
  }),
  sqlCheck<ConnectionLimitRow>({
    id: 'connections.role-limit',
    group: 'connections',
    answers: 'how many of its own connections each role with a limit has taken',
    why: 'A role at its limit gets no further session while the server still has room, so connections.used does not show it.',
    advice: 'Close what is idle, or raise the limit of the role.',
    thresholds: { unit: 'percent', worse: 'above', warn: 80, crit: 90 },
    source: 'as connections.used: the last one taken means the same to the role.',
    privilege: ['pg_read_all_stats', 'pg_monitor'],
    profiles: ['daily', 'weekly', 'monthly', 'deploy'],
    question: connectionsOfRoles,
    judge: (rows, { floor }) => judgeLimits('role', rows, floor),
  }),
  sqlCheck<ConnectionLimitRow>({
    id: 'connections.database-limit',
    group: 'connections',
    answers: 'how many of its own connections each database with a limit has taken',
    why: 'A database at its limit takes no further session while the server still has room, so connections.used does not show it.',
    advice: 'Close what is idle, or raise the limit of the database.',
    thresholds: { unit: 'percent', worse: 'above', warn: 80, crit: 90 },
    source: 'as connections.used: the last one taken means the same to the database.',
    privilege: ['pg_read_all_stats', 'pg_monitor'],
    profiles: ['daily', 'weekly', 'monthly', 'deploy'],
    question: connectionsOfDatabases,
    judge: (rows, { floor }) => judgeLimits('database', rows, floor),
  }),
];

function judgeLimits(kind: 'role' | 'database', rows: ConnectionLimitRow[], floor: number): Look {
  const shares = rows.map((row) => ({ ...row, value: (row.used / row.limit) * 100 }));
  const worst = shares.toSorted((a, b) => b.value - a.value)[0];
  if (worst === undefined) return allWell(`no ${kind} has a limit`);
  return {
    observations: shares
      .filter(({ value }) => value >= floor)
      .map(({ name, used, limit, value }) => ({
        object: name,
        value,
        message: `${kind} "${name}" has ${String(used)} of its ${String(limit)} connections`,
        mend: 'dbops inspect connections',
      })),
    summary: `${String(rows.length)} with a limit, the worst is ${kind} "${worst.name}" with ${String(worst.used)} of ${String(worst.limit)}`,
  };
}
