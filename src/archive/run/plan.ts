import { durationMs } from '../../config/duration.ts';
import { splitTable } from '../../config/settings.ts';
import { DbopsError } from '../../errors.ts';
import type { Change } from '../../plan/step.ts';
import type { PlanContext } from '../../partition/context.ts';
import { gridOfBranch } from '../../partition/model/diagnose.ts';
import type { Point } from '../../partition/model/key.ts';
import { currentPoints, loadSets } from '../../partition/model/load-sets.ts';
import { duePartitions, policyOf } from '../../partition/model/retention.ts';
import {
  setOfParent,
  type Branch,
  type FinitePartition,
  type PartitionSet,
} from '../../partition/model/set.ts';
import { positionUnknown, type Problem } from '../../partition/problems.ts';
import { planDetachOf } from '../../partition/retire/detach.ts';
import { parseMark } from '../../partition/retire/marker.ts';
import { finalizeChanges } from '../../partition/retire/pending.ts';
import { reconcileChanges } from '../../partition/retire/reconcile.ts';
import { stateChanges } from '../../partition/retire/state-changes.ts';
import { listArchiveRows, type ArchiveRow } from '../../sql/archives.ts';
import { listMembers } from '../../sql/detach.ts';
import { listOpenLedger, type LedgerRow } from '../../sql/ledger.ts';
import { displayName, relation } from '../../sql/quote.ts';
import type { ArchiveTarget } from '../export/target.ts';
import { planCopies, type PlannedCopies } from './copies.ts';
import type { DropCandidate } from './retire.ts';

export const goals = ['verified', 'detached', 'dropped'] as const;
/** How far a run goes with each partition. */
export type Goal = (typeof goals)[number];

export interface RunOptions {
  /** Partitions by name; empty: those that are due. */
  partitions: string[];
  until: Goal;
  /** How many partitions of one table may be archived, and how many dropped, in one run. */
  max: number;
}

/** A partition that is archived and detached in this run. */
export interface PlannedArchive extends ArchiveTarget {
  label: string;
  /** An archive of it that an earlier run made and did not come further with. */
  made: ArchiveRow | undefined;
  /** The detach as it will be planned again after the export. */
  detach: Change[];
}

/** A partition that was detached for its archive, and not proven to be what the archive holds. */
export interface PlannedProof {
  ledger: LedgerRow;
  archive: ArchiveRow;
}

export interface RunPlan {
  /** The state schema, where it is not there yet. */
  before: Change[];
  /** Detaches that were interrupted, by a kill or somebody else's hand: finished and noted before anything else. */
  leftovers: Change[];
  archives: PlannedArchive[];
  proofs: PlannedProof[];
  drops: DropCandidate[];
  /** Archives that lack a copy in a configured store. */
  copies: PlannedCopies[];
  /** Archives that a run was making when it was killed. */
  unfinished: ArchiveRow[];
  notes: string[];
  problems: Problem[];
}

/** Plans what "archive run" does: all tables, or the named partitions. Changes nothing, and reads no store. */
export async function planRun(context: PlanContext, options: RunOptions): Promise<RunPlan> {
  const { db, settings } = context;
  const { sets, problems } = await loadSets(db, settings.partitions);
  const schema = settings.stateSchema;
  const rows = await listArchiveRows(db, schema, ['exporting', 'verified', 'proven']);
  const ledger = await listOpenLedger(db, schema);
  const points = await currentPoints(db, sets, context.now);
  const plan: RunPlan = {
    before: await stateChanges(db, schema),
    leftovers: [
      ...sets.flatMap((set) => set.branches.flatMap(finalizeChanges)),
      ...(await reconcileChanges(context, sets)),
    ],
    archives: [],
    proofs: [],
    drops: [],
    copies: options.partitions.length > 0 ? [] : planCopies(sets, rows),
    unfinished: rows.filter((row) => row.state === 'exporting'),
    notes: [],
    problems: problems.map((item) => ({ table: item.settings.table, error: item.error })),
  };
  const chosen =
    options.partitions.length > 0
      ? namedPartitions(context, sets, points, ledger, options)
      : sets.flatMap((set) => dueOf(context, set, points.get(set.rootOid), options.max, plan));
  for (const item of chosen) await addArchive(context, item, rows, options, plan);
  if (options.partitions.length === 0 && options.until !== 'verified') {
    planRetired(context, sets, { rows, ledger }, options, plan);
  }
  return plan;
}

interface Candidate {
  set: PartitionSet;
  branch: Branch;
  partition: FinitePartition;
}

function dueOf(
  context: PlanContext,
  set: PartitionSet,
  current: Point | undefined,
  max: number,
  plan: RunPlan,
): Candidate[] {
  if (set.settings.retention === undefined || policyOf(set) !== 'archive') return [];
  try {
    if (set.settings.archive.copies.length === 0) throw noStore(set);
    if (current === undefined) throw positionUnknown(set.label);
    for (const branch of set.branches) gridOfBranch(set, branch);
    const due = set.branches.flatMap((branch) =>
      duePartitions(set, branch, current)
        .filter((partition) => isSettled(context, set, partition))
        .map((partition) => ({ set, branch, partition })),
    );
    if (due.length > max) {
      plan.notes.push(
        `${set.label}: ${String(due.length)} due, ${String(max)} in this run; --max lifts the limit`,
      );
    }
    return due.slice(0, max);
  } catch (error) {
    if (!(error instanceof DbopsError)) throw error;
    plan.problems.push({ table: set.label, error });
    return [];
  }
}

function noStore(set: PartitionSet): DbopsError {
  return new DbopsError('store_unknown', `${set.label} has rows to archive, and no store is configured`, {
    hint: 'Add one under "stores" (url: file:///path or s3://bucket/prefix), or say "then: delete" in its retention.',
  });
}

/** Whether nobody writes to it any more, as far as its bound and the configured time tell. */
function isSettled(context: PlanContext, set: PartitionSet, partition: FinitePartition): boolean {
  if (!set.codec.isTime) return true;
  const settledAt = BigInt(context.now.getTime() - durationMs(set.settings.archive.settle)) * 1000n;
  return partition.range.to <= settledAt;
}

/** Named ones need not be due, but closed; before their time they are only copied. */
function namedPartitions(
  context: PlanContext,
  sets: PartitionSet[],
  points: Map<number, Point | undefined>,
  ledger: LedgerRow[],
  options: RunOptions,
): Candidate[] {
  return options.partitions.map((text) => {
    const name = splitTable(text);
    const label = displayName(name);
    for (const set of sets) {
      for (const branch of set.branches) {
        const isIt = (item: { schema: string; name: string }) =>
          item.schema === name.schema && item.name === name.name;
        if (branch.defaultPartition !== undefined && isIt(branch.defaultPartition))
          throw isDefault(label, set);
        const partition = branch.partitions.find(isIt);
        if (partition === undefined) continue;
        const { range } = partition;
        if (range?.from === undefined || range.to === undefined) {
          throw new DbopsError('refused', `${label} has no end: it is still open`, {
            hint: 'Split it into periods first: dbops partition drain.',
          });
        }
        const finite = { ...partition, range: { from: range.from, to: range.to } };
        checkNamed(context, set, branch, finite, points.get(set.rootOid), options);
        return { set, branch, partition: finite };
      }
    }
    throw notAttached(
      label,
      ledger.find((row) => row.schema === name.schema && row.name === name.name),
    );
  });
}

function isDefault(label: string, set: PartitionSet): DbopsError {
  return new DbopsError('refused', `${label} is the default partition of ${set.label}, which has no period`, {
    hint: `Move its rows into partitions of their own first: dbops partition drain ${set.label} --from ${label}.`,
  });
}

function notAttached(label: string, row: LedgerRow | undefined): DbopsError {
  if (row === undefined) {
    return new DbopsError('table_not_found', `${label} is not a partition of a configured table`, {
      hint: '"dbops partition list <table>" shows the partitions.',
    });
  }
  return new DbopsError('refused', `${label} was detached from ${row.parent} already and is in quarantine`, {
    hint:
      row.archiveId === null
        ? `To archive it, attach it again: dbops partition attach ${label} --to ${row.parent}.`
        : `Archive ${row.archiveId} holds it.`,
  });
}

function checkNamed(
  context: PlanContext,
  set: PartitionSet,
  branch: Branch,
  partition: FinitePartition,
  current: Point | undefined,
  options: RunOptions,
): void {
  const label = displayName(partition);
  if (set.settings.archive.copies.length === 0) throw noStore(set);
  if (current === undefined) throw positionUnknown(set.label);
  if (partition.range.to > current || !isSettled(context, set, partition)) {
    throw new DbopsError(
      'refused',
      `${label} is still open: its period ends at ${set.codec.format(partition.range.to)}`,
      {
        hint: 'Rows may still come until "archive.settle" after its end.',
      },
    );
  }
  if (options.until === 'verified') return;
  const isDue = duePartitions(set, branch, current).some((item) => item.oid === partition.oid);
  if (isDue && policyOf(set) === 'archive') return;
  throw new DbopsError('refused', `${label} is not due: its policy keeps it in the table`, {
    hint: 'Give --until verified to copy it all the same; it stays attached then.',
  });
}

async function addArchive(
  context: PlanContext,
  { set, branch, partition }: Candidate,
  rows: ArchiveRow[],
  options: RunOptions,
  plan: RunPlan,
): Promise<void> {
  const label = displayName(partition);
  try {
    const [member] = await listMembers(context.db, [partition]);
    if (member === undefined) throw new DbopsError('object_changed', `table ${label} vanished`);
    if (partition.kind !== 'r') {
      throw new DbopsError(
        'refused',
        `${label} is ${partition.kind === 'p' ? 'partitioned itself' : 'a foreign table'}`,
        {
          hint: 'Only plain tables are archived; archive its own partitions, or detach it by name.',
        },
      );
    }
    // Refuses here, before hours of copying, what cannot be detached afterwards.
    const detach = await planDetachOf(context, member, {
      reason: 'due by retention',
      policy: 'archive',
      dropAfter: new Date(context.now.getTime() + durationMs(set.settings.quarantine)),
      archiveId: null,
    });
    plan.archives.push({
      set,
      parent: { schema: branch.schema, name: branch.name },
      partition,
      label,
      made: rows.findLast((row) => row.state !== 'exporting' && row.partitionOid === partition.oid),
      detach: options.until === 'verified' ? [] : detach.changes,
    });
  } catch (error) {
    if (!(error instanceof DbopsError) || error.exitCode === 3 || options.partitions.length > 0) throw error;
    plan.problems.push({ table: label, error });
  }
}

/** What earlier runs detached: to be proven, or dropped when its time has come and the policy still says so. */
function planRetired(
  context: PlanContext,
  sets: PartitionSet[],
  known: { rows: ArchiveRow[]; ledger: LedgerRow[] },
  options: RunOptions,
  plan: RunPlan,
): void {
  const perParent = new Map<string, number>();
  for (const ledger of known.ledger) {
    const archive = known.rows.find((row) => row.id === ledger.archiveId);
    if (ledger.policy !== 'archive' || ledger.state !== 'detached' || !ledger.exists || ledger.isAttached)
      continue;
    const set = setOfParent(sets, ledger.parent);
    // A table that was not chosen in this run, or is no longer configured.
    if (set === undefined) continue;
    const label = displayName(ledger);
    const mark = parseMark(ledger.comment);
    if (archive?.partitionOid !== ledger.oid || archive.state === 'exporting') {
      plan.notes.push(`${label}: its archive ${ledger.archiveId ?? ''} is not in the ledger, so it is kept`);
      continue;
    }
    if (archive.state === 'verified') plan.proofs.push({ ledger, archive });
    if (mark?.dropAfter === null || mark === undefined) {
      plan.notes.push(`${label}: its mark was removed, so it is kept`);
      continue;
    }
    if (mark.archive !== archive.id) {
      plan.notes.push(`${label}: its mark names another archive than the ledger, so it is kept`);
      continue;
    }
    if (policyOf(set) !== 'archive') {
      plan.notes.push(`${label}: kept, since the configuration no longer archives its table`);
      continue;
    }
    const quarantined = mark.at.getTime() + durationMs(set.settings.quarantine);
    const dropAfter = new Date(Math.max(mark.dropAfter.getTime(), quarantined));
    if (dropAfter > context.now || options.until !== 'dropped') continue;
    const count = (perParent.get(ledger.parent) ?? 0) + 1;
    perParent.set(ledger.parent, count);
    if (count > options.max) {
      plan.notes.push(
        `${label}: due, but more than ${String(options.max)} of its table; --max lifts the limit`,
      );
      continue;
    }
    plan.drops.push({ ledger, archive, dropAfter, required: set.settings.archive.required });
  }
}

/** Whether an archive was made of the partition as it is bounded now. */
export function isOfBounds(row: ArchiveRow, target: ArchiveTarget): boolean {
  return (
    row.bounds === target.partition.boundText &&
    relation({ schema: row.tableSchema, name: row.tableName }) === relation(target.parent)
  );
}
