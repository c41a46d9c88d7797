import { visible } from '../../sql/quote.ts';
import type { TableFacts } from './inspect.ts';
import { cutoverConstraint } from './marker.ts';
import type { ConvertWish, Obstacle } from './wish.ts';

/** Everything about the table and what hangs on it that prevents a convert. Pure; all of it at once. */
export function listObstacles(
  facts: TableFacts,
  wish: ConvertWish,
  user: string,
  ownIndex: string | undefined,
): Obstacle[] {
  return [
    ...tableObstacles(facts),
    ...privilegeObstacles(facts, user),
    ...columnObstacles(facts, wish),
    ...indexObstacles(facts, wish, ownIndex),
    ...constraintObstacles(facts),
    ...incomingObstacles(facts, wish),
    ...triggerObstacles(facts),
    ...publicationObstacles(facts),
    ...subscriptionObstacles(facts),
    ...viewObstacles(facts, wish),
    ...dependentObstacles(facts, wish),
  ];
}

function tableObstacles({ table }: TableFacts): Obstacle[] {
  const found: Obstacle[] = [];
  const add = (problem: string, remedy: string) =>
    found.push({ object: `table ${visible(table.name)}`, problem, remedy });
  if (table.isPartition) add('is a partition of another table', 'Convert the topmost table.');
  if (table.persistence !== 'p')
    add('is unlogged or temporary', 'Make it permanent: ALTER TABLE ... SET LOGGED.');
  if (table.ofType !== null)
    add(`is of the composite type ${visible(table.ofType)}`, 'ALTER TABLE ... NOT OF.');
  if (table.inheritsFrom.length > 0)
    add(`inherits from ${visible(table.inheritsFrom.join(', '))}`, 'ALTER TABLE ... NO INHERIT.');
  if (table.inheritedBy.length > 0)
    add(
      `is inherited by ${visible(table.inheritedBy.join(', '))}`,
      'ALTER TABLE ... NO INHERIT on its children.',
    );
  if (table.extension !== null)
    add(`belongs to extension ${visible(table.extension)}`, 'Leave it to the extension.');
  if (table.hasSecurityLabel)
    add('has a security label, which dbops does not carry over', 'Remove it and set it again after.');
  return found;
}

function privilegeObstacles({ table, parent }: TableFacts, user: string): Obstacle[] {
  const found: Obstacle[] = [];
  if (!parent.isOwner) {
    found.push({
      object: `table ${visible(table.name)}`,
      problem: `role "${visible(user)}" does not own it`,
      remedy: `Run as its owner "${visible(parent.owner)}", or grant that role.`,
    });
  }
  if (!parent.mayCreate) {
    found.push({
      object: `schema ${visible(table.schema)}`,
      problem: `role "${visible(user)}" may not create tables in it`,
      remedy: 'GRANT CREATE ON SCHEMA.',
    });
  }
  return found;
}

function columnObstacles(facts: TableFacts, wish: ConvertWish): Obstacle[] {
  const identities = facts.columns.filter((column) => column.identity !== '');
  if (identities.length > 1) {
    return [
      {
        object: `columns ${visible(identities.map((column) => column.name).join(', '))}`,
        problem: 'are all identities',
        remedy: 'Leave one of them: ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY.',
      },
    ];
  }
  const key = facts.columns.find((column) => column.name === wish.key);
  if (key?.generated !== undefined && key.generated !== '') {
    return [
      {
        object: `column ${visible(key.name)}`,
        problem: 'is generated, and PostgreSQL allows no generated partition key',
        remedy: 'Choose another key.',
      },
    ];
  }
  return [];
}

function indexObstacles(facts: TableFacts, wish: ConvertWish, ownIndex: string | undefined): Obstacle[] {
  const found: Obstacle[] = [];
  for (const index of facts.indexes) {
    if (index.name === ownIndex) continue;
    const object = `index ${visible(index.name)}`;
    if (!index.isValid) {
      found.push({
        object,
        problem: 'is invalid',
        remedy: 'DROP INDEX CONCURRENTLY, or REINDEX INDEX CONCURRENTLY.',
      });
    } else if (index.isUnique && !index.isPrimary && !index.columns.includes(wish.key)) {
      found.push({
        object: index.constraint === null ? object : `constraint ${visible(index.constraint)}`,
        problem: `is unique without "${visible(wish.key)}", which a partitioned table cannot enforce`,
        remedy: 'Drop it, or make it unique together with the key, if the application can do without.',
      });
    }
    if (index.definition === null) {
      found.push({ object, problem: 'has a definition that dbops cannot read', remedy: 'Report this.' });
    }
  }
  return found;
}

function constraintObstacles(facts: TableFacts): Obstacle[] {
  const found: Obstacle[] = [];
  for (const item of facts.constraints) {
    if (item.name === cutoverConstraint) {
      if (item.comment?.startsWith('dbops:converting') === true) continue;
      found.push({
        object: `constraint ${visible(item.name)}`,
        problem: 'has the name that dbops needs and is not marked as its own',
        remedy: 'Rename or drop it.',
      });
      continue;
    }
    const add = (problem: string, remedy: string) =>
      found.push({ object: `constraint ${visible(item.name)}`, problem, remedy });
    if (item.type === 'x')
      add('is an exclusion constraint, which a partitioned table cannot have like this', 'Drop it.');
    if ((item.type === 'p' || item.type === 'u') && item.isDeferrable)
      add('is deferrable, so no index can take its place', 'Make it not deferrable.');
    if ((item.type === 'p' || item.type === 'u') && item.definition.includes('WITHOUT OVERLAPS'))
      add('forbids overlaps, which dbops cannot carry over', 'Drop it.');
    if (['c', 'f', 'n'].includes(item.type) && !item.isValidated)
      add('is not valid, and a partition needs it valid', 'ALTER TABLE ... VALIDATE CONSTRAINT.');
    if (['c', 'n'].includes(item.type) && item.isNoInherit)
      add('is NO INHERIT, which a partitioned table cannot have', 'Make it inheritable, or drop it.');
    if (item.type === 'f' && !item.mayReference)
      add(
        `needs REFERENCES on ${visible(item.target ?? '')}`,
        `GRANT REFERENCES ON ${visible(item.target ?? '')}.`,
      );
  }
  return found;
}

function incomingObstacles(facts: TableFacts, wish: ConvertWish): Obstacle[] {
  return facts.incoming.flatMap((key): Obstacle[] => {
    const object = `foreign key ${visible(key.name)} of ${visible(key.table)}`;
    if (!wish.dropIncomingForeignKeys) {
      return [
        {
          object,
          problem: 'references the table; after the convert no unique constraint fits it',
          remedy:
            '--drop-incoming-foreign-keys drops it: nothing checks those references then, and its ON DELETE no longer acts.',
        },
      ];
    }
    if (key.isOwner) return [];
    return [
      { object, problem: 'belongs to a table of another role', remedy: `Run as the owner of that table.` },
    ];
  });
}

function triggerObstacles(facts: TableFacts): Obstacle[] {
  return facts.triggers
    .filter((trigger) => trigger.isRow && trigger.hasTransitionTables)
    .map((trigger) => ({
      object: `trigger ${visible(trigger.name)}`,
      problem: 'is a row trigger with transition tables, which a partitioned table cannot have',
      remedy: 'Make it a statement trigger, or drop it.',
    }));
}

function publicationObstacles(facts: TableFacts): Obstacle[] {
  const found: Obstacle[] = [];
  for (const item of facts.publications) {
    const object = `publication ${visible(item.name)}`;
    if (!item.isViaRoot) {
      found.push({
        object,
        problem: "publishes changes under the partitions' names, which its subscribers do not have",
        remedy: `ALTER PUBLICATION ${visible(item.name)} SET (publish_via_partition_root = true).`,
      });
    }
    if (item.isNamed && !item.isOwner) {
      found.push({ object, problem: 'belongs to another role', remedy: 'Run as its owner.' });
    }
  }
  return found;
}

/** A subscription knows its tables by their oids: the legacy partition would be fed, or nothing, and nobody told. */
export function subscriptionObstacles(facts: Pick<TableFacts, 'table' | 'subscriptions'>): Obstacle[] {
  return facts.subscriptions.map((name) => ({
    object: `subscription ${visible(name)}`,
    problem: `feeds ${visible(facts.table.name)}, and goes by the table and not by its name`,
    remedy:
      'Take the table out of the publication and ALTER SUBSCRIPTION ... REFRESH PUBLICATION; after it, put it back ' +
      'and refresh WITH (copy_data = false).',
  }));
}

/** Rows that a policy hides are there nevertheless: what looks for rows must see them all. */
export function rowSecurityObstacle(object: string): Obstacle {
  return {
    object,
    problem:
      'has row level security that hides rows from this role, so whether rows are in the way cannot be told',
    remedy:
      'Run as a role with BYPASSRLS, or ALTER TABLE ... NO FORCE ROW LEVEL SECURITY as its owner for the time of it.',
  };
}

function viewObstacles(facts: TableFacts, wish: ConvertWish): Obstacle[] {
  const groups = facts.indexes.find((item) => item.isPrimary)?.columns.includes(wish.key) !== true;
  return facts.views.flatMap((view): Obstacle[] => {
    const object = `view ${visible(`${view.schema}.${view.name}`)}`;
    if (view.usesPrimaryKey && groups) {
      return [
        {
          object,
          problem: 'groups by the primary key and reads other columns, which needs that very key',
          remedy: 'Name all columns in its GROUP BY.',
        },
      ];
    }
    if (!view.isOwner) return [{ object, problem: 'belongs to another role', remedy: 'Run as its owner.' }];
    return [];
  });
}

const dependentRemedies = {
  'materialized view': 'Drop it and make it again after,',
  rule: 'Drop it and make it again after,',
  function: 'Drop it and make it again after (its parsed body follows the old table),',
  policy: 'Drop it and make it again after,',
  other: 'Drop it and make it again after,',
};

function dependentObstacles(facts: TableFacts, wish: ConvertWish): Obstacle[] {
  return facts.dependents
    .filter((item) => !wish.leaveBehind.includes(item.identity))
    .map((item) => ({
      object: visible(item.description),
      problem: 'follows the old table and would read the legacy partition alone',
      remedy: `${dependentRemedies[item.kind]} or accept that with --leave-behind '${visible(item.identity)}'.`,
    }));
}
