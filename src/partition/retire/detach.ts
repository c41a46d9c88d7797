import { durationMs } from '../../config/duration.ts';
import { splitTable } from '../../config/settings.ts';
import { DbopsError } from '../../errors.ts';
import { withAdvisoryLock } from '../../pg/advisory-lock.ts';
import type { Db } from '../../pg/connection.ts';
import { applyChanges, type ApplyOptions } from '../../plan/apply.ts';
import type { Change } from '../../plan/step.ts';
import {
  hasReferences,
  isDetachPending,
  listIncomingKeys,
  listMembers,
  type IncomingKeyRow,
  type MemberRow,
} from '../../sql/detach.ts';
import { listForeignKeys } from '../../sql/parents.ts';
import { displayName, ident, relation, visible } from '../../sql/quote.ts';
import type { JobContext, PlanContext } from '../context.ts';
import { detachChanges, type DetachTarget } from './detach-changes.ts';
import { gridOfBranch } from '../model/diagnose.ts';
import type { Point } from '../model/key.ts';
import { currentPoints, loadSets } from '../model/load-sets.ts';
import { forEachTable, positionUnknown, type Problem } from '../problems.ts';
import { reconcileChanges } from './reconcile.ts';
import { duePartitions, policyOf } from '../model/retention.ts';
import type { PartitionSet } from '../model/set.ts';
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
  /** Due partitions that cannot be detached, and tables that cannot be judged; the others go all the same. */
  problems: Problem[];
}

/** Plans the detach of named partitions, or of those that are due by the configuration. Changes nothing. */
export async function planDetach(context: PlanContext, options: DetachOptions): Promise<DetachPlan> {
  const { db, settings } = context;
  const { sets, problems } = await loadSets(db, settings.partitions);
  const notes: string[] = [];
  const found: Problem[] = options.due
    ? problems.map((item) => ({ table: item.settings.table, error: item.error }))
    : [];
  const asked = options.due
    ? await dueWishes(context, sets, options.max, { notes, problems: found })
    : namedWishes(options.partitions);
  const wishes = [...pendingWishes(sets, asked), ...asked];
  const members = await listMembers(db, wishes);
  const targets: PlannedDetach[] = [];
  for (const [index, wish] of wishes.entries()) {
    const member = members.find((row) => row.ordinal === index + 1);
    try {
      if (member === undefined) throw notFound(wish);
      targets.push(await planTarget(context, member, wish.reason, sets));
    } catch (error) {
      if (!options.due || !(error instanceof DbopsError) || error.exitCode === 3) throw error;
      found.push({ table: displayName(wish), error });
    }
  }
  const state = targets.length === 0 ? [] : await stateChanges(db, settings.stateSchema);
  return { before: [...state, ...(await reconcileChanges(context, sets))], targets, notes, problems: found };
}

const dueReason = 'due by retention';

/** Why nothing may be called due in a set: its bounds contradict the configuration, or its position is unknown. */
function cannotJudge(set: PartitionSet, current: Point | undefined): DbopsError | undefined {
  if (set.settings.retention === undefined) return undefined;
  if (current === undefined) return positionUnknown(set.label);
  try {
    for (const branch of set.branches) gridOfBranch(set, branch);
    return undefined;
  } catch (error) {
    if (error instanceof DbopsError) return error;
    throw error;
  }
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
  context: PlanContext,
  sets: PartitionSet[],
  max: number,
  told: { notes: string[]; problems: Problem[] },
): Promise<Wish[]> {
  const points = await currentPoints(context.db, sets, context.now);
  const wishes: Wish[] = [];
  const waiting: string[] = [];
  for (const set of sets) {
    const current = points.get(set.rootOid);
    const problem = cannotJudge(set, current);
    if (problem !== undefined || current === undefined) {
      if (problem !== undefined) told.problems.push({ table: set.label, error: problem });
      continue;
    }
    const due = set.branches.flatMap((branch) => duePartitions(set, branch, current));
    if (due.length === 0) continue;
    if (policyOf(set) === 'archive') {
      waiting.push(`${set.label} (${String(due.length)})`);
      continue;
    }
    if (due.length > max)
      told.notes.push(
        `${set.label}: ${String(due.length)} due, ${String(max)} in this run; --max lifts the limit`,
      );
    for (const partition of due.slice(0, max)) {
      wishes.push({ schema: partition.schema, name: partition.name, reason: dueReason });
    }
  }
  if (waiting.length > 0) {
    told.notes.push(`due, but kept until their copy is archived and proven: ${waiting.join(', ')}`);
  }
  return wishes;
}

async function planTarget(
  context: PlanContext,
  member: MemberRow,
  reason: string,
  sets: PartitionSet[],
): Promise<PlannedDetach> {
  const set = sets.find((item) => item.branches.some((branch) => branch.oid === member.parentOid));
  // Only what the policy has made due may be dropped by it: a partition detached by hand is kept until it is named.
  const policy = set === undefined || reason !== dueReason ? 'keep' : policyOf(set);
  const dropAfter =
    set !== undefined && policy === 'delete'
      ? new Date(context.now.getTime() + durationMs(set.settings.quarantine))
      : null;
  return await planDetachOf(context, member, { reason, policy, dropAfter, archiveId: null });
}

/**
 * Plans the detach of one partition. Throws refused or privilege_missing for one that cannot be detached: attached to
 * nothing, owned by another role, or referenced by rows of another table.
 */
export async function planDetachOf(
  context: PlanContext,
  member: MemberRow,
  wish: Pick<DetachTarget, 'reason' | 'policy' | 'dropAfter' | 'archiveId'>,
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
  if (!member.ownsTable) {
    throw new DbopsError(
      'privilege_missing',
      `role "${context.db.server.user}" does not own ${label}, and could not mark it`,
      {
        hint: `Give it its parent's owner: ALTER TABLE ${relation(member)} OWNER TO ...; "dbops partition check" finds such partitions.`,
      },
    );
  }
  await refuseReferenced(context.db, member, parentOid);
  const target = { member, parent, ...wish };
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
    if (plan.targets.length === 0 && plan.before.length === 0) return plan;
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
export async function applyTarget(
  context: JobContext,
  target: PlannedDetach,
  options: ApplyOptions,
): Promise<void> {
  const { db, applied } = context;
  try {
    await applyChanges(db, target.changes, applied, options);
  } catch (error) {
    if (context.signal.aborted || !(await isDetachPending(db, target.member.oid))) throw error;
    const member = { ...target.member, isDetachPending: true };
    await applyChanges(db, detachChanges(context, { ...target, member }, []), applied, options);
  }
}
