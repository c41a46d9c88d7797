import type { Db } from '../pg/connection.ts';
import { indexBloat, tableBloat, type BloatRow } from '../sql/health-bloat.ts';
import { getHealthFacts } from '../sql/health-facts.ts';
import { askQuickly } from '../sql/quick.ts';
import { ident } from '../sql/quote.ts';
import type { Look } from './look.ts';

/** Less than this is not worth a look. */
const leastBytes = 2 ** 20;

/** The tables and indexes with the most air by estimate; what cannot be estimated is said and never shown as none. */
export async function lookAtBloat(db: Db, limit: number): Promise<Look<BloatRow>> {
  const { roles } = await getHealthFacts(db);
  const mayReadAll = roles.includes('pg_read_all_data');
  const found = [
    ...(await askQuickly<BloatRow>(db, tableBloat(leastBytes, mayReadAll))),
    ...(await askQuickly<BloatRow>(db, indexBloat(leastBytes, mayReadAll))),
  ];
  const rows = found
    .filter(({ obstacle }) => obstacle === null)
    .sort((a, b) => (b.wastedBytes ?? 0) - (a.wastedBytes ?? 0))
    .slice(0, limit);
  const count = (obstacle: BloatRow['obstacle']) => found.filter((row) => row.obstacle === obstacle).length;
  const [hidden, undescribed] = [count('privilege'), count('statistics')];
  return {
    rows,
    notes: ['estimated from statistics, for what wastes at least 1 MB'],
    unseen: [
      ...(hidden === 0
        ? []
        : [
            `the air of ${String(hidden)} tables and indexes cannot be estimated by role "${db.server.user}": grant pg_read_all_data to ${ident(db.server.user)};`,
          ]),
      ...(undescribed === 0
        ? []
        : [`${String(undescribed)} tables and indexes have no statistics: run ANALYZE on them`]),
    ],
  };
}
