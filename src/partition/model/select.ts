import { nearest } from '../../config/nearest.ts';
import { splitTable, type PartitionSettings, type Settings } from '../../config/settings.ts';
import { DbopsError } from '../../errors.ts';
import { displayName } from '../../sql/quote.ts';

/** The configured tables that were named, or all of them. Throws usage for a name that no entry has. */
export function selectTables(settings: Settings, names: string[]): Settings {
  if (settings.partitions.length === 0) {
    throw new DbopsError('usage', 'no partitioned table is configured', {
      hint:
        settings.files.length === 0
          ? 'There is no dbops.yaml here: "dbops init" writes one from what is in the database.'
          : `Add entries under "partitions" in ${settings.files[0]?.path ?? 'dbops.yaml'}, or let "dbops init" propose them.`,
    });
  }
  if (names.length === 0) return settings;
  return { ...settings, partitions: names.map((name) => findConfigured(settings, name)) };
}

/** The entry of one table. */
export function findConfigured(settings: Settings, name: string): PartitionSettings {
  const { schema, name: table } = splitTable(name);
  const found = settings.partitions.find((item) => item.schema === schema && item.name === table);
  if (found !== undefined) return found;
  const guess = nearest(`${schema}.${table}`, settings.partitions.map(displayName));
  throw new DbopsError('usage', `table ${displayName({ schema, name: table })} is not in the configuration`, {
    hint:
      guess === undefined
        ? 'Add an entry for it under "partitions", or let "dbops init" propose one.'
        : `Did you mean ${guess}?`,
  });
}
