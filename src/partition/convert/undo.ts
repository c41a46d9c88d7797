import { prelockStep, quietStep, transactionChange, type Change, type Step } from '../../plan/step.ts';
import type { LockNeed } from '../../sql/locks.ts';
import type { PartitionRow } from '../../sql/partitions.ts';
import { ident, literal, relation, visible, type RelationName } from '../../sql/quote.ts';
import type { ReferencingTableRow } from '../../sql/convert-hazards.ts';
import type { TableFacts } from './inspect.ts';
import type { ConvertedMark } from './marker.ts';
import { stageNames } from './names.ts';
import {
  addIdentitySql,
  guardStep,
  moveSequenceSteps,
  publicationSteps,
  sequenceGrantSteps,
  viewStep,
} from './parts.ts';
import { strongLockSteps } from './swap.ts';
import { rowSecurityObstacle, subscriptionObstacles } from './obstacles.ts';
import { incomingSteps, lostKeys, referencingTables, restoreSteps } from './undo-restore.ts';
import type { Obstacle } from './wish.ts';

/** A converted table with what its undo needs. */
export interface UndoTarget {
  label: string;
  mark: ConvertedMark;
  parent: TableFacts;
  legacy: TableFacts;
  /** The partitions besides the legacy one. */
  others: (PartitionRow & { hasRows: boolean; isRowSecured: boolean })[];
  /** The tables whose foreign keys the convert dropped, as they are now. */
  referencing: ReferencingTableRow[];
  /** Foreign keys that cannot come back are left out, as the operator allowed. */
  leavesKeysOut: boolean;
  versionNum: number;
  fingerprint: { expression: string; value: string };
  lockTimeoutMs: number;
  deadlockTimeoutMs: number;
}

/** What makes an undo impossible. Pure. */
export function undoObstacles(target: UndoTarget): Obstacle[] {
  const { parent, others } = target;
  return [
    ...others
      .filter((item) => item.hasRows)
      .map((item) => ({
        object: `partition ${visible(item.name)}`,
        problem: 'holds rows, so the convert cannot be undone any more',
        remedy: 'Keep the partitioned table, or move those rows away first.',
      })),
    ...[
      ...(parent.isRowSecured ? [`table ${target.label}`] : []),
      ...others.filter((item) => item.isRowSecured).map((item) => `partition ${visible(item.name)}`),
    ].map(rowSecurityObstacle),
    ...subscriptionObstacles(parent),
    ...(target.leavesKeysOut ? [] : lostKeys(target)),
    ...parent.incoming.map((key) => ({
      object: `foreign key ${visible(key.name)} of ${visible(key.table)}`,
      problem: 'references the partitioned table since the convert',
      remedy: 'Drop it first.',
    })),
    ...parent.dependents.map((item) => ({
      object: visible(item.description),
      problem: 'was made on the partitioned table since the convert and goes away with it',
      remedy: 'Drop it first, and make it again after.',
    })),
    ...(parent.parent.isOwner
      ? []
      : [
          {
            object: `table ${target.label}`,
            problem: 'belongs to another role',
            remedy: `Run as "${visible(parent.parent.owner)}".`,
          },
        ]),
  ];
}

/** The old table takes its name back; the parent and its empty partitions go. */
export function undoChanges(target: UndoTarget): Change[] {
  const { label } = target;
  return [
    ...primaryIndexChanges(target),
    transactionChange({
      summary: `make the old table ${label} again and drop the parent with its empty partitions`,
      table: label,
      lockTimeoutMs: target.lockTimeoutMs,
      event: 'convert_undone',
      steps: [
        ...[relation(target.parent.table), relation(target.legacy.table), ...referencingTables(target)].map(
          (table) => prelockStep(table, target.deadlockTimeoutMs),
        ),
        guardStep(target.fingerprint, label),
        ...strongLockSteps(strongLocks(target), target.parent.views),
        ...emptySteps(target),
        ...target.parent.triggers.map((trigger) =>
          quietStep(
            `drop trigger ${ident(trigger.name)} on ${relation(target.parent.table)}`,
            'goes back to the old table',
          ),
        ),
        {
          sql: `alter table ${relation(target.parent.table)} detach partition ${relation(target.legacy.table)}`,
          locks: foreignLocks(target),
          why: 'its rows stay where they are',
        },
        emptyParentStep(target),
        ...primaryKeySteps(target),
        ...sequenceSteps(target),
        ...renameSteps(target),
        ...restoreSteps(target),
        ...incomingSteps(target),
      ],
    }),
  ];
}

function names(target: UndoTarget) {
  return stageNames(target.parent.table.schema, target.parent.table.name);
}

function inSchema(target: UndoTarget, name: string): RelationName {
  return { schema: target.parent.table.schema, name };
}

/** The bare primary key was dropped in the swap: its index has to be built anew, which blocks nobody. */
function primaryIndexChanges(target: UndoTarget): Change[] {
  const { primaryKey } = target.mark;
  if (primaryKey === null) return [];
  const legacy = relation(target.legacy.table);
  const name = names(target).primaryKey;
  const include =
    primaryKey.included.length === 0 ? '' : ` include (${primaryKey.included.map(ident).join(', ')})`;
  const shared: Pick<Change, 'table' | 'kind' | 'lockTimeoutMs'> = {
    table: target.label,
    kind: 'single',
    lockTimeoutMs: null,
  };
  // An index that a failed build leaves invalid is still written to, and may go on refusing duplicates.
  const remove: Change = {
    ...shared,
    summary: `remove what an interrupted build left on ${visible(target.legacy.table.name)}`,
    statementTimeoutMs: 60_000,
    event: 'convert_index_removed',
    isIntermediate: true,
    steps: [
      quietStep(
        `drop index concurrently if exists ${relation(inSchema(target, name))}`,
        'an interrupted build leaves an invalid index of this name',
      ),
    ],
  };
  return [
    { ...remove, undo: remove },
    {
      ...shared,
      summary: `build the index of the old primary key on ${visible(target.legacy.table.name)}`,
      statementTimeoutMs: null,
      event: 'convert_index_built',
      isIntermediate: true,
      undo: remove,
      steps: [
        {
          sql: `create unique index concurrently ${ident(name)} on ${legacy} (${primaryKey.columns.map(ident).join(', ')})${include}`,
          locks: [{ table: legacy, mode: 'SHARE UPDATE EXCLUSIVE' }],
          why: 'the swap dropped it; readers and writers go on while it is built',
        },
      ],
    },
  ];
}

function foreignLocks(target: UndoTarget): LockNeed[] {
  const keys = target.parent.constraints.filter((item) => item.type === 'f' && item.target !== null);
  return keys.map((key) => ({ table: key.target ?? '', mode: 'ACCESS EXCLUSIVE' }));
}

function strongLocks(target: UndoTarget): LockNeed[] {
  const lockable = target.parent.constraints.filter((item) => item.type === 'f' && item.mayLockTarget);
  const tables = [
    relation(target.parent.table),
    relation(target.legacy.table),
    ...target.others.map((item) => relation(item)),
    ...lockable.map((item) => item.target ?? ''),
    ...referencingTables(target),
  ];
  return [...new Set(tables)].map((table) => ({ table, mode: 'ACCESS EXCLUSIVE' }));
}

/** Looked at once more, under the lock: a row, or a partition, may have come since the plan was made. */
function emptySteps(target: UndoTarget): Step[] {
  const planned = [target.legacy.table.oid, ...target.others.map((item) => item.oid)];
  const oids = planned.sort((one, other) => one - other).join(',');
  const isOther =
    `(select pg_catalog.array_agg(i.inhrelid order by i.inhrelid) from pg_catalog.pg_inherits as i ` +
    `where i.inhparent = ${String(target.parent.table.oid)}::pg_catalog.oid) ` +
    `is distinct from '{${oids}}'::pg_catalog.oid[]`;
  const checks = target.others.map((item) =>
    raiseIf(
      `exists (select from ${relation(item)})`,
      `partition ${visible(item.name)} has rows now, so the convert of ${target.label} cannot be undone any more`,
    ),
  );
  return [
    quietStep(
      `do ${literal(`begin ${raiseIf(isOther, `${target.label} has other partitions than when the undo was planned`, againHint)} end`)}`,
      'a partition that came meanwhile was never looked at',
    ),
    quietStep(`do ${literal(`begin ${checks.join(' ')} end`)}`, 'what is dropped must be empty'),
  ];
}

/** Whatever hangs below the parent by now, branches and all: with one row left in it, nothing is dropped. */
function emptyParentStep(target: UndoTarget): Step {
  const check = raiseIf(
    `exists (select from ${relation(target.parent.table)})`,
    `${target.label} has rows beside the old table, so its convert cannot be undone`,
  );
  return quietStep(`do ${literal(`begin ${check} end`)}`, 'the parent goes with all that is left in it');
}

const againHint = 'Run the command again: it plans anew.';

function raiseIf(condition: string, message: string, hint?: string): string {
  const also = hint === undefined ? '' : `, hint = ${literal(hint)}`;
  return `if ${condition} then raise exception using message = ${literal(message)}${also}; end if;`;
}

function primaryKeySteps(target: UndoTarget): Step[] {
  const { primaryKey, keyWasNullable, key } = target.mark;
  if (primaryKey === null) return [];
  const legacy = relation(target.legacy.table);
  const index = ident(names(target).primaryKey);
  const present = target.legacy.indexes.find((item) => item.isPrimary);
  const drop = present === undefined ? '' : `drop constraint ${ident(present.name)}, `;
  const steps = [
    quietStep(
      `alter table ${legacy} ${drop}add constraint ${index} primary key using index ${index}`,
      'the old primary key',
    ),
  ];
  if (keyWasNullable)
    steps.push(quietStep(`alter table ${legacy} alter column ${ident(key)} drop not null`, 'as it was'));
  return steps;
}

function sequenceSteps(target: UndoTarget): Step[] {
  const legacy = relation(target.legacy.table);
  const staged = inSchema(target, names(target).sequence);
  return target.parent.columns.flatMap((column) => {
    const { sequence } = column;
    if (sequence === null) return [];
    if (column.identity === '') {
      return [
        quietStep(
          `alter sequence ${relation(sequence)} owned by ${legacy}.${ident(column.name)}`,
          'else it goes with the parent',
        ),
      ];
    }
    return [
      quietStep(
        addIdentitySql(legacy, column.name, column.identity, sequence, staged),
        'the identity goes back to the old table',
      ),
      ...sequenceGrantSteps(sequence, staged),
      ...moveSequenceSteps(sequence, names(target).oldSequence, staged),
    ];
  });
}

/** The parent is dropped as soon as the views have left it: its indexes hold the names that go back. */
function renameSteps(target: UndoTarget): Step[] {
  const { mark, parent } = target;
  const name = relation(parent.table);
  const staged = inSchema(target, names(target).parent);
  const steps: Step[] = [
    quietStep(`alter table ${name} rename to ${ident(staged.name)}`, 'out of the way'),
    quietStep(
      `alter table ${relation(target.legacy.table)} rename to ${ident(parent.table.name)}`,
      'the old name',
    ),
    ...parent.views.map(viewStep),
    ...parent.publications.flatMap((item) => publicationSteps(item, relation(staged), name)),
    quietStep(`drop table ${relation(staged)}`, 'the parent and its partitions, all of them empty'),
  ];
  for (const column of parent.columns) {
    if (column.identity === '' || column.sequence === null) continue;
    const sequence = relation(inSchema(target, names(target).sequence));
    steps.push(
      quietStep(
        `alter sequence ${sequence} rename to ${ident(column.sequence.name)}`,
        'the name that it had',
      ),
    );
  }
  const { primaryKey } = mark;
  const indexes = [
    ...mark.indexes,
    ...(primaryKey === null ? [] : [{ now: names(target).primaryKey, before: primaryKey.name }]),
  ];
  for (const item of indexes) {
    steps.push(
      quietStep(
        `alter index if exists ${relation(inSchema(target, item.now))} rename to ${ident(item.before)}`,
        'the name that it had',
      ),
    );
  }
  for (const item of mark.statistics.filter((entry) => isThere(target, entry))) {
    steps.push(
      quietStep(
        `alter statistics ${relation({ schema: item.schema, name: item.now })} rename to ${ident(item.before)}`,
        'the name that it had',
      ),
    );
  }
  return steps;
}

function isThere(target: UndoTarget, item: { schema: string; now: string }): boolean {
  return target.legacy.statistics.some((row) => row.schema === item.schema && row.name === item.now);
}
