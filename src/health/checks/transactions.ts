import {
  idleTransactions,
  openTransactions,
  preparedTransactions,
  xminHolders,
  type OpenTransactionRow,
  type PreparedTransactionRow,
  type XminHolderRow,
} from '../../sql/health-transactions.ts';
import { humanCount, humanSeconds } from '../../output/human.ts';
import { literal } from '../../sql/quote.ts';
import { sqlCheck, type Check, type Look, type Observation } from '../check.ts';
import { oneLine, sessionObject, sessionObjects } from '../sessions.ts';

const profiles = ['daily', 'weekly', 'monthly', 'deploy'] as const;
const privilege = ['pg_read_all_stats', 'pg_monitor'];

export const transactions: Check[] = [
  sqlCheck<OpenTransactionRow>({
    id: 'transactions.long',
    group: 'transactions',
    answers: 'how long the oldest transactions have been open',
    why: 'While a transaction is open, VACUUM keeps every row that died since it began, and what it has locked stays locked: a change of a table waits behind it, and everybody else behind that.',
    advice: `End it where it has been forgotten, and do long work in smaller parts. ${sessionObjects}`,
    thresholds: { unit: 'seconds', worse: 'above', warn: 600, crit: 43_200 },
    source: 'warn: 10 min (pgEdge); crit: 12 h, from where on pgmonitor warns.',
    privilege,
    profiles,
    question: openTransactions,
    judge: (rows, { floor }) =>
      judgeSessions(rows, floor, {
        message: ({ ageSeconds, state }) =>
          `a transaction has been open for ${humanSeconds(ageSeconds)}; its session is ${state ?? 'in no known state'}`,
        summary: (count, oldest) => `${String(count)} open transactions, the oldest for ${oldest}`,
        none: 'no transaction is open',
      }),
  }),
  sqlCheck<OpenTransactionRow>({
    id: 'transactions.idle',
    group: 'transactions',
    answers: 'how long sessions have done nothing within an open transaction',
    why: 'The application has forgotten to commit or waits for something else, and what it has locked and what VACUUM must keep for it stays meanwhile.',
    advice: `Mend the application; idle_in_transaction_session_timeout ends such sessions by itself. ${sessionObjects}`,
    thresholds: { unit: 'seconds', worse: 'above', warn: 300, crit: 900 },
    source: 'warn: 5 min (pgmonitor, pgEdge); crit: 15 min (pgmonitor).',
    privilege,
    profiles,
    question: idleTransactions,
    judge: (rows, { floor }) =>
      judgeSessions(rows, floor, {
        message: ({ ageSeconds, state }) => `${state ?? 'idle'} for ${humanSeconds(ageSeconds)}`,
        summary: (count, oldest) => `${String(count)} idle in transaction, the longest for ${oldest}`,
        none: 'no session is idle in a transaction',
      }),
  }),
  sqlCheck<PreparedTransactionRow>({
    id: 'transactions.prepared',
    group: 'transactions',
    answers: 'how long prepared transactions have waited for their end',
    why: 'A prepared transaction outlives its session and a restart: it holds its locks and the horizon of VACUUM until somebody ends it.',
    advice: 'Ask what prepared it for its outcome, and end it with COMMIT PREPARED or ROLLBACK PREPARED.',
    thresholds: { unit: 'seconds', worse: 'above', warn: 300, crit: 3600 },
    source:
      'warn: as a session idle in transaction (pgmonitor), crit: likewise (pganalyze); check_postgres takes 1 s and 30 s, which busy coordinators pass.',
    notOnStandby: 'only a primary shows prepared transactions',
    profiles,
    question: preparedTransactions,
    judge: (rows, { floor }) => ({
      observations: rows.filter(({ ageSeconds }) => ageSeconds >= floor).map(observePrepared),
      summary:
        rows[0] === undefined
          ? 'no transaction is prepared'
          : `${String(rows.length)} prepared, the oldest for ${humanSeconds(rows[0].ageSeconds)}`,
    }),
  }),
  sqlCheck<XminHolderRow>({
    id: 'transactions.oldest-xmin',
    group: 'transactions',
    answers: 'who keeps VACUUM from removing dead rows, and for how many transactions already',
    why: 'VACUUM removes nothing that somebody may still see. Tables grow, and nothing is frozen, until the holder is gone, however often VACUUM runs.',
    advice: 'End the holder: VACUUM cannot help while it is there.',
    thresholds: { unit: 'count', worse: 'above', warn: 50_000_000, crit: 200_000_000 },
    source:
      'warn: the default of vacuum_freeze_min_age, from where on rows should be frozen and cannot be; crit: that of autovacuum_freeze_max_age, from where on autovacuum is forced to try in vain.',
    privilege,
    profiles: ['daily', 'weekly', 'monthly'],
    question: xminHolders,
    judge: (rows, { floor }) => {
      const [oldest] = rows;
      if (oldest === undefined) return { observations: [], summary: 'nobody holds the horizon back' };
      const beyond = rows.filter(({ age }) => age >= floor).map(observeHolder);
      const summary = `held back by ${humanCount(oldest.age)} transactions, by ${oldest.kind} ${oldest.name}`;
      const oldestAlone = { object: null, value: oldest.age, message: summary };
      return { observations: beyond.length > 0 ? beyond : [oldestAlone], summary };
    },
  }),
];

interface SessionWords {
  message: (row: OpenTransactionRow & { ageSeconds: number }) => string;
  summary: (count: number, oldest: string) => string;
  none: string;
}

/** Each session beyond the floor; the oldest as a bare number where there is none. */
function judgeSessions(rows: OpenTransactionRow[], floor: number, words: SessionWords): Look {
  const known = rows.flatMap((row) =>
    row.ageSeconds === null ? [] : [{ ...row, ageSeconds: row.ageSeconds }],
  );
  const silent = rows.length - known.length;
  const [oldest] = known;
  const summary =
    oldest === undefined ? words.none : words.summary(known.length, humanSeconds(oldest.ageSeconds));
  const observations = known
    .filter(({ ageSeconds }) => ageSeconds >= floor)
    .map((row): Observation => ({
      object: sessionObject(row),
      value: row.ageSeconds,
      message: words.message(row),
      detail: `in database ${row.database ?? ''}, last statement: ${oneLine(row.query)}`,
      // A statement that runs can be ended without its session.
      mend: `select ${row.state === 'active' ? 'pg_cancel_backend' : 'pg_terminate_backend'}(${String(row.pid)});`,
    }));
  if (silent > 0)
    observations.push({
      object: null,
      value: null,
      message: `${String(silent)} sessions do not say what they do: track_activities is off for them`,
      advice: 'Switch it on, for the server and for every role and database that has it off.',
      mend: 'alter system set track_activities = on;',
    });
  if (observations.length === 0)
    observations.push({ object: null, value: oldest?.ageSeconds ?? 0, message: summary });
  return { observations, summary };
}

function observePrepared({ gid, owner, database, ageSeconds }: PreparedTransactionRow): Observation {
  const text = literal(gid).trim();
  return {
    object: gid,
    value: ageSeconds,
    message: `prepared ${humanSeconds(ageSeconds)} ago and not ended`,
    detail: `by role ${owner} in database ${database}`,
    advice: `Ask what prepared it for its outcome. Then, in database "${database}": commit prepared ${text}; or: rollback prepared ${text};`,
  };
}

function observeHolder({ kind, name, pid, database, age, isCatalogOnly }: XminHolderRow): Observation {
  const advice = {
    session: undefined,
    'prepared transaction': 'End it with COMMIT PREPARED or ROLLBACK PREPARED, as its coordinator says.',
    slot: 'Let its consumer catch up, or drop the slot where nobody needs it any more.',
    standby: 'End the long query on the standby, or switch hot_standby_feedback off there.',
  };
  return {
    object: `${kind} ${name}`,
    value: age,
    message: `keeps ${isCatalogOnly ? 'dead rows of system catalogs' : 'dead rows'} of the last ${humanCount(age)} transactions`,
    detail: database === null ? undefined : `in database ${database}`,
    advice: advice[kind],
    // What drops a slot is not shown as a line to copy: a standby that comes back would have to be built anew.
    mend: kind === 'session' ? `select pg_terminate_backend(${String(pid)});` : undefined,
  };
}
