import { storeKey } from '../storage/key.ts';

/**
 * Where backups lie, ending with /. Keyed by the system identifier, so that no other cluster overwrites or prunes them:
 *   <system identifier>/backup/cluster/<id>/            base, incremental, snapshot, pgbackrest
 *   <system identifier>/backup/database/<name>/<id>/    logical, schema, table, partition
 * `database` is null for a backup of the whole cluster.
 */
export function backupsPrefix(systemIdentifier: string, database: string | null): string {
  const scope = database === null ? storeKey('cluster') : storeKey('database', database);
  return `${storeKey(systemIdentifier, 'backup')}/${scope}/`;
}

/** The folder of one backup, ending with /. */
export function backupPrefix(systemIdentifier: string, database: string | null, id: string): string {
  return `${backupsPrefix(systemIdentifier, database)}${storeKey(id)}/`;
}

/** When this copy was last read back whole, see verify. */
export const verifiedName = 'verified.json';
/** What the last drill of this backup found. */
export const drillName = 'drill.json';
