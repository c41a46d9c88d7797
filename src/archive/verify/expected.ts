import type { Db } from '../../pg/connection.ts';
import { listArchiveRows } from '../../sql/archives.ts';
import { ownPlaces, partsOfPlace, type Survey, type Surveyed } from '../survey.ts';
import type { VerifiedArchive } from './verify.ts';

/**
 * In which of the stores that were asked each archive of this database should be, as its ledger has it. Rows that
 * came along with a clone of another cluster are left out.
 */
export async function expectedCopies(db: Db, schema: string, survey: Survey): Promise<Map<string, string[]>> {
  const isOwn = await ownPlaces(db);
  const rows = await listArchiveRows(db, schema, ['verified', 'proven']);
  return new Map(
    rows
      .filter((row) => isOwn(partsOfPlace(row.place)))
      .map((row) => [row.id, row.stores.filter((name) => survey.asked.includes(name))]),
  );
}

/** Archives of the ledger that no store has at all. */
export function lostArchives(expected: Map<string, string[]>, found: Surveyed[]): VerifiedArchive[] {
  const ids = new Set(found.map((archive) => archive.id));
  return [...expected]
    .filter(([id, stores]) => !ids.has(id) && stores.length > 0)
    .map(([id, stores]) => ({
      id,
      partition: 'unknown',
      stores: [],
      rows: null,
      bytesRead: 0,
      findings: stores.map((store) => ({
        archive: id,
        store,
        object: id,
        problem: 'the ledger has a copy there, and there is none',
        good: [],
      })),
    }));
}
