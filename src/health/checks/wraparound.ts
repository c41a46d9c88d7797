import { humanCount } from '../../output/human.ts';
import { shellWord } from '../../output/shell-word.ts';
import {
  databaseAges,
  tableAges,
  type DatabaseAgesRow,
  type TableAgesRow,
} from '../../sql/health-wraparound.ts';
import { displayName } from '../../sql/quote.ts';
import { sqlCheck, type Check, type Observation } from '../check.ts';

/** Where ids begin anew. */
const horizon = 2 ** 31;

/** So far beyond its limit a vacuum that is at work is not enough any more. */
const vacuumingPercent = 200;

const privilege = ['pg_read_all_stats', 'pg_monitor'];
const profiles = ['daily', 'weekly', 'monthly', 'deploy'] as const;

const why =
  'PostgreSQL stops taking writes, of the whole server, when the oldest id of any database comes near 2^31, so that no row is lost.';
const advice =
  'Look who holds the oldest snapshot (a long transaction, a prepared one, a slot), end it, and vacuum what is oldest.';

interface Age {
  /** "transaction id" or "multixact id". */
  of: string;
  age: number;
  limit: number;
  failsafe: number;
}

function agesOf(row: DatabaseAgesRow | TableAgesRow): Age[] {
  return [
    { of: 'transaction id', age: row.xidAge, limit: row.freezeMaxAge, failsafe: row.failsafeAge },
    {
      of: 'multixact id',
      age: row.multixactAge,
      limit: row.multixactFreezeMaxAge,
      failsafe: row.multixactFailsafeAge,
    },
  ];
}

/** What there is to say of a database that this session is not in. */
function placeOf({ isThis, allowsConnections }: DatabaseAgesRow): string[] {
  if (isThis) return [];
  return [
    allowsConnections
      ? 'vacuum it in a session of that database'
      : 'it allows no connections, so only autovacuum comes there',
  ];
}

/** Whether autovacuum keeps up with the one of a table or a database that is further beyond its limit. */
function race(
  row: DatabaseAgesRow | TableAgesRow,
  vacuums: number,
): Pick<Observation, 'value' | 'message' | 'severity'> {
  const [xid, multixact] = agesOf(row) as [Age, Age];
  const worst = xid.age / xid.limit >= multixact.age / multixact.limit ? xid : multixact;
  const value = (worst.age / worst.limit) * 100;
  const message = `its oldest ${worst.of} is ${humanCount(worst.age)} old, ${String(Math.round(value))} % of the age at which freezing is forced, and ${vacuums > 0 ? 'it is being vacuumed' : 'no vacuum is at work'}`;
  const isBeyondAll = worst.age >= worst.failsafe;
  const isKeepingUp = vacuums > 0 && value < vacuumingPercent;
  return { value, message, severity: isBeyondAll ? 'crit' : isKeepingUp ? 'ok' : undefined };
}

export const wraparound: Check[] = [
  sqlCheck<DatabaseAgesRow>({
    id: 'wraparound.databases',
    group: 'wraparound',
    answers: 'how near each database, templates included, is to the end of transaction ids and multixact ids',
    why,
    advice,
    thresholds: { unit: 'percent', worse: 'above', warn: 50, crit: 75 },
    source:
      'pgmonitor, 50 % and 75 % of 2^31; from vacuum_failsafe_age on (75 % by default), where VACUUM does nothing but freeze, always crit',
    privilege,
    profiles,
    question: databaseAges,
    judge: (rows) => {
      const observations = rows.flatMap((row) =>
        agesOf(row).map(({ of, age, failsafe }): Observation => ({
          object: row.database,
          value: (age / horizon) * 100,
          message: `its oldest ${of} is ${humanCount(age)} old, of ${humanCount(horizon)}`,
          detail: [`VACUUM does nothing but freeze from ${humanCount(failsafe)} on`, ...placeOf(row)].join(
            '; ',
          ),
          severity: age >= failsafe ? 'crit' : undefined,
          mend: row.isThis ? 'dbops maintenance vacuum' : undefined,
        })),
      );
      const worst = Math.max(...observations.map(({ value }) => value ?? 0));
      return {
        observations,
        summary: `${String(rows.length)} databases, the oldest at ${worst.toFixed(1)} % of the horizon`,
      };
    },
  }),
  sqlCheck<DatabaseAgesRow>({
    id: 'wraparound.race',
    group: 'wraparound',
    answers: 'whether autovacuum is losing the race against the age of a database',
    why: 'Beyond autovacuum_freeze_max_age autovacuum freezes at once. A database that stays beyond it with no vacuum at work is held back by something.',
    advice,
    thresholds: { unit: 'percent', worse: 'above', warn: 110, crit: null },
    source:
      'pgmonitor, 110 % of autovacuum_freeze_max_age; below 200 % a vacuum at work is taken for keeping up; crit from vacuum_failsafe_age on',
    privilege,
    notOnStandby: 'the primary vacuums',
    profiles,
    question: databaseAges,
    judge: (rows) => ({
      observations: rows.map((row) => ({
        object: row.database,
        ...race(row, row.vacuums),
        detail: placeOf(row).join('') || undefined,
        mend: row.isThis ? 'dbops maintenance vacuum' : undefined,
      })),
      summary: `${String(rows.length)} databases, none beyond its limit without a vacuum at work`,
    }),
  }),
  sqlCheck<TableAgesRow>({
    id: 'wraparound.tables',
    group: 'wraparound',
    answers:
      'which tables of this database, with TOAST and materialized views, are beyond the age at which they are frozen',
    why: 'The oldest table is what holds its database back, and the database holds back the server.',
    advice,
    thresholds: { unit: 'percent', worse: 'above', warn: 110, crit: null },
    source:
      'pgmonitor, 110 % of autovacuum_freeze_max_age or of what the table has of its own; crit from vacuum_failsafe_age on',
    privilege,
    notOnStandby: 'the primary vacuums',
    profiles,
    question: ({ server, floor }) => tableAges(server.versionNum, floor),
    judge: (rows) => ({
      observations: rows.map((row) => ({
        object: displayName({ schema: row.schema, name: row.table }),
        ...race(row, row.isBeingVacuumed ? 1 : 0),
        detail:
          row.total > rows.length ? `one of ${String(row.total)} tables; the oldest are shown` : undefined,
        advice: row.isTemporary
          ? 'It is a temporary table, which no other session can vacuum: end the session that it belongs to, or drop it.'
          : undefined,
        mend: row.isTemporary
          ? undefined
          : `dbops maintenance vacuum --table ${shellWord(displayName({ schema: row.schema, name: row.table }))}`,
      })),
      summary: 'no table is beyond the age at which it is frozen without a vacuum at work',
    }),
  }),
];
