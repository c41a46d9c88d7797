import type { Db } from '../pg/connection.ts';
import { indexBloat, type BloatRow } from '../sql/health-bloat.ts';
import { displayName, ident } from '../sql/quote.ts';

/** From so much air on a rebuild is worth its while: PgHero, 100 MB; pgEdge, half of it. */
export const bloatedFrom = { bytes: 100 * 1024 ** 2, share: 0.5 };

export interface BloatedRow extends BloatRow {
  wastedBytes: number;
}

interface IndexBloat {
  /** Those that are mostly air, by oid. */
  bloated: Map<number, BloatedRow>;
  /** What cannot be estimated, with what helps. */
  unseen: string[];
}

/** Which indexes are mostly air, by the estimate of health. Changes nothing. */
export async function findBloated(db: Db, roles: string[], leastBytes: number): Promise<IndexBloat> {
  const rows = await db.query<BloatRow>(indexBloat(leastBytes, roles.includes('pg_read_all_data')));
  const bloated: IndexBloat['bloated'] = new Map();
  for (const row of rows)
    if (row.wastedBytes !== null && row.wastedBytes >= row.sizeBytes * bloatedFrom.share)
      bloated.set(row.oid, { ...row, wastedBytes: row.wastedBytes });
  const [hidden, undescribed] = [rowsWith(rows, 'privilege'), rowsWith(rows, 'statistics')];
  return {
    bloated,
    unseen: [
      ...(hidden[0] === undefined
        ? []
        : [
            `how much of ${numbered(hidden)} is air, role "${db.server.user}" cannot estimate: grant pg_read_all_data to ${ident(db.server.user)};`,
          ]),
      ...(undescribed[0] === undefined
        ? []
        : [`how much of ${numbered(undescribed)} is air is unknown without statistics: run ANALYZE`]),
    ],
  };
}

function rowsWith(rows: BloatRow[], obstacle: BloatRow['obstacle']): BloatRow[] {
  return rows.filter((row) => row.obstacle === obstacle);
}

function numbered([first, ...others]: BloatRow[]): string {
  const name = first === undefined ? '' : displayName(first);
  return others.length === 0 ? name : `${name} and ${String(others.length)} other indexes`;
}
