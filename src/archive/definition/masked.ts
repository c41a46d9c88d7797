import { visible } from '../../sql/quote.ts';
import type { TableDefinition } from './definition.ts';

/**
 * The definition for rows whose columns were masked on the way out: NOT NULL, CHECK, primary key, unique and exclusion
 * constraints and unique indexes over them may not hold any more, and are left out. `dropped` says which, for people.
 */
export function withoutMasked(
  definition: TableDefinition,
  masked: string[],
): { definition: TableDefinition; dropped: string[] } {
  if (masked.length === 0) return { definition, dropped: [] };
  const isMasked = (columns: string[]) => columns.some((name) => masked.includes(name));
  const constraints = definition.constraints.filter((item) => isMasked(item.columns));
  const names = new Set(constraints.map((item) => item.name));
  const indexes = definition.indexes.filter(
    (item) =>
      (item.constraint !== null && names.has(item.constraint)) || (item.isUnique && isMasked(item.columns)),
  );
  const notNull = definition.columns.filter((column) => column.notNull && masked.includes(column.name));
  return {
    definition: {
      ...definition,
      constraints: definition.constraints.filter((item) => !constraints.includes(item)),
      indexes: definition.indexes.filter((item) => !indexes.includes(item)),
      columns: definition.columns.map((column) =>
        notNull.includes(column) ? { ...column, notNull: false, notNullConstraint: null } : column,
      ),
    },
    dropped: [
      ...notNull.map((column) => `NOT NULL of column ${visible(column.name)}`),
      ...constraints.map((item) => `${item.kind} constraint ${visible(item.name)}`),
      ...indexes
        .filter((item) => item.constraint === null)
        .map((item) => `unique index ${visible(item.name)}`),
    ],
  };
}
