import { storeKey } from '../storage/key.ts';

/** What names an archive in a store. */
export interface ArchiveName {
  /** Of the cluster, from pg_control_system(): a clone that was initialised anew has another. */
  systemIdentifier: string;
  database: string;
  table: { schema: string; name: string };
  partition: { schema: string; name: string };
  id: string;
}

/** All archives of a database. Keyed by the system identifier, so that no other cluster overwrites or prunes them. */
export function databasePrefix(systemIdentifier: string, database: string): string {
  return `${storeKey(systemIdentifier, 'archive', database)}/`;
}

/** All archives of a table, ending with /. */
export function tablePrefix(
  systemIdentifier: string,
  database: string,
  table: { schema: string; name: string },
): string {
  return `${databasePrefix(systemIdentifier, database)}${storeKey(`${table.schema}.${table.name}`)}/`;
}

/** The folder of one archive, ending with /. */
export function archivePrefix(name: ArchiveName): string {
  const { partition } = name;
  const isBeside = partition.schema === name.table.schema;
  const label = isBeside ? partition.name : `${partition.schema}.${partition.name}`;
  return `${tablePrefix(name.systemIdentifier, name.database, name.table)}${storeKey(label, name.id)}/`;
}

export const schemaName = 'schema.sql';

/** part-00000.copy.zst */
export function partName(index: number): string {
  return `part-${String(index).padStart(5, '0')}.copy.zst`;
}
