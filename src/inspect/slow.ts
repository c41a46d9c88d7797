import { humanCount } from '../output/human.ts';
import type { Db } from '../pg/connection.ts';
import {
  findStatementsInfo,
  listStatements,
  type StatementOrder,
  type StatementRow,
  type StatementsInfoRow,
} from '../sql/inspect-statements.ts';
import { askQuickly } from '../sql/quick.ts';
import { statementsFacts, type StatementsFacts } from '../sql/statements-facts.ts';
import { sinceNote } from './counted.ts';
import { firstOf, grantStats, type Look } from './look.ts';
import { findStatements, statementsPause, type StatementsObstacle } from './statements.ts';

/** The costliest statements, with since when they count: figures without that mislead. */
export async function lookAtStatements(
  db: Db,
  { sort, limit, now }: { sort: StatementOrder; limit: number; now: Date },
): Promise<Look<StatementRow>> {
  const [facts] = await askQuickly<StatementsFacts>(db, statementsFacts());
  if (facts === undefined) throw new Error('the server answered with no row');
  const found = findStatements(facts, db.server);
  if ('message' in found) return { rows: [], notes: [], unseen: [], missing: stepsOf(found) };
  const { schema } = found;
  const info = await findStatementsInfo(db, schema);
  const { rows, notes } = firstOf(await listStatements(db, schema, sort, limit + 1), limit);
  const hidden = rows.filter(({ isHidden }) => isHidden).length;
  const pause = statementsPause(facts);
  return {
    rows,
    notes: info === undefined ? notes : [...notes, countedNote(info, now)],
    unseen: [
      ...(pause === undefined ? [] : [`${pause.message}: ${pause.mend ?? ''}`]),
      ...(hidden === 0
        ? []
        : [
            `the texts of ${humanCount(hidden)} statements of other roles may not be seen by role "${db.server.user}": ${grantStats(db.server.user)}`,
          ]),
    ],
  };
}

function stepsOf({ message, advice, load, mend }: StatementsObstacle): string {
  const restart = load === null ? null : `${load}  -- then restart the server`;
  return [message, advice, restart, mend].filter((line) => line !== null).join('\n');
}

function countedNote({ resetAt, evictions }: StatementsInfoRow, now: Date): string {
  const since = sinceNote(resetAt, now);
  return evictions === 0
    ? since
    : `${since}; it was full ${humanCount(evictions)} times and dropped rare statements: raise pg_stat_statements.max`;
}
