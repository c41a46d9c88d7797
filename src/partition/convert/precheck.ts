import type { Db } from '../../pg/connection.ts';
import { existsWhere } from '../../sql/convert-dependents.ts';
import { displayName, ident, relation, visible, type RelationName } from '../../sql/quote.ts';
import type { RelationRow } from '../../sql/relations.ts';
import { rowSecurityObstacle } from './obstacles.ts';
import type { ConvertTarget } from './target.ts';
import type { Obstacle } from './wish.ts';

/** Every name that the convert will give to something. */
export function namesNeeded(target: ConvertTarget): RelationName[] {
  const { schema } = target.facts.table;
  const own = [
    target.legacy.name,
    target.names.parent,
    ...target.renamedIndexes.map((item) => item.now),
    ...(target.primaryKey?.isExchanged === true ? [target.newIndex, target.names.primaryKey] : []),
  ];
  return [...own.map((name) => ({ schema, name })), ...target.partitions.map((partition) => partition.table)];
}

/** Names that are taken, or would be given twice. Pure. */
export function collisions(target: ConvertTarget, taken: RelationRow[]): Obstacle[] {
  const obstacles: Obstacle[] = [];
  const ownIndexes = target.facts.indexes.map((item) => item.name);
  for (const row of taken) {
    if (row.name === target.newIndex && ownIndexes.includes(row.name)) {
      if (isTheNewIndex(target)) continue;
    }
    obstacles.push({
      object: `relation ${displayName(row)}`,
      problem: 'has a name that the convert needs',
      remedy: 'Rename it, or give another --naming or --legacy-name.',
    });
  }
  const seen = new Set<string>();
  for (const { name } of namesNeeded(target)) {
    if (seen.has(name)) {
      obstacles.push({
        object: `name ${visible(name)}`,
        problem: 'would be given twice',
        remedy: 'Give another --naming or --legacy-name.',
      });
    }
    seen.add(name);
  }
  return obstacles;
}

/** The index of that name is the one that an earlier run made, or began to make. */
function isTheNewIndex(target: ConvertTarget): boolean {
  const index = target.facts.indexes.find((item) => item.name === target.newIndex);
  const plan = target.primaryKey;
  if (index === undefined || plan?.isExchanged !== true) return false;
  return (
    index.isUnique &&
    index.constraint === null &&
    !index.isPartial &&
    !index.hasExpressions &&
    index.columns.join('\0') === plan.columns.join('\0') &&
    index.includedColumns.join('\0') === plan.included.join('\0')
  );
}

/**
 * Rows that no partition would take. Reads the table (an index on the key is used) unless the CHECK of an earlier run
 * vouches for it. Privilege: SELECT. Locks: ACCESS SHARE.
 */
export async function rowsInTheWay(db: Db, target: ConvertTarget): Promise<Obstacle[]> {
  if (target.isChecked || target.facts.table.kind !== 'r') return [];
  if (target.facts.isRowSecured) return [rowSecurityObstacle(`table ${target.label}`)];
  const table = relation(target.facts.table);
  const key = ident(target.wish.key);
  const obstacles: Obstacle[] = [];
  if (await existsWhere(db, table, `${key} >= ${target.cutoverLiteral}`)) {
    obstacles.push({
      object: `rows of ${target.label}`,
      problem: `some have a ${visible(target.wish.key)} at or past the cutover ${target.codec.format(target.cutover)}`,
      remedy: 'Give a later --cutover, or correct those rows.',
    });
  }
  if (!target.keyColumn.isNotNull && (await existsWhere(db, table, `${key} is null`))) {
    obstacles.push({
      object: `rows of ${target.label}`,
      problem: `some have no ${visible(target.wish.key)}, and no partition takes those`,
      remedy: 'Fill the column in, or delete those rows.',
    });
  }
  return obstacles;
}
