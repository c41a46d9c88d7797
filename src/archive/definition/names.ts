import { derivedName, maxNameBytes } from '../../partition/model/naming.ts';
import type { RelationName } from '../../sql/quote.ts';
import type { TableDefinition } from './definition.ts';

/**
 * The name of an index, or of statistics, on a table that is made under another name: they share a schema with the table
 * that they come from, which may still be there. Under its own name a table keeps all names.
 */
export function objectName(definition: TableDefinition, target: RelationName, name: string): string {
  const own = definition.name.name;
  if (target.name === own) return name;
  const named = name.startsWith(own) ? target.name + name.slice(own.length) : `${target.name}_${name}`;
  return Buffer.byteLength(named) <= maxNameBytes ? named : derivedName(target.name, target.name, name);
}

/** Every relation name that the table needs in its schema: itself, its indexes. */
export function relationNames(definition: TableDefinition, target: RelationName): RelationName[] {
  return [
    target,
    ...definition.indexes.map((index) => ({
      schema: target.schema,
      name: objectName(definition, target, index.name),
    })),
  ];
}
