import { quietStep, type Step } from '../../plan/step.ts';
import { ident, literal, relation, visible } from '../../sql/quote.ts';
import { grantStatements } from '../create/child.ts';
import type { ConvertedMark } from './marker.ts';
import { triggerSteps } from './parts.ts';
import type { UndoTarget } from './undo.ts';
import type { Obstacle } from './wish.ts';

/** Triggers, comment, replica identity, and grants that were changed on the parent since. */
export function restoreSteps(target: UndoTarget): Step[] {
  const { parent, legacy, mark } = target;
  const table = relation(parent.table);
  const steps = parent.triggers.flatMap((trigger) => triggerSteps(trigger, table));
  steps.push(
    quietStep(
      `comment on table ${table} is ${parent.table.comment === null ? 'null' : literal(parent.table.comment)}`,
      "the parent's comment",
    ),
  );
  if (mark.replicaIdentityWasPrimaryKey && mark.primaryKey !== null)
    steps.push(
      quietStep(
        `alter table ${table} replica identity using index ${ident(mark.primaryKey.name)}`,
        'as it was',
      ),
    );
  if (parent.parent.owner !== legacy.parent.owner)
    steps.push(
      quietStep(`alter table ${table} owner to ${ident(parent.parent.owner)}`, "the parent's owner"),
    );
  if (JSON.stringify(parent.parent.grants) !== JSON.stringify(legacy.parent.grants)) {
    const grantees = new Set(legacy.parent.grants.map((grant) => grant.grantee));
    for (const grantee of grantees) {
      const role = grantee === 'public' ? 'public' : ident(grantee);
      steps.push(quietStep(`revoke all on table ${table} from ${role}`, 'grants were changed since'));
    }
    steps.push(...grantStatements(parent.parent, table).map((sql) => quietStep(sql, "the parent's grants")));
  }
  return steps;
}

type DroppedKey = ConvertedMark['incoming'][number];

/** Why a foreign key that the convert dropped cannot come back; undefined when it can. */
function whyLost(target: UndoTarget, key: DroppedKey): string | undefined {
  const found = target.referencing.find((item) => item.table === key.table);
  if (found === undefined || found.oid === null) return 'its table is gone, or has another name';
  if (found.oid === target.parent.table.oid) return undefined;
  if (!found.isOwner) return 'its table belongs to another role';
  if (found.kind === 'p' && target.versionNum < 180_000)
    return 'its table is partitioned, and PostgreSQL before 18 adds it there only by reading all rows under lock';
  return undefined;
}

/** Foreign keys that the convert dropped and that the undo cannot add again. */
export function lostKeys(target: UndoTarget): Obstacle[] {
  return target.mark.incoming.flatMap((key) => {
    const why = whyLost(target, key);
    if (why === undefined) return [];
    return [
      {
        object: `foreign key ${visible(key.name)} of ${visible(key.table)}`,
        problem: `was dropped by the convert and cannot come back: ${why}`,
        remedy:
          '--undo --drop-incoming-foreign-keys goes on without it and prints the statement that adds it.',
      },
    ];
  });
}

/** What is said about foreign keys: those that come back are not validated, those that do not have to be added by hand. */
export function keyNotes(target: UndoTarget): string[] {
  const lost = target.mark.incoming.filter((key) => whyLost(target, key) !== undefined);
  const notes =
    lost.length === target.mark.incoming.length
      ? []
      : [
          'The foreign keys that were dropped come back NOT VALID: check them with ALTER TABLE ... VALIDATE CONSTRAINT.',
        ];
  return [
    ...notes,
    ...lost.map(
      (key) =>
        'A foreign key does not come back; to add it: ' +
        visible(`alter table ${key.table} add constraint ${ident(key.name)} ${key.definition};`),
    ),
  ];
}

function restorable(target: UndoTarget): DroppedKey[] {
  return target.mark.incoming.filter((key) => whyLost(target, key) === undefined);
}

/** Tables, besides the converted one, that get a foreign key back. */
export function referencingTables(target: UndoTarget): string[] {
  const own = target.referencing.find((item) => item.oid === target.parent.table.oid)?.table;
  const tables = restorable(target).map((key) => key.table);
  return [...new Set(tables)].filter((table) => table !== own).sort();
}

/**
 * Foreign keys that the convert dropped come back unchecked: what was written meanwhile was never looked at. In the
 * transaction of the swap, which takes away the only record of them.
 */
export function incomingSteps(target: UndoTarget): Step[] {
  const table = relation(target.parent.table);
  return restorable(target).map((key) => {
    const definition = key.definition.endsWith(' NOT VALID') ? key.definition : `${key.definition} not valid`;
    return {
      sql: `alter table ${key.table} add constraint ${ident(key.name)} ${definition}`,
      locks: [
        { table: key.table, mode: 'SHARE ROW EXCLUSIVE' },
        { table, mode: 'SHARE ROW EXCLUSIVE' },
      ],
      why: 'new rows are checked from here on; ALTER TABLE ... VALIDATE CONSTRAINT checks the others',
    };
  });
}
