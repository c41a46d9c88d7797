import { prelockStep, quietStep, transactionChange, type Change } from '../../plan/step.ts';
import type { MemberRow } from '../../sql/detach.ts';
import { deleteLedgerSql, insertLedgerSql, ledgerStateSql } from '../../sql/ledger.ts';
import type { LockNeed } from '../../sql/locks.ts';
import type { ForeignKeyRow } from '../../sql/parents.ts';
import { displayName, relation } from '../../sql/quote.ts';
import { boundConstraint } from '../create/child.ts';
import type { PlanContext } from '../context.ts';
import { markSql } from './marker.ts';
import { detachDeadlineMs, finalizeChange } from './pending.ts';
import type { DuePolicy } from '../model/retention.ts';

/** A partition that will be detached, and why. */
export interface DetachTarget {
  member: MemberRow;
  parent: { schema: string; name: string };
  policy: DuePolicy;
  reason: string;
  /** Null: never by itself. */
  dropAfter: Date | null;
  /** The archive that holds its rows, where that is why it goes. */
  archiveId: string | null;
}

/** The changes of one detach: noted in the ledger, detached, marked. Each state in between is understood by the next run. */
export function detachChanges(
  context: PlanContext,
  target: DetachTarget,
  foreignKeys: ForeignKeyRow[],
): Change[] {
  const { member, parent } = target;
  const { settings } = context;
  const label = displayName(parent);
  const ledger = transactionChange({
    summary: `note in the ledger that ${displayName(member)} is about to leave ${label}`,
    table: label,
    event: 'partition_detach_begun',
    isIntermediate: true,
    undo: transactionChange({
      summary: `take the note about ${displayName(member)} back`,
      table: label,
      event: 'partition_detach_given_up',
      steps: [quietStep(deleteLedgerSql(settings.stateSchema, member.oid), 'it never left')],
    }),
    steps: [
      quietStep(
        insertLedgerSql(settings.stateSchema, {
          parent,
          partition: member,
          oid: member.oid,
          bounds: member.bound ?? '',
          reason: target.reason,
          policy: target.policy,
          archiveId: target.archiveId,
        }),
        'so that a run which is killed is understood by the next',
      ),
    ],
  });
  if (member.isDetachPending)
    return [ledger, finalizeChange(parent, member), ...markChanges(context, target)];
  return member.defaultName === null
    ? [ledger, concurrentChange(parent, member, foreignKeys), ...markChanges(context, target)]
    : [ledger, plainChange(context, target, foreignKeys), validateChange(parent, member)];
}

/** Readers and writers of the parent go on; it cannot be given a lock_timeout, so it begins only when nothing is in the way. */
function concurrentChange(
  parent: DetachTarget['parent'],
  member: MemberRow,
  foreignKeys: ForeignKeyRow[],
): Change {
  // Without a lock_timeout it takes SHARE on the tables whose foreign keys point here, and their writers would queue.
  const referencing = foreignKeys
    .filter((key) => key.direction === 'incoming')
    .map((key): LockNeed => ({
      table: relation({ schema: key.otherSchema, name: key.otherName }),
      mode: 'SHARE',
    }));
  const parentTable = relation(parent);
  const table = relation(member);
  return {
    summary: `detach ${displayName(member)} from ${displayName(parent)}`,
    table: displayName(parent),
    kind: 'single',
    lockTimeoutMs: null,
    statementTimeoutMs: detachDeadlineMs,
    startWhenFree: [
      { table: parentTable, mode: 'ACCESS EXCLUSIVE' },
      { table, mode: 'ACCESS EXCLUSIVE' },
      ...referencing,
    ],
    isTriedOnce: true,
    event: 'partition_detached_concurrently',
    isIntermediate: true,
    steps: [
      {
        sql: `alter table ${parentTable} detach partition ${table} concurrently`,
        locks: [
          { table: parentTable, mode: 'SHARE UPDATE EXCLUSIVE' },
          { table, mode: 'ACCESS EXCLUSIVE' },
          ...referencing,
        ],
        why: 'waits for older transactions on the parent without a place in a lock queue; leaves a CHECK equal to the bound',
      },
    ],
  };
}

/** With a default partition only the plain form works: ACCESS EXCLUSIVE on the parent, for milliseconds or not at all. */
function plainChange(context: PlanContext, target: DetachTarget, foreignKeys: ForeignKeyRow[]): Change {
  const { member, parent } = target;
  const { settings, db } = context;
  const table = relation(member);
  const defaultTable = relation({ schema: member.defaultSchema ?? '', name: member.defaultName ?? '' });
  const locks: LockNeed[] = [relation(parent), table, defaultTable].map((name) => ({
    table: name,
    mode: 'ACCESS EXCLUSIVE',
  }));
  for (const key of foreignKeys) {
    const other = relation({ schema: key.otherSchema, name: key.otherName });
    locks.push({
      table: other,
      mode: key.direction === 'incoming' ? 'ACCESS EXCLUSIVE' : 'SHARE ROW EXCLUSIVE',
    });
  }
  return transactionChange({
    summary: `detach ${displayName(member)} from ${displayName(parent)}`,
    table: displayName(parent),
    lockTimeoutMs: settings.lockTimeoutMs,
    event: 'partition_detached',
    fields: { partition: `${member.schema}.${member.name}` },
    steps: [
      prelockStep(table, db.server.deadlockTimeoutMs),
      prelockStep(defaultTable, db.server.deadlockTimeoutMs),
      {
        sql: `alter table ${relation(parent)} detach partition ${table}`,
        locks,
        why: 'CONCURRENTLY is not possible beside a default partition',
      },
      quietStep(
        `alter table ${table} add constraint ${boundConstraint} check (${member.constraint ?? 'true'}) not valid`,
        'so that attaching it again needs no scan',
      ),
      ...markSteps(context, target),
    ],
  });
}

function validateChange(parent: DetachTarget['parent'], member: MemberRow): Change {
  return transactionChange({
    summary: `validate the bound of ${displayName(member)}`,
    table: displayName(parent),
    statementTimeoutMs: null,
    event: 'partition_bound_validated',
    isIntermediate: true,
    steps: [
      quietStep(
        `alter table ${relation(member)} validate constraint ${boundConstraint}`,
        'reads the detached table, which nobody uses through its parent any more',
      ),
    ],
  });
}

function markChanges(context: PlanContext, target: DetachTarget): Change[] {
  return [
    transactionChange({
      summary: `detached ${displayName(target.member)} from ${displayName(target.parent)}, marked`,
      table: displayName(target.parent),
      event: 'partition_detached',
      fields: { partition: `${target.member.schema}.${target.member.name}` },
      steps: markSteps(context, target),
    }),
  ];
}

function markSteps(context: PlanContext, target: DetachTarget): Change['steps'] {
  const { member, parent, dropAfter, archiveId } = target;
  const mark = {
    from: relation(parent),
    bounds: member.bound ?? '',
    at: context.now,
    dropAfter,
    archive: archiveId,
  };
  return [
    quietStep(markSql(relation(member), mark), 'drop touches only what is marked'),
    quietStep(
      ledgerStateSql(context.settings.stateSchema, member.oid, 'detached', dropAfter),
      'the ledger says the same',
    ),
  ];
}
