import { humanSeconds } from '../output/human.ts';
import type { Db } from '../pg/connection.ts';
import { countedSince, getHealthFacts } from '../sql/health-facts.ts';

/** Since when the statistics of this database count, and what they do not count: figures without it mislead. */
export async function countedNotes(db: Db, now: Date): Promise<string[]> {
  const facts = await getHealthFacts(db);
  return [
    sinceNote(countedSince(facts), now),
    ...(facts.parameters['track_counts'] === 'off'
      ? [
          'track_counts is off: nothing is counted; alter system set track_counts = on; select pg_reload_conf();',
        ]
      : []),
    ...(db.server.isStandby
      ? ['this is a standby, which counts its own scans only: ask the primary for rows, writes and VACUUM']
      : []),
  ];
}

/** "counted since 2026-11-21T00:00:00Z (3 h)". Pure. */
export function sinceNote(since: Date, now: Date): string {
  const age = humanSeconds(Math.max(0, (now.getTime() - since.getTime()) / 1000));
  return `counted since ${since.toISOString().slice(0, 19)}Z (${age})`;
}
