import type { Db } from '../pg/connection.ts';
import { listUncounted, type UncountedRow } from '../sql/maintenance-counters.ts';
import { ident } from '../sql/quote.ts';
import type { LeftOut } from './task.ts';

/** So many names are told of tables of which the same is said. */
const toldNames = 3;

/** What is not counted cannot be found: that nothing is due then means nothing. */
export async function findUncounted(db: Db): Promise<LeftOut[]> {
  const rows = await listUncounted(db);
  return rows.map((row) => ({
    object: `database ${ident(db.server.database)}`,
    why: `which tables need it is unknown: track_counts is off ${describe(row)}`,
  }));
}

function describe({ isServer, role, database }: UncountedRow): string {
  if (isServer)
    return 'on this server, so that nothing counts what changes, and autovacuum only freezes; set it: alter system set track_counts = on; select pg_reload_conf();';
  const [whom, what] =
    role === null && database !== null
      ? ['every role', `database ${ident(database)}`]
      : [
          role === null ? 'every role' : `role ${ident(role)}`,
          `role ${role === null ? 'all' : ident(role)}${database === null ? '' : ` in database ${ident(database)}`}`,
        ];
  return `for ${whom}, of which nothing is counted that it changes; set it: alter ${what} reset track_counts;`;
}

/** Tables whose counters were lost, for who does not count them anew by the way. Pure. */
export function describeLost(tables: string[]): LeftOut[] {
  if (tables.length === 0) return [];
  const more = tables.length - toldNames;
  return [
    {
      object: tables.slice(0, toldNames).join(', ') + (more > 0 ? ` and ${String(more)} more` : ''),
      why: 'whether it needs VACUUM is unknown: what was counted is lost, as by a crash, a reset or pg_upgrade; "dbops maintenance analyze" counts anew',
    },
  ];
}
