import type { Db } from '../pg/connection.ts';
import { indexBloat, tableBloat, type BloatRow } from '../sql/health-bloat.ts';
import { getHealthFacts } from '../sql/health-facts.ts';
import { askQuickly } from '../sql/quick.ts';
import { ident, relation } from '../sql/quote.ts';
import { firstOf, type Look } from './look.ts';

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
  const estimated = found
    .filter(({ obstacle }) => obstacle === null)
    .sort((a, b) => (b.wastedBytes ?? 0) - (a.wastedBytes ?? 0));
  const { rows, notes } = firstOf(estimated, limit);
  const hidden = found.filter(({ obstacle }) => obstacle === 'privilege').length;
  const undescribed = found.filter(({ obstacle }) => obstacle === 'statistics');
  return {
    rows,
    notes: [...notes, 'estimated from statistics, for what wastes at least 1 MB'],
    unseen: [
      ...(hidden === 0
        ? []
        : [
            `the air of ${String(hidden)} tables and indexes cannot be estimated by role "${db.server.user}": grant pg_read_all_data to ${ident(db.server.user)};`,
          ]),
      ...undescribedNote(undescribed),
    ],
  };
}

/** How many tables are named that have to be analyzed. */
const namedTables = 3;

function undescribedNote(rows: BloatRow[]): string[] {
  if (rows.length === 0) return [];
  const tables = [...new Set(rows.map(({ schema, table }) => relation({ schema, name: table })))];
  const more = tables.length > namedTables ? ` and ${String(tables.length - namedTables)} more` : '';
  return [
    `${String(rows.length)} tables and indexes have no statistics to estimate their air from: analyze ${tables.slice(0, namedTables).join(', ')}${more};`,
  ];
}
