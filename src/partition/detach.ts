import { durationMs } from '../config/duration.ts';
import { splitTable } from '../config/settings.ts';
import { DbopsError } from '../errors.ts';
import { withAdvisoryLock } from '../pg/advisory-lock.ts';
import type { Db } from '../pg/connection.ts';
import { applyChanges, type ApplyOptions } from '../plan/apply.ts';
import type { Change } from '../plan/step.ts';
import {
  hasReferences,
  isDetachPending,
  listIncomingKeys,
  listMembers,
  type IncomingKeyRow,
  type MemberRow,
} from '../sql/detach.ts';
import { listForeignKeys } from '../sql/parents.ts';
import { displayName, ident, relation, visible } from '../sql/quote.ts';
import type { JobContext } from './context.ts';
import { detachChanges, type DetachTarget } from './detach-changes.ts';
import { currentPoints, loadSets } from './load-sets.ts';
import { combineProblems, forEachTable } from './problems.ts';
import { reconcileChanges } from './reconcile.ts';
import { duePartitions, policyOf } from './retention.ts';
import type { PartitionSet } from './set.ts';
import { stateChanges } from './state-changes.ts';

export interface DetachOptions {
  partitions: string[];
  due: boolean;
  /** How many partitions of one table may go in one run. */
  max: number;
}

/** A partition that will be detached, with what will be done. */
export type PlannedDetach = DetachTarget & { changes: Change[] };

export interface DetachPlan {
  /** State schema and what earlier runs left undone. */
  before: Change[];
  targets: PlannedDetach[];
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
  const targets: PlannedDetach[] = [];
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
): Promise<PlannedDetach> {
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
  const target = { member, parent, policy, reason, dropAfter };
  const foreignKeys = await listForeignKeys(context.db, [parentOid]);
  return { ...target, changes: detachChanges(context, target, foreignKeys) };
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

/**
 * Detaches what `replan` names, planned once more under the advisory lock "retention"; one table after the other, each
 * under its own lock. A table whose lock is not to be had does not stop the others.
 */
export async function applyDetach(
  context: JobContext,
  replan: () => Promise<DetachPlan>,
): Promise<DetachPlan> {
  const { db, waitMs, signal, settings, log } = context;
  const options: ApplyOptions = { log, signal, deadlineMs: settings.lockDeadlineMs };
  return await withAdvisoryLock(db, 'retention', { waitMs, signal }, async () => {
    const plan = await replan();
    if (plan.targets.length === 0) return plan;
    await applyChanges(db, plan.before, context.applied, options);
    await context.history.begin(
      db,
      plan.targets.map(({ member }) => displayName(member)),
    );
    await forEachTable(
      plan.targets,
      ({ parent }) => displayName(parent),
      async (target) => {
        const lock = { table: target.member.rootOid, name: displayName(target.parent) };
        await withAdvisoryLock(db, lock, { waitMs, signal }, () => applyTarget(context, target, options));
      },
    );
    return plan;
  });
}

/** A concurrent detach that ran into its deadline is pending: it must be finished, not tried again. */
async function applyTarget(context: JobContext, target: PlannedDetach, options: ApplyOptions): Promise<void> {
  const { db, applied } = context;
  try {
    await applyChanges(db, target.changes, applied, options);
  } catch (error) {
    if (context.signal.aborted || !(await isDetachPending(db, target.member.oid))) throw error;
    const member = { ...target.member, isDetachPending: true };
    await applyChanges(db, detachChanges(context, { ...target, member }, []), applied, options);
  }
}
