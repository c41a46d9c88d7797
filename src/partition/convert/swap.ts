import { quietStep, prelockStep, transactionChange, type Change, type Step } from '../../plan/step.ts';
import type { LockNeed } from '../../sql/locks.ts';
import type { DependentViewRow } from '../../sql/convert-dependents.ts';
import { ident, literal, relation } from '../../sql/quote.ts';
import { showPoint } from './cutover.ts';
import { convertedComment, cutoverConstraint } from './marker.ts';
import {
  guardStep,
  moveSequenceSteps,
  publicationSteps,
  replicaIdentityStep,
  triggerSteps,
  viewStep,
} from './parts.ts';
import { partitionSteps, stageName, stageSteps } from './stage.ts';
import type { ConvertTarget } from './target.ts';

/** How long the strong locks are waited for in one try, all of them together: this is what others may be stalled. */
export const strongLockTimeoutMs = 300;
const statementTimeoutMs = 2000;

/**
 * The one transaction that exchanges the tables. The parent and its new partitions are made first, while readers and
 * writers go on; the strong locks are taken when all that remains is catalog work of milliseconds.
 */
export function swapChange(target: ConvertTarget): Change {
  const { cutover, codec, zone, facts } = target;
  return transactionChange({
    summary: `make ${target.label} the parent and the old table its partition up to ${showPoint(cutover, codec, zone)}`,
    table: target.label,
    lockTimeoutMs: target.lockTimeoutMs,
    statementTimeoutMs,
    event: 'table_converted',
    fields: { legacy: relation(target.legacy), cutover: codec.format(cutover) },
    steps: [
      ...prelockSteps(target),
      guardStep(target.fingerprint, target.label),
      ...renameSteps(target),
      ...stageSteps(target),
      ...partitionSteps(target),
      ...strongLockSteps(strongLocks(target), facts.views),
      ...stripSteps(target),
      ...exchangeSteps(target),
      ...attachLegacySteps(target),
      ...followSteps(target),
    ],
  });
}

/** Tables at the other end of foreign keys; LOCK TABLE needs more than REFERENCES on them. */
function lockedOthers(target: ConvertTarget): string[] {
  const outgoing = target.facts.constraints
    .filter((item) => item.type === 'f' && !item.isSelfReference && item.mayLockTarget)
    .map((item) => item.target ?? '');
  const incoming = target.facts.incoming.map((item) => item.table);
  const own = relation(target.facts.table);
  return [...new Set([...outgoing, ...incoming])].filter((table) => table !== '' && table !== own).sort();
}

function prelockSteps(target: ConvertTarget): Step[] {
  const tables = [relation(target.facts.table), ...lockedOthers(target)];
  return tables.map((table) => prelockStep(table, target.deadlockTimeoutMs));
}

/** Everything that the swap locks against everybody. */
function strongLocks(target: ConvertTarget): LockNeed[] {
  const tables = [relation(target.facts.table), ...lockedOthers(target)];
  return tables.map((table) => ({ table, mode: 'ACCESS EXCLUSIVE' }));
}

/**
 * One statement, so that one time limit bounds the waiting for all of them. Views before tables, as whoever reads a view
 * locks them. LOCK TABLE on a view would lock everything that it reads, so the view is given the owner that it has.
 */
export function strongLockSteps(locks: LockNeed[], views: DependentViewRow[]): Step[] {
  const tables = locks.map((lock) => `only ${lock.table}`).join(', ');
  const lockTables = `lock table ${tables} in access exclusive mode`;
  const lockViews = views.map((view) => `alter view ${relation(view)} owner to ${ident(view.owner)};`);
  const viewLocks = views.map((view): LockNeed => ({ table: relation(view), mode: 'ACCESS EXCLUSIVE' }));
  return [
    quietStep(
      `set local statement_timeout = '${String(strongLockTimeoutMs)}ms'`,
      'bounds the time that others queue behind us',
    ),
    {
      sql:
        views.length === 0 ? lockTables : `do ${literal(`begin ${lockViews.join(' ')} ${lockTables}; end`)}`,
      locks: [...viewLocks, ...locks],
      why: 'all strong locks at once; what follows is catalog work of milliseconds',
    },
    quietStep(`set local statement_timeout = '${String(statementTimeoutMs)}ms'`, 'as before'),
  ];
}

/** The parent's indexes take the names that the application knows (ON CONFLICT ON CONSTRAINT ...). */
function renameSteps(target: ConvertTarget): Step[] {
  const { schema } = target.facts.table;
  const { primaryKey } = target;
  const steps = target.renamedIndexes.map((item) =>
    renameIndex(schema, item.before, item.now, 'its name goes to the index of the parent'),
  );
  if (primaryKey?.isExchanged === true) {
    steps.push(
      renameIndex(
        schema,
        primaryKey.index.name,
        target.names.primaryKey,
        'the old primary key, dropped below',
      ),
    );
  }
  return steps;
}

function renameIndex(schema: string, before: string, now: string, why: string): Step {
  return quietStep(`alter index ${relation({ schema, name: before })} rename to ${ident(now)}`, why);
}

/** Takes from the old table what a partition must not have. */
function stripSteps(target: ConvertTarget): Step[] {
  const { facts, primaryKey } = target;
  const table = relation(facts.table);
  const steps: Step[] = [];
  for (const trigger of facts.triggers) {
    steps.push(
      quietStep(
        `drop trigger ${ident(trigger.name)} on ${table}`,
        'its place is the parent; left here, the clone of the parent would meet it',
      ),
    );
  }
  for (const key of facts.incoming) {
    steps.push({
      sql: `alter table ${key.table} drop constraint ${ident(key.name)}`,
      locks: [{ table: key.table, mode: 'ACCESS EXCLUSIVE' }],
      why: 'no unique constraint fits it any more; its definition is kept for --undo',
    });
  }
  if (primaryKey?.isExchanged === true) {
    steps.push(
      quietStep(
        `alter table ${table} drop constraint ${ident(target.names.primaryKey)}, ` +
          `add constraint ${ident(target.newIndex)} primary key using index ${ident(target.newIndex)}`,
        'the index that was built before takes over; nothing is read',
      ),
    );
  }
  for (const column of facts.columns) {
    if (column.identity === '' || column.sequence === null) continue;
    const staged = { schema: facts.table.schema, name: target.names.sequence };
    steps.push(
      ...moveSequenceSteps(column.sequence, target.names.oldSequence, staged),
      quietStep(
        `alter table ${table} alter column ${ident(column.name)} drop identity`,
        'the parent has it now; 17 and 18 refuse to attach a table with an identity',
      ),
    );
  }
  return steps;
}

function exchangeSteps(target: ConvertTarget): Step[] {
  const { facts } = target;
  const table = relation(facts.table);
  const steps: Step[] = [
    quietStep(`alter table ${table} rename to ${ident(target.legacy.name)}`, 'the old table'),
    quietStep(
      `alter table ${relation(stageName(target))} rename to ${ident(facts.table.name)}`,
      'from here on the name is the parent',
    ),
  ];
  for (const column of facts.columns) {
    if (column.sequence === null) continue;
    const { schema, name } = column.sequence;
    steps.push(
      column.identity === ''
        ? quietStep(
            `alter sequence ${relation({ schema, name })} owned by ${table}.${ident(column.name)}`,
            'the sequence of a serial column goes with the parent',
          )
        : quietStep(
            `alter sequence ${relation({ schema: facts.table.schema, name: target.names.sequence })} rename to ${ident(name)}`,
            'the name that the application knows',
          ),
    );
  }
  return steps;
}

/** Foreign keys and triggers first: the attach then finds the old table's keys equal and clones the triggers with state. */
function attachLegacySteps(target: ConvertTarget): Step[] {
  const { facts, legacy } = target;
  const table = relation(facts.table);
  const steps: Step[] = [];
  for (const key of facts.constraints.filter((item) => item.type === 'f' && !item.isSelfReference)) {
    const name = ident(key.name);
    steps.push({
      sql: `alter table ${table} add constraint ${name} ${key.definition}`,
      locks: [{ table: key.target ?? '', mode: 'SHARE ROW EXCLUSIVE' }],
      why: 'as it was; only empty partitions are looked at',
    });
    if (key.comment !== null)
      steps.push(
        quietStep(`comment on constraint ${name} on ${table} is ${literal(key.comment)}`, 'as it was'),
      );
  }
  steps.push(...facts.triggers.flatMap((trigger) => triggerSteps(trigger, table)));
  steps.push(
    {
      sql: `alter table ${table} attach partition ${relation(legacy)} for values from (minvalue) to (${target.cutoverLiteral})`,
      locks: facts.constraints
        .filter((item) => item.type === 'f' && !item.isSelfReference)
        .map((item) => ({ table: item.target ?? '', mode: 'ACCESS EXCLUSIVE' })),
      why: 'the proven CHECK spares the scan, equal indexes and foreign keys are taken over',
    },
    quietStep(
      `alter table ${relation(legacy)} drop constraint ${cutoverConstraint}`,
      'the bound says the same now',
    ),
  );
  return steps;
}

/** Views, statistics, publications, replica identity, and the comment that undo reads. */
function followSteps(target: ConvertTarget): Step[] {
  const { facts, legacy } = target;
  const table = relation(facts.table);
  const steps: Step[] = facts.views.map(viewStep);
  for (const [index, item] of facts.statistics.entries()) {
    const renamed = target.renamedStatistics[index];
    const name = relation(item);
    steps.push(
      quietStep(`alter statistics ${name} rename to ${ident(renamed?.now ?? '')}`, "the old table's"),
      quietStep(item.definition, 'as it was, on the parent'),
    );
    if (item.target !== null)
      steps.push(quietStep(`alter statistics ${name} set statistics ${String(item.target)}`, 'as it was'));
    if (item.comment !== null)
      steps.push(quietStep(`comment on statistics ${name} is ${literal(item.comment)}`, 'as it was'));
  }
  steps.push(...facts.publications.flatMap((item) => publicationSteps(item, relation(legacy), table)));
  const identityIndex = facts.indexes.find((item) => item.isReplicaIdentity);
  if (identityIndex !== undefined)
    steps.push(replicaIdentityStep({ schema: identityIndex.schema, name: identityIndex.name }));
  steps.push(
    quietStep(
      `comment on table ${relation(legacy)} is ${literal(convertedMark(target))}`,
      'what --undo needs',
    ),
  );
  return steps;
}

function convertedMark(target: ConvertTarget): string {
  const { facts, primaryKey } = target;
  return convertedComment({
    name: facts.table.name,
    key: target.wish.key,
    cutover: target.codec.format(target.cutover),
    primaryKey:
      primaryKey?.isExchanged === true
        ? {
            name: primaryKey.index.name,
            columns: primaryKey.index.columns,
            included: primaryKey.index.includedColumns,
          }
        : null,
    keyWasNullable: primaryKey?.isExchanged === true && !target.keyColumn.isNotNull,
    indexes: target.renamedIndexes,
    statistics: target.renamedStatistics,
    incoming: facts.incoming.map(({ table, name, definition }) => ({ table, name, definition })),
    replicaIdentityWasPrimaryKey: primaryKey?.index.isReplicaIdentity === true,
  });
}
