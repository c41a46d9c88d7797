import { storeKey } from '../../storage/key.ts';
import { parseWalName } from './segment.ts';

/** The archive of WAL of a cluster, ending with /. */
export function walPrefix(systemIdentifier: string): string {
  return `${storeKey(systemIdentifier, 'wal')}/`;
}

/**
 * Where a file of pg_wal lies. The folders are the first 16 digits of the name, at most 256 segments of 16 MB each, so
 * that a listing can begin anywhere and retention removes whole folders:
 *   <system identifier>/wal/<TTTTTTTTXXXXXXXX>/<name>.zst
 *   <system identifier>/wal/<TTTTTTTT>.history.zst
 * Throws for a name that is none.
 */
export function walKey(systemIdentifier: string, name: string): string {
  const parsed = parseWalName(name);
  if (parsed === undefined) throw new Error(`${name} is not the name of a file in pg_wal`);
  const file = storeKey(`${name}.zst`);
  return parsed.kind === 'history'
    ? `${walPrefix(systemIdentifier)}${file}`
    : `${walFolder(systemIdentifier, name)}${file}`;
}

/** The folder of a segment, ending with /. */
export function walFolder(systemIdentifier: string, name: string): string {
  return `${walPrefix(systemIdentifier)}${storeKey(name.slice(0, 16))}/`;
}

/** Whose WAL it is: without this object nothing is pushed, and nothing is taken for absent. */
export function clusterKey(systemIdentifier: string): string {
  return storeKey(systemIdentifier, 'cluster.json');
}
