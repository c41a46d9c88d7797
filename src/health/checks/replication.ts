import { humanBytes, humanSeconds } from '../../output/human.ts';
import {
  standbys,
  synchronousStandbys,
  type StandbyRow,
  type SynchronousRow,
} from '../../sql/health-replication.ts';
import { allWell, sqlCheck, type Check } from '../check.ts';

const privilege = ['pg_read_all_stats', 'pg_monitor'];
const profiles = ['daily', 'weekly', 'monthly', 'deploy'] as const;
const nobody = 'nobody streams from this server';

const countOf = (rows: StandbyRow[]) =>
  rows.length === 1 ? `1 standby (${rows[0]?.name ?? ''})` : `${String(rows.length)} standbys`;

const stateOf = ({ state, syncState }: StandbyRow) => `${state}, ${syncState}`;

/** What a server says of those that stream from it. */
export const replication: Check[] = [
  sqlCheck<StandbyRow>({
    id: 'replication.lag-bytes',
    group: 'replication',
    answers: 'how much WAL each standby has yet to replay',
    why: 'What a standby has not received is lost with the primary, and what it has not replayed its readers do not see.',
    advice:
      'Look at the network, at the disk of the standby, and whether a long query there holds replay up (max_standby_streaming_delay).',
    thresholds: { unit: 'bytes', worse: 'above', warn: 100 * 1024 ** 2, crit: 1024 ** 3 },
    source: 'warn: pgmonitor and pgEdge, 100 MB; crit: PostgreSQL mixin, 1 GB',
    privilege,
    profiles,
    question: standbys,
    judge: (rows) => ({
      observations: rows.map((row) => ({
        object: row.name,
        value: row.lagBytes,
        message:
          row.lagBytes === null
            ? 'has not said how far it is'
            : `is ${humanBytes(row.lagBytes)} of WAL behind`,
        detail: stateOf(row),
      })),
      summary:
        rows.length === 0
          ? nobody
          : `${countOf(rows)}, at most ${humanBytes(Math.max(...rows.map((row) => row.lagBytes ?? 0)))} behind`,
    }),
  }),
  sqlCheck<StandbyRow>({
    id: 'replication.lag-seconds',
    group: 'replication',
    answers: 'how long a commit takes until each standby has replayed it',
    why: 'Whoever reads from a standby reads what was true so long ago, and a failover takes so long.',
    advice:
      'Look at the network, at the disk of the standby, and whether a long query there holds replay up (max_standby_streaming_delay).',
    thresholds: { unit: 'seconds', worse: 'above', warn: 30, crit: 300 },
    source: 'warn: pgEdge, 30 s; crit: CloudNativePG, 300 s',
    privilege,
    profiles,
    question: standbys,
    judge: (rows) => {
      const lags = rows.map((row) => ({ row, seconds: secondsOf(row) }));
      return {
        observations: lags.map(({ row, seconds }) => ({
          object: row.name,
          value: seconds,
          message:
            seconds === null
              ? 'no commit was measured since it connected, and it is behind'
              : `replays a commit ${humanSeconds(seconds)} after it was made`,
          detail: stateOf(row),
        })),
        summary:
          rows.length === 0
            ? nobody
            : `${countOf(rows)}, at most ${humanSeconds(Math.max(...lags.map(({ seconds }) => seconds ?? 0)))} behind`,
      };
    },
  }),
  sqlCheck<SynchronousRow>({
    id: 'replication.synchronous',
    group: 'replication',
    answers: 'whether as many standbys are there as commits wait for',
    why: 'With fewer than synchronous_standby_names asks for every commit waits for ever, and cannot be told from a hang.',
    advice:
      'Bring the standby back; until then "alter system set synchronous_standby_names = \'\'" and a reload let commits go on.',
    privilege,
    notOnStandby: 'a standby commits nothing',
    profiles,
    question: synchronousStandbys,
    judge: ([row]) => {
      if (row === undefined) throw new Error('the server answered with no row');
      if (row.names === '') return { observations: [], summary: 'commits wait for no standby' };
      const needed = synchronousCount(row.names);
      const summary = `${String(row.present)} of "${row.names}" are there, and commits wait for ${String(needed)}`;
      if (row.present >= needed) return allWell(summary);
      const present = row.present === 0 ? 'none of them is' : `only ${String(row.present)} are`;
      return {
        observations: [
          {
            object: null,
            value: row.present,
            severity: 'crit',
            message: `commits wait for ${String(needed)} of "${row.names}", and ${present} connected`,
          },
        ],
        summary,
      };
    },
  }),
];

/** How many standbys each commit waits for: "FIRST 2 (a, b)", "ANY 2 (a, b, c)", "2 (a, b)"; a bare list is one. Pure. */
function synchronousCount(names: string): number {
  const count = /^\s*(?:(?:first|any)\s+)?(\d+)\s*\(/i.exec(names)?.[1];
  return count === undefined ? 1 : Number(count);
}

/**
 * Null where it is behind and was never measured. An idle standby has no measure, and a few bytes of checkpoints and of
 * running transactions are no delay: they are no commits.
 */
function secondsOf({ lagBytes, lagSeconds, walSegmentBytes }: StandbyRow): number | null {
  if (lagBytes === null) return null;
  if (lagBytes === 0) return 0;
  if (lagSeconds !== null) return lagSeconds;
  return lagBytes < walSegmentBytes ? 0 : null;
}
