import { durationMs } from '../config/duration.ts';
import { splitTable } from '../config/settings.ts';
import { DbopsError } from '../errors.ts';
import { withAdvisoryLock } from '../pg/advisory-lock.ts';
import type { Db } from '../pg/connection.ts';
import { applyChanges, type ApplyOptions } from '../plan/apply.ts';
import { prelockStep, quietStep, transactionChange, type Change } from '../plan/step.ts';
import {
  hasReferences,
  isDetachPending,
  listIncomingKeys,
  listMembers,
  type IncomingKeyRow,
  type MemberRow,
} from '../sql/detach.ts';
import { insertLedgerSql, ledgerStateSql } from '../sql/ledger.ts';
import type { LockNeed } from '../sql/locks.ts';
import { listForeignKeys, type ForeignKeyRow } from '../sql/parents.ts';
import { displayName, ident, relation, visible } from '../sql/quote.ts';
import { boundConstraint } from './child.ts';
import type { JobContext } from './context.ts';
import { currentPoints, loadSets } from './load-sets.ts';
import { markSql } from './marker.ts';
import { detachDeadlineMs, finalizeChange } from './pending.ts';
import { combineProblems } from './problems.ts';
import { reconcileChanges } from './reconcile.ts';
import { duePartitions, policyOf, type DuePolicy } from './retention.ts';
import type { PartitionSet } from './set.ts';
import { stateChanges } from './state-changes.ts';

export interface DetachOptions {
  partitions: string[];
  due: boolean;
  /** How many partitions of one table may go in one run. */
  max: number;
}

/** A partition that will be detached, and why. */
export interface DetachTarget {
  member: MemberRow;
  parent: { schema: string; name: string };
  policy: DuePolicy;
  reason: string;
  dropAfter: Date | null;
  changes: Change[];
}

export interface DetachPlan {
  /** State schema and what earlier runs left undone. */
  before: Change[];
  targets: DetachTarget[];
  /** What is due and not done in this run, and why. */
  notes: string[];
}

/** Plans the detach of named partitions, or of those that are due by the configuration. Changes nothing. */
export async function planDetach(
  context: Omit<JobContext, 'consent'>,
  options: DetachOptions,
): Promise<DetachPlan> {
  const { db, settings } = context;
  const { sets, problems } = await loadSets(db, settings.partitions);
  const notes: string[] = [];
  if (options.due && problems.length > 0)
    throw combineProblems(problems.map((item) => ({ table: item.settings.table, error: item.error })));
  const asked = options.due
    ? await dueWishes(context, sets, options.max, notes)
    : namedWishes(options.partitions);
  const wishes = [...pendingWishes(sets, asked), ...asked];
  const members = await listMembers(db, wishes);
  const targets: DetachTarget[] = [];
  for (const [index, wish] of wishes.entries()) {
    const member = members.find((row) => row.ordinal === index + 1);
    if (member === undefined) throw notFound(wish);
    targets.push(await planTarget(context, member, wish.reason, sets));
  }
  const before = [...(await stateChanges(db, settings.stateSchema)), ...(await reconcileChanges(context))];
  return { before, targets, notes };
}

interface Wish {
  schema: string;
  name: string;
  reason: string;
}

function namedWishes(names: string[]): Wish[] {
  return names.map((name) => ({ ...splitTable(name), reason: 'by name' }));
}

/** A detach that was interrupted comes first: its rows are in no query, and others are refused until it is finished. */
function pendingWishes(sets: PartitionSet[], asked: Wish[]): Wish[] {
  return sets
    .flatMap((set) => set.branches.flatMap((branch) => branch.pending))
    .filter((item) => !asked.some((wish) => wish.schema === item.schema && wish.name === item.name))
    .map((item) => ({ schema: item.schema, name: item.name, reason: 'an interrupted detach' }));
}

function notFound(wish: Wish): DbopsError {
  return new DbopsError('table_not_found', `table ${displayName(wish)} does not exist`, {
    hint: 'List the partitions with "dbops partition list <table>".',
  });
}

/** The oldest first, at most `max` of a table: a mistake in the configuration must not empty a table in one night. */
async function dueWishes(
  context: Omit<JobContext, 'consent'>,
  sets: PartitionSet[],
  max: number,
  notes: string[],
): Promise<Wish[]> {
  const points = await currentPoints(context.db, sets, context.now);
  const wishes: Wish[] = [];
  const waiting: string[] = [];
  for (const set of sets) {
    const current = points.get(set.rootOid);
    if (current === undefined) continue;
    const due = set.branches.flatMap((branch) => duePartitions(set, branch, current));
    if (due.length === 0) continue;
    if (policyOf(set) === 'archive') {
      waiting.push(`${set.label} (${String(due.length)})`);
      continue;
    }
    if (due.length > max)
      notes.push(
        `${set.label}: ${String(due.length)} due, ${String(max)} in this run; --max lifts the limit`,
      );
    for (const partition of due.slice(0, max)) {
      wishes.push({ schema: partition.schema, name: partition.name, reason: 'due by retention' });
    }
  }
  if (waiting.length > 0) {
    notes.push(`due, but kept until their copy is archived and proven: ${waiting.join(', ')}`);
  }
  return wishes;
}

async function planTarget(
  context: Omit<JobContext, 'consent'>,
  member: MemberRow,
  reason: string,
  sets: PartitionSet[],
): Promise<DetachTarget> {
  const label = displayName(member);
  const { parentOid, parentSchema, parentName } = member;
  if (parentOid === null || parentSchema === null || parentName === null) {
    throw new DbopsError('refused', `${label} is not attached to a partitioned table`, {
      hint:
        member.comment?.startsWith('dbops:detached') === true
          ? 'It was detached before; "dbops partition drop" or "attach" is what comes next.'
          : 'Name a partition; "dbops partition list <table>" shows them.',
    });
  }
  const parent = { schema: parentSchema, name: parentName };
  if (!member.isOwner) {
    throw new DbopsError(
      'privilege_missing',
      `role "${context.db.server.user}" does not own ${displayName(parent)}, and DETACH PARTITION needs that`,
      {
        hint: `Run as its owner, or grant its owner's role to ${ident(context.db.server.user)}.`,
      },
    );
  }
  await refuseReferenced(context.db, member, parentOid);
  const set = sets.find((item) => item.branches.some((branch) => branch.oid === parentOid));
  const policy = set === undefined ? 'keep' : policyOf(set);
  const quarantine = set?.settings.quarantine;
  const dropAfter =
    policy === 'delete' && quarantine !== undefined
      ? new Date(context.now.getTime() + durationMs(quarantine))
      : null;
  const target = { member, parent, policy, reason, dropAfter, changes: [] };
  const foreignKeys = await listForeignKeys(context.db, [parentOid]);
  return { ...target, changes: targetChanges(context, target, foreignKeys) };
}

/** PostgreSQL would refuse as well, half way; this says it before anything begins, and names the table. */
async function refuseReferenced(db: Db, member: MemberRow, parentOid: number): Promise<void> {
  for (const key of await listIncomingKeys(db, parentOid)) {
    if (await references(db, key, member)) {
      throw new DbopsError(
        'refused',
        `rows of ${visible(`${key.schema}.${key.table}`)} reference ${displayName(member)}`,
        {
          detail: `foreign key ${visible(key.constraint)}`,
          hint: 'Delete or move the referencing rows first; a detach would leave them without what they point at.',
        },
      );
    }
  }
}

async function references(db: Db, key: IncomingKeyRow, member: MemberRow): Promise<boolean> {
  return await hasReferences(
    db,
    { table: relation({ schema: key.schema, name: key.table }), columns: key.columns.map(ident) },
    { table: relation(member), columns: key.referencedColumns.map(ident) },
  );
}

function targetChanges(
  context: Omit<JobContext, 'consent'>,
  target: Omit<DetachTarget, 'changes'>,
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
    steps: [
      quietStep(
        insertLedgerSql(settings.stateSchema, {
          parent,
          partition: member,
          oid: member.oid,
          bounds: member.bound ?? '',
          reason: target.reason,
          policy: target.policy,
        }),
        'so that a run which is killed is understood by the next',
      ),
    ],
  });
  if (member.isDetachPending)
    return [ledger, finalizeChange(parent, member), ...markChanges(context, target)];
  return member.defaultName === null
    ? [ledger, concurrentChange(parent, member), ...markChanges(context, target)]
    : [ledger, plainChange(context, target, foreignKeys), validateChange(parent, member)];
}

/** Readers and writers of the parent go on; it cannot be given a lock_timeout, so it begins only when nothing is in the way. */
function concurrentChange(parent: DetachTarget['parent'], member: MemberRow): Change {
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
        ],
        why: 'waits for older transactions on the parent without a place in a lock queue; leaves a CHECK equal to the bound',
      },
    ],
  };
}

/** With a default partition only the plain form works: ACCESS EXCLUSIVE on the parent, for milliseconds or not at all. */
function plainChange(
  context: Omit<JobContext, 'consent'>,
  target: Omit<DetachTarget, 'changes'>,
  foreignKeys: ForeignKeyRow[],
): Change {
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

function markChanges(context: Omit<JobContext, 'consent'>, target: Omit<DetachTarget, 'changes'>): Change[] {
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

function markSteps(
  context: Omit<JobContext, 'consent'>,
  target: Omit<DetachTarget, 'changes'>,
): Change['steps'] {
  const { member, parent, dropAfter } = target;
  const mark = { from: relation(parent), bounds: member.bound ?? '', at: context.now, dropAfter };
  return [
    quietStep(markSql(relation(member), mark), 'drop touches only what is marked'),
    quietStep(
      ledgerStateSql(context.settings.stateSchema, member.oid, 'detached', dropAfter),
      'the ledger says the same',
    ),
  ];
}

/** Executes a detach plan, one table at a time under that table's lock. */
export async function applyDetach(context: JobContext, plan: DetachPlan): Promise<void> {
  const { db, waitMs, signal, settings, log } = context;
  const options: ApplyOptions = { log, signal, deadlineMs: settings.lockDeadlineMs };
  await applyChanges(db, plan.before, context.applied, options);
  await context.history.begin(
    db,
    plan.targets.map((target) => displayName(target.member)),
  );
  for (const target of plan.targets) {
    const name = displayName(target.parent);
    await withAdvisoryLock(
      db,
      { table: target.member.parentOid ?? 0, name },
      { waitMs, signal },
      async () => {
        for (const change of target.changes) await applyOrFinalize(context, target, change, options);
      },
    );
  }
}

/** A concurrent detach that ran into its deadline is pending: it must be finished, not tried again. */
async function applyOrFinalize(
  context: JobContext,
  target: DetachTarget,
  change: Change,
  options: ApplyOptions,
): Promise<void> {
  const { db, applied } = context;
  try {
    await applyChanges(db, [change], applied, options);
  } catch (error) {
    if (change.isTriedOnce !== true || context.signal.aborted) throw error;
    if (!(await isDetachPending(db, target.member.oid))) throw error;
    applied.changes += 1;
    await applyChanges(db, [finalizeChange(target.parent, target.member)], applied, options);
  }
}
