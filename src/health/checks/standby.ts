import { humanBytes, humanSeconds } from '../../output/human.ts';
import { ident } from '../../sql/quote.ts';
import {
  recoveryConflicts,
  recoveryState,
  type ConflictsRow,
  type RecoveryRow,
} from '../../sql/health-replication.ts';
import { allWell, sqlCheck, type Check, type Look, type Observation } from '../check.ts';

const profiles = ['daily', 'weekly', 'monthly', 'deploy'] as const;
const notOnPrimary = 'this is a primary, which replays nothing';

/** What a standby says of itself. */
export const standby: Check[] = [
  sqlCheck<RecoveryRow>({
    id: 'replication.replay-delay',
    group: 'replication',
    answers: 'how old what this standby shows is',
    why: 'Readers of a standby see the past, and a failover waits until the rest is replayed.',
    advice: 'Look for long queries on this standby that hold replay up, and at its disk.',
    thresholds: { unit: 'seconds', worse: 'above', warn: 30, crit: 300 },
    source: 'warn: pgEdge, 30 s; crit: CloudNativePG, 300 s. recovery_min_apply_delay is taken off',
    notOnPrimary,
    profiles,
    question: recoveryState,
    judge: ([row]) => judgeDelay(rowOf(row)),
  }),
  sqlCheck<RecoveryRow>({
    id: 'replication.receiver',
    group: 'replication',
    answers: 'whether this standby receives WAL from its primary',
    why: 'A standby that receives nothing looks up to date by its own figures, and falls behind with every commit.',
    advice:
      'The log of this standby says why: the primary is gone, refuses the role, or has removed WAL that is still needed.',
    notOnPrimary,
    profiles,
    question: recoveryState,
    judge: ([row]) => judgeReceiver(rowOf(row)),
  }),
  sqlCheck<RecoveryRow>({
    id: 'replication.paused',
    group: 'replication',
    answers: 'whether the replay of this standby is paused',
    why: 'While it is paused WAL gathers on this standby until its disk is full.',
    advice: 'Let it go on once whoever paused it is done.',
    notOnPrimary,
    profiles,
    question: recoveryState,
    judge: ([row]) => {
      const { pauseState, pendingBytes } = rowOf(row);
      if (pauseState === 'not paused') return allWell('replay is not paused');
      const waiting = pendingBytes === null ? undefined : `${humanBytes(pendingBytes)} of WAL wait`;
      return {
        observations: [
          {
            object: null,
            value: 1,
            severity: 'warn',
            message: pauseState === 'paused' ? 'replay is paused' : 'a pause of replay was requested',
            detail: waiting,
            mend: 'select pg_wal_replay_resume();',
          },
        ],
        summary: '',
      };
    },
  }),
  sqlCheck<ConflictsRow>({
    id: 'replication.conflicts',
    group: 'replication',
    answers: 'how many queries a day this standby cancels because they stand in the way of replay',
    why: 'Their users see "canceling statement due to conflict with recovery" and have to try again.',
    advice:
      'Set hot_standby_feedback = on, which keeps dead rows on the primary for longer, or raise max_standby_streaming_delay.',
    thresholds: { unit: 'count', worse: 'above', warn: 10, crit: null },
    source: 'our own: CloudNativePG has 10 in all, which never resolves',
    notOnPrimary,
    profiles: ['daily', 'weekly', 'monthly'],
    isCounted: true,
    question: recoveryConflicts,
    judge: (rows) => ({
      // Of less than a day a rate says nothing yet.
      observations: rows.map((row) => ({
        object: row.database,
        value: row.conflicts / Math.max(1, row.days),
        message: `${String(row.conflicts)} queries were cancelled for replay in ${humanSeconds(row.days * 86_400)}`,
        detail: row.kinds === '' ? undefined : row.kinds,
      })),
      summary: `${String(rows.reduce((sum, row) => sum + row.conflicts, 0))} queries were cancelled for replay`,
    }),
  }),
];

function rowOf(row: RecoveryRow | undefined): RecoveryRow {
  if (row === undefined) throw new Error('the server answered with no row');
  return row;
}

/** On an idle primary the last commit grows old: what is received and replayed is no delay. */
function judgeDelay(row: RecoveryRow): Look {
  const { pendingBytes, secondsSinceReplay, wantedDelaySeconds, isReceiving } = row;
  const one = (value: number | null, message: string, rest: Partial<Observation> = {}): Look => ({
    observations: [{ object: null, value, message, ...rest }],
    summary: message,
  });
  if (pendingBytes === 0 && isReceiving) return one(0, 'everything that was received is replayed');
  if (secondsSinceReplay === null)
    return one(null, 'no commit was replayed since the start', {
      advice: 'Look again when the primary has written something.',
    });
  const seconds = Math.max(0, secondsSinceReplay - wantedDelaySeconds);
  const wanted =
    wantedDelaySeconds === 0
      ? undefined
      : `${humanSeconds(wantedDelaySeconds)} more are wanted by recovery_min_apply_delay`;
  if (isReceiving && pendingBytes !== null)
    return one(seconds, `what it shows is ${humanSeconds(seconds)} old, ${humanBytes(pendingBytes)} wait`, {
      detail: wanted,
    });
  return one(seconds, `the last commit that was replayed is ${humanSeconds(seconds)} old`, {
    detail: [
      'no WAL is received: whether the primary has written since cannot be told from here',
      ...(wanted === undefined ? [] : [wanted]),
    ].join('; '),
  });
}

function judgeReceiver({ isReceiving, hasPrimary, role }: RecoveryRow): Look {
  if (isReceiving) return allWell('WAL is received');
  const base = { object: null, value: null };
  if (hasPrimary === null)
    return {
      observations: [
        {
          ...base,
          message: 'no WAL is received, and whether it should be may not be read',
          advice: 'Give the role what it takes, as a superuser.',
          mend: `grant pg_read_all_settings to ${ident(role)};`,
        },
      ],
      summary: '',
    };
  if (!hasPrimary) return allWell('it has no primary to stream from: WAL comes from the archive');
  return {
    observations: [
      {
        ...base,
        severity: 'crit',
        message: 'no WAL is received, though there is a primary in primary_conninfo',
      },
    ],
    summary: '',
  };
}
