import type { Settings } from '../config/settings.ts';
import type { Db } from '../pg/connection.ts';
import { ident } from '../sql/quote.ts';

/** What lets this role read the history, the ledgers and the samples. Pure. */
export function stateGrant(db: Pick<Db, 'server'>, { stateSchema }: Pick<Settings, 'stateSchema'>): string {
  const schema = ident(stateSchema);
  const role = ident(db.server.user);
  return `grant usage on schema ${schema} to ${role}; grant select on all tables in schema ${schema} to ${role};`;
}
