import type { Db } from '../pg/connection.ts';
import { countHiddenSessions } from '../sql/inspect-activity.ts';
import { ident } from '../sql/quote.ts';

/** One look at a server. */
export interface Look<Row> {
  rows: Row[];
  /** What has to be known to read the rows, such as since when they count. */
  notes: string[];
  /** What this role may not see, with the GRANT that helps; empty when it saw everything. */
  unseen: string[];
  /** The question has no answer here: what is missing, and how it is had. */
  missing?: string;
}

/** The first of rows of which one more was asked for than is shown: a list that ends must not look whole when it is not. */
export function firstOf<Row>(rows: Row[], limit: number): Pick<Look<Row>, 'rows' | 'notes'> {
  const notes = rows.length > limit ? [`only the first ${String(limit)} are shown; --limit shows more`] : [];
  return { rows: rows.slice(0, limit), notes };
}

/** What a role without pg_read_all_stats does not see of others, as one sentence; empty when it sees all. */
export async function unseenSessions(db: Db): Promise<string[]> {
  const hidden = await countHiddenSessions(db);
  if (hidden === 0) return [];
  const sessions = hidden === 1 ? '1 session' : `${String(hidden)} sessions`;
  return [
    `what ${sessions} of other roles do may not be seen by role "${db.server.user}": ${grantStats(db.server.user)}`,
  ];
}

/** The GRANT that lets a role see what others do. */
export function grantStats(user: string): string {
  return `grant pg_read_all_stats to ${ident(user)};`;
}
