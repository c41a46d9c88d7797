import { createHash } from 'node:crypto';
import { cutBytes, derivedName, maxNameBytes } from '../model/naming.ts';

/** The old table's name after the swap, when none was given. */
export function defaultLegacyName(name: string): string {
  return withSuffix(name, '_legacy');
}

/** The legacy table's counterpart of an object's name: orders_pkey becomes orders_legacy_pkey. */
export function legacyObjectName(object: string, table: string, legacy: string): string {
  const named = object.startsWith(table) ? legacy + object.slice(table.length) : undefined;
  if (named !== undefined && Buffer.byteLength(named) <= maxNameBytes) return named;
  return withSuffix(object, '_legacy');
}

/** Names that stand for an instant inside the swap's transaction. */
export function stageNames(schema: string, name: string) {
  return {
    parent: derivedName('dbops_convert', schema, name),
    sequence: derivedName('dbops_convert_sequence', schema, name),
    oldSequence: derivedName('dbops_convert_old_sequence', schema, name),
    primaryKey: derivedName('dbops_convert_pkey', schema, name),
  };
}

/** The suffix stays whole: the name is cut, and a hash keeps two long names apart. */
function withSuffix(name: string, suffix: string): string {
  if (Buffer.byteLength(name + suffix) <= maxNameBytes) return name + suffix;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 8);
  return `${cutBytes(name, maxNameBytes - suffix.length - 9)}_${hash}${suffix}`;
}
