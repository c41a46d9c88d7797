import { derivedName, maxNameBytes } from '../../partition/model/naming.ts';
import type { RelationName } from '../../sql/quote.ts';
import type { TableDefinition } from './definition.ts';

/**
 * The name of an index, or of statistics, on a table that is made under another name: they share a schema with the table
 * that they come from, which may still be there. Under its own name a table keeps all names.
 */
export function objectName(
  definition: Pick<TableDefinition, 'name'>,
  target: RelationName,
  name: string,
): string {
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

/** The definition as it is when it was made under another name. */
export function renamed(definition: TableDefinition, target: RelationName): TableDefinition {
  const nameOf = (name: string) => objectName(definition, target, name);
  const { replicaIdentity } = definition;
  return {
    ...definition,
    name: target,
    constraints: definition.constraints.map((item) =>
      item.kind === 'check' ? item : { ...item, name: nameOf(item.name) },
    ),
    indexes: definition.indexes.map((item) => ({
      ...item,
      name: nameOf(item.name),
      constraint: item.constraint === null ? null : nameOf(item.constraint),
    })),
    statistics: definition.statistics.map((item) => ({
      ...item,
      name: nameOf(item.name),
      schema: item.schema === definition.name.schema ? target.schema : item.schema,
    })),
    replicaIdentity: {
      ...replicaIdentity,
      index: replicaIdentity.index === null ? null : nameOf(replicaIdentity.index),
    },
  };
}
