import { groupOf, tablesOf } from '../../backup/catalogue/facts.ts';
import { findBackup } from '../../backup/catalogue/find.ts';
import { partsOfBackupPlace } from '../../backup/catalogue/survey.ts';
import { backupHoldSql, listBackupRows } from '../../sql/backups.ts';
import { getServerIdentity } from '../../sql/export.ts';
import { visible } from '../../sql/quote.ts';
import { keyPart } from '../../storage/key.ts';
import type { HoldSort } from '../holds.ts';

export const backupHolds: HoldSort = {
  noun: 'backup',
  find: async (stores, id, options) => {
    const found = await findBackup(stores, id, options);
    const of = visible(groupOf({ ...found.manifest, tables: tablesOf(found.manifest) }));
    return { ...found, noun: 'backup', label: `backup ${found.id}, ${of},`, of };
  },
  isOwn: async (db, place) => {
    const { system, database } = partsOfBackupPlace(place);
    const { systemIdentifier } = await getServerIdentity(db);
    return (
      system === keyPart(systemIdentifier) && (database === null || database === keyPart(db.server.database))
    );
  },
  sql: backupHoldSql,
  isHeld: async (db, schema, id) =>
    (await listBackupRows(db, schema, ['done'])).some((row) => row.id === id && row.hold !== null),
  isGoing: async (db, schema, id) =>
    (await listBackupRows(db, schema, ['removed'])).some((row) => row.id === id),
};
