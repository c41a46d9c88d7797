import { connectionsUsed, type ConnectionsRow } from '../../sql/health-connections.ts';
import { sqlCheck, type Check } from '../check.ts';

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
];
