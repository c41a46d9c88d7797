import { humanSeconds } from '../output/human.ts';
import type { Db } from '../pg/connection.ts';
import { getHealthFacts } from '../sql/health-facts.ts';

/** Since when the statistics of this database count: figures without it mislead. */
export async function countedNote(db: Db): Promise<string[]> {
  const { countedSince, startedAt } = await getHealthFacts(db);
  const since = countedSince ?? startedAt;
  const age = humanSeconds(Math.max(0, (db.server.now.getTime() - since.getTime()) / 1000));
  return [`counted since ${since.toISOString().slice(0, 19)}Z (${age})`];
}
