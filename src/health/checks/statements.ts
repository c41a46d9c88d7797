import { DbopsError } from '../../errors.ts';
import { humanCount, humanSeconds } from '../../output/human.ts';
import { sqlStateOf } from '../../pg/sqlstate.ts';
import { slowStatements, type SlowStatementRow, type StatementsRow } from '../../sql/health-statements.ts';
import { ident } from '../../sql/quote.ts';
import type { Check, CheckContext, Look, Observation } from '../check.ts';

const extension = 'pg_stat_statements';
/** Once a night is no habit, and a first call may have read all from disk. */
const leastCalls = 5;
const limit = 20;

const preload =
  'Add pg_stat_statements to shared_preload_libraries, restart the server, and create the extension in this database.';

export const statements: Check[] = [
  {
    id: 'statements.slow',
    group: 'statements',
    answers: `which statements take long on average, over at least ${String(leastCalls)} calls`,
    why: 'They hold connections, locks and the oldest snapshot for as long, and everybody else waits behind them.',
    advice:
      'Look at its plan with EXPLAIN (ANALYZE, BUFFERS): an index, fewer rows, or a replica for reports.',
    thresholds: { unit: 'seconds', worse: 'above', warn: 1, crit: 5 },
    source: 'warn: our own, 1 s, from which on a person notices; crit: pg-healthcheck, 5 s on average',
    privilege: ['pg_read_all_stats', 'pg_monitor'],
    profiles: ['daily', 'weekly', 'monthly'],
    asks: slowStatements('public', { least: 1, calls: leastCalls, limit }).text,
    look,
  },
];

async function look({ db, facts, floor, now }: CheckContext): Promise<Look> {
  const found = facts.extensions.find(({ name }) => name === extension);
  if (found === undefined)
    return unknown(`the extension ${extension} is not in database "${db.server.database}"`, {
      advice: preload,
      mend: `create extension ${extension};`,
    });
  if (!isNewEnough(found.version))
    return unknown(`the extension ${extension} is still of version ${found.version}, and it takes 1.9`, {
      advice: 'The server was upgraded and the extension was not.',
      mend: `alter extension ${extension} update;`,
    });
  try {
    const [row] = await db.query<StatementsRow>(
      slowStatements(found.schema, { least: floor, calls: leastCalls, limit }),
    );
    if (row === undefined) throw new Error('the server answered with no row');
    return judge(row, now);
  } catch (error) {
    if (!(error instanceof DbopsError)) throw error;
    const state = sqlStateOf(error);
    // The extension is there, and its library was not loaded when the server started.
    if (state === '55000')
      return unknown(`the library of ${extension} is not loaded: nothing is counted`, { advice: preload });
    if (state === '42501')
      return unknown(`role "${db.server.user}" may not use the schema "${found.schema}" of ${extension}`, {
        advice: 'Give the role what it takes, as the owner of the schema.',
        mend: `grant usage on schema ${ident(found.schema)} to ${ident(db.server.user)};`,
      });
    throw error;
  }
}

function unknown(message: string, rest: Pick<Observation, 'advice' | 'mend'>): Look {
  return { observations: [{ object: null, value: null, message, ...rest }], summary: message };
}

/** 1.9 came with PostgreSQL 14. */
function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 1 || (major === 1 && minor >= 9);
}

function judge({ counted, countedSince, evictions, slow }: StatementsRow, now: Date): Look {
  const seconds = Math.max(0, (now.getTime() - countedSince.getTime()) / 1000);
  const since = `counted for ${humanSeconds(seconds)}`;
  const evicted = evictions === 0 ? '' : `, the least used left out ${humanCount(evictions)} times`;
  return {
    observations: slow.map((row) => ({
      object: row.queryId,
      value: row.meanSeconds,
      message: messageOf(row),
      detail: `${since}${evicted}; role ${row.role}: ${row.text ?? 'its text may not be read'}`,
    })),
    summary: `${humanCount(counted)} statements, none slow; ${since}${evicted}`,
  };
}

function messageOf({ meanSeconds, maxSeconds, calls, share }: SlowStatementRow): string {
  return `takes ${humanSeconds(meanSeconds)} on average and at most ${humanSeconds(maxSeconds)}, in ${humanCount(calls)} calls: ${share.toFixed(0)} % of the time of all statements`;
}
