import { DbopsError } from '../errors.ts';
import { humanCount } from '../output/human.ts';
import type { Db } from '../pg/connection.ts';
import { sqlStateOf } from '../pg/sqlstate.ts';
import { findExtension } from '../sql/inspect-extension.ts';
import {
  findStatementsInfo,
  listStatements,
  type StatementOrder,
  type StatementRow,
  type StatementsInfoRow,
} from '../sql/inspect-statements.ts';
import { sinceNote } from './counted.ts';
import { firstOf, grantStats, type Look } from './look.ts';

const preload =
  "alter system set shared_preload_libraries = 'pg_stat_statements';  -- beside what is there, and restart";

/** The costliest statements, with since when they count: figures without that mislead. */
export async function lookAtStatements(
  db: Db,
  { sort, limit, now }: { sort: StatementOrder; limit: number; now: Date },
): Promise<Look<StatementRow>> {
  const none = (missing: string): Look<StatementRow> => ({ rows: [], notes: [], unseen: [], missing });
  const extension = await findExtension(db, 'pg_stat_statements');
  const { database } = db.server;
  if (extension === undefined)
    return none(
      `the extension pg_stat_statements is not in database "${database}"; it takes:\n${preload}\ncreate extension pg_stat_statements;`,
    );
  if (!saysItsAge(extension.version))
    return none(
      `pg_stat_statements is of version ${extension.version}, which does not say since when it counts; it takes:\nalter extension pg_stat_statements update;`,
    );
  try {
    const info = await findStatementsInfo(db, extension.schema);
    const { rows, notes } = firstOf(await listStatements(db, extension.schema, sort, limit + 1), limit);
    const hidden = rows.filter(({ isHidden }) => isHidden).length;
    return {
      rows,
      notes: info === undefined ? notes : [...notes, countedNote(info, now)],
      unseen:
        hidden === 0
          ? []
          : [
              `the texts of ${humanCount(hidden)} statements of other roles may not be seen by role "${db.server.user}": ${grantStats(db.server.user)}`,
            ],
    };
  } catch (error) {
    // object_not_in_prerequisite_state: the extension is created, and its library was not loaded at the start.
    if (error instanceof DbopsError && sqlStateOf(error) === '55000')
      return none(
        `pg_stat_statements is there, and was not loaded when the server started; it takes:\n${preload}`,
      );
    throw error;
  }
}

/** Version 1.9 is the first that does, and 1.10 comes after it. */
function saysItsAge(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 1 || minor >= 9;
}

function countedNote({ resetAt, evictions }: StatementsInfoRow, now: Date): string {
  const since = sinceNote(resetAt, now);
  return evictions === 0
    ? since
    : `${since}; it was full ${humanCount(evictions)} times and dropped rare statements: raise pg_stat_statements.max`;
}
