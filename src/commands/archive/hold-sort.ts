import { findArchive } from '../../archive/catalogue.ts';
import { ownPlaces, partsOfPlace } from '../../archive/survey.ts';
import { archiveHoldSql } from '../../sql/archive-catalogue.ts';
import { listArchiveRows } from '../../sql/archives.ts';
import { displayName } from '../../sql/quote.ts';
import type { HoldSort } from '../holds.ts';

export const archiveHolds: HoldSort = {
  noun: 'archive',
  find: async (stores, id, options) => {
    const found = await findArchive(stores, id, options);
    const { partition, table } = found.manifest;
    return {
      ...found,
      noun: 'archive',
      label: `archive ${found.id} of ${displayName(partition)}`,
      of: displayName(table),
    };
  },
  isOwn: async (db, place) => (await ownPlaces(db))(partsOfPlace(place)),
  sql: archiveHoldSql,
  isHeld: async (db, schema, id) =>
    (await listArchiveRows(db, schema, ['verified', 'proven'])).some(
      (row) => row.id === id && row.hold !== null,
    ),
  isGoing: async (db, schema, id) =>
    (await listArchiveRows(db, schema, ['expired'])).some((row) => row.id === id),
};
