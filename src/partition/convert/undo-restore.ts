import { prelockStep, quietStep, transactionChange, type Change, type Step } from '../../plan/step.ts';
import { ident, literal, relation, visible } from '../../sql/quote.ts';
import { grantStatements } from '../child.ts';
import { triggerSteps } from './parts.ts';
import type { UndoTarget } from './undo.ts';

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

/** A foreign key that the convert dropped comes back unchecked: what was written meanwhile was never looked at. */
export function incomingChange(
  target: UndoTarget,
  key: { table: string; name: string; definition: string },
): Change {
  const table = relation(target.parent.table);
  const definition = key.definition.endsWith(' NOT VALID') ? key.definition : `${key.definition} not valid`;
  return transactionChange({
    summary: `add foreign key ${visible(key.name)} of ${visible(key.table)} again, not validated`,
    table: target.label,
    lockTimeoutMs: target.lockTimeoutMs,
    event: 'foreign_key_restored',
    steps: [
      prelockStep(key.table, target.deadlockTimeoutMs),
      ...(key.table === table ? [] : [prelockStep(table, target.deadlockTimeoutMs)]),
      {
        sql: `alter table ${key.table} add constraint ${ident(key.name)} ${definition}`,
        locks: [
          { table: key.table, mode: 'SHARE ROW EXCLUSIVE' },
          { table, mode: 'SHARE ROW EXCLUSIVE' },
        ],
        why: 'new rows are checked from here on; ALTER TABLE ... VALIDATE CONSTRAINT checks the others',
      },
    ],
  });
}
