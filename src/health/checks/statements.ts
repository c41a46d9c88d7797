import { findStatements, statementsPause, type StatementsObstacle } from '../../inspect/statements.ts';
import { humanCount, humanSeconds } from '../../output/human.ts';
import { slowStatements, type SlowStatementRow, type StatementsRow } from '../../sql/health-statements.ts';
import { statementsFacts, type StatementsFacts } from '../../sql/statements-facts.ts';
import type { Check, CheckContext, Look } from '../check.ts';

/** Once a night is no habit, and a first call may have read all from disk. */
const leastCalls = 5;
const limit = 20;

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

async function look({ db, floor, now }: CheckContext): Promise<Look> {
  const [facts] = await db.query<StatementsFacts>(statementsFacts());
  if (facts === undefined) throw new Error('the server answered with no row');
  const found = findStatements(facts, db.server);
  if ('message' in found) return unknown(found);
  const pause = statementsPause(facts);
  if (pause !== undefined) return unknown(pause);
  const [row] = await db.query<StatementsRow>(
    slowStatements(found.schema, { least: floor, calls: leastCalls, limit }),
  );
  if (row === undefined) throw new Error('the server answered with no row');
  return judge(row, now);
}

function unknown({ message, advice, load, mend }: StatementsObstacle): Look {
  const observation = { object: null, value: null, message, advice, mend: mend ?? load ?? undefined };
  return { observations: [observation], summary: message };
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
