import { isDeepStrictEqual } from 'node:util';
import { visible } from '../../sql/quote.ts';
import type { ColumnDefinition, TableDefinition } from './definition.ts';

/**
 * What is different between two definitions, in plain words; empty when they say the same. `rows`: only what the rows
 * mean and what can be written, i.e. columns, their types and what those are made of; how they are stored does not count,
 * nor do constraints, which a detach adds. `all`: everything but the names of the table, its place and its server.
 */
export function differences(
  before: TableDefinition,
  after: TableDefinition,
  scope: 'rows' | 'all' = 'rows',
): string[] {
  const found = columnDifferences(before, after, scope);
  const requirements = (definition: TableDefinition) =>
    definition.requirements.filter((item) => scope === 'all' || isType(item.kind));
  found.push(...namedDifferences('requirement', requirements(before), requirements(after)));
  if (scope === 'rows') return found;
  found.push(
    ...namedDifferences('constraint', before.constraints, after.constraints),
    ...namedDifferences('index', before.indexes, after.indexes),
    ...namedDifferences('statistics', before.statistics, after.statistics),
    ...namedDifferences('policy', before.policies, after.policies),
    ...namedDifferences('grant', before.grants.map(namedGrant), after.grants.map(namedGrant)),
  );
  for (const field of tableFields) {
    if (!isDeepStrictEqual(before[field], after[field]))
      found.push(`${field} was ${shown(before[field])} and is ${shown(after[field])}`);
  }
  return found;
}

const tableFields = [
  'owner',
  'persistence',
  'accessMethod',
  'options',
  'toastOptions',
  'replicaIdentity',
  'rowSecurity',
  'forceRowSecurity',
  'comment',
] as const;

/** What decides which values a column holds, and how they read. */
const rowFields = ['type', 'collation', 'notNull', 'default', 'generated'] as const;

function isType(kind: string): boolean {
  return ['enum', 'composite', 'domain', 'range', 'collation'].includes(kind);
}

function shown(value: unknown): string {
  return visible(JSON.stringify(value));
}

function columnDifferences(before: TableDefinition, after: TableDefinition, scope: 'rows' | 'all'): string[] {
  const found: string[] = [];
  const names = (definition: TableDefinition) => definition.columns.map((column) => column.name);
  const [was, is] = [names(before), names(after)];
  found.push(
    ...was.filter((name) => !is.includes(name)).map((name) => `column ${visible(name)} is gone`),
    ...is.filter((name) => !was.includes(name)).map((name) => `column ${visible(name)} is new`),
  );
  if (found.length === 0 && was.join('\0') !== is.join('\0')) found.push('the columns are in another order');
  const byName = new Map(after.columns.map((column) => [column.name, column]));
  for (const column of before.columns) {
    const other = byName.get(column.name);
    if (other === undefined) continue;
    const fields = scope === 'rows' ? rowFields : (Object.keys(column) as (keyof ColumnDefinition)[]);
    for (const field of fields) {
      if (isDeepStrictEqual(column[field], other[field])) continue;
      found.push(
        `column ${visible(column.name)}: ${field} was ${shown(column[field])} and is ${shown(other[field])}`,
      );
    }
  }
  return found;
}

function namedGrant(grant: TableDefinition['grants'][number]) {
  const column = grant.column === null ? '' : ` of ${grant.column}`;
  return { ...grant, name: `${grant.privilege}${column} to ${grant.grantee}` };
}

function namedDifferences<Item extends { name: string }>(
  kind: string,
  before: Item[],
  after: Item[],
): string[] {
  const found: string[] = [];
  const byName = new Map(after.map((item) => [item.name, item]));
  for (const item of before) {
    const other = byName.get(item.name);
    byName.delete(item.name);
    const label = `${kind} ${visible(item.name)}`;
    if (other === undefined) found.push(`${label} is gone`);
    else if (!isDeepStrictEqual(item, other))
      found.push(`${label} was ${shown(item)} and is ${shown(other)}`);
  }
  return [...found, ...[...byName.keys()].map((name) => `${kind} ${visible(name)} is new`)];
}
