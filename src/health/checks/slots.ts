import { humanBytes, humanSeconds } from '../../output/human.ts';
import { replicationSlots, type SlotRow } from '../../sql/health-replication.ts';
import { literal } from '../../sql/quote.ts';
import { sqlCheck, type Check } from '../check.ts';

const profiles = ['daily', 'weekly', 'monthly', 'deploy'] as const;

const countOf = (rows: SlotRow[]) =>
  `${String(rows.length)} replication ${rows.length === 1 ? 'slot' : 'slots'}`;

const kindOf = ({ type, database }: SlotRow) =>
  database === null ? type : `${type} in database "${database}"`;

const drop = (row: SlotRow) => `select pg_drop_replication_slot(${literal(row.name)});`;

/** Replication slots: each keeps WAL until somebody reads it. */
export const slots: Check[] = [
  sqlCheck<SlotRow>({
    id: 'replication.slots-inactive',
    group: 'replication',
    answers: 'for how long replication slots have had no reader',
    why: 'A slot that nobody reads keeps WAL until the disk is full, and dead rows that VACUUM may not remove.',
    advice:
      'Start what reads it. Drop it only when nothing will: whoever comes back then has to be copied anew.',
    thresholds: { unit: 'seconds', worse: 'above', warn: 300, crit: 1800 },
    source:
      'crit: PostgreSQL mixin, 30 min; warn: our own, so that a restart is no finding. Before PostgreSQL 17 nothing says since when: warn at once',
    profiles,
    question: replicationSlots,
    judge: (rows) => {
      const idle = rows.filter((row) => !row.isActive && !row.isSynced && row.isHolding && !isLost(row));
      return {
        observations: idle.map((row) => ({
          object: row.name,
          value: row.inactiveSeconds,
          severity: row.inactiveSeconds === null ? 'warn' : undefined,
          message:
            row.inactiveSeconds === null
              ? 'nobody reads it; since when, only PostgreSQL 17 and later tell'
              : `nobody has read it for ${humanSeconds(row.inactiveSeconds)}`,
          detail: `${kindOf(row)}${row.retainedBytes === null ? '' : `, keeps ${humanBytes(row.retainedBytes)} of WAL`}`,
          mend: drop(row),
        })),
        summary:
          idle.length === 0
            ? `${countOf(rows)}, none without a reader`
            : `${countOf(rows)}, none without a reader for long`,
      };
    },
  }),
  sqlCheck<SlotRow>({
    id: 'replication.slots-retained',
    group: 'replication',
    answers: 'how much WAL each replication slot keeps',
    why: 'WAL that a slot keeps is not removed, whatever max_wal_size says; a full disk stops the server.',
    advice:
      'Find out why its reader is behind or gone; max_slot_wal_keep_size sets a bound, beyond which the slot is lost.',
    thresholds: { unit: 'bytes', worse: 'above', warn: 1024 ** 3, crit: 10 * 1024 ** 3 },
    source: 'warn: pgEdge, 1 GB; crit: our own, ten times that',
    profiles,
    question: replicationSlots,
    judge: (rows) => {
      const keeping = rows.filter((row) => row.retainedBytes !== null && !isLost(row));
      return {
        observations: keeping.map((row) => ({
          object: row.name,
          value: row.retainedBytes,
          message: `keeps ${humanBytes(row.retainedBytes ?? 0)} of WAL`,
          detail: `${kindOf(row)}, ${row.isActive ? 'is read' : 'nobody reads it'}${row.safeBytes === null ? '' : `; is lost after ${humanBytes(Math.max(0, row.safeBytes))} more`}`,
        })),
        summary: `${countOf(rows)}, at most ${humanBytes(Math.max(0, ...keeping.map((row) => row.retainedBytes ?? 0)))} of WAL kept`,
      };
    },
  }),
  sqlCheck<SlotRow>({
    id: 'replication.slots-lost',
    group: 'replication',
    answers: 'whether the WAL that a replication slot needs is gone or about to go',
    why: 'What reads a lost slot cannot go on: a standby has to be copied anew, and a subscription misses changes.',
    advice: 'Bring its reader up before the next checkpoint, or raise max_slot_wal_keep_size.',
    profiles,
    question: replicationSlots,
    judge: (rows) => ({
      observations: rows
        .filter((row) => isLost(row) || row.walStatus === 'unreserved')
        .map((row) =>
          isLost(row)
            ? {
                object: row.name,
                value: 1,
                severity: 'crit' as const,
                message: `it is lost: ${row.invalidReason ?? 'the WAL that it needs was removed'}`,
                detail: kindOf(row),
                advice: 'Copy its standby or its subscription anew, and drop the slot.',
                mend: drop(row),
              }
            : {
                object: row.name,
                value: 1,
                severity: 'warn' as const,
                message: 'the next checkpoint may remove WAL that it needs',
                detail: kindOf(row),
              },
        ),
      summary:
        rows.length === 0
          ? 'there are no replication slots'
          : `${countOf(rows)}, all with the WAL that they need`,
    }),
  }),
];

function isLost({ walStatus, invalidReason }: SlotRow): boolean {
  return walStatus === 'lost' || invalidReason !== null;
}
