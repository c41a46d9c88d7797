import { durationMs } from '../../config/duration.ts';
import { splitTable } from '../../config/settings.ts';
import { DbopsError } from '../../errors.ts';
import type { PlanContext } from '../../partition/context.ts';
import { gridOfBranch } from '../../partition/model/diagnose.ts';
import type { Point } from '../../partition/model/key.ts';
import { duePartitions, policyOf } from '../../partition/model/retention.ts';
import type { Branch, FinitePartition, PartitionSet } from '../../partition/model/set.ts';
import { positionUnknown, type Problem } from '../../partition/problems.ts';
import type { LedgerRow } from '../../sql/ledger.ts';
import { displayName } from '../../sql/quote.ts';

export const goals = ['verified', 'detached', 'dropped'] as const;
/** How far a run goes with each partition. */
export type Goal = (typeof goals)[number];

/** A partition that may be archived. */
export interface Candidate {
  set: PartitionSet;
  branch: Branch;
  partition: FinitePartition;
}

/** Partitions past their hot retention that have settled, the oldest first; what stands against it is told. */
export function dueOf(
  context: PlanContext,
  set: PartitionSet,
  current: Point | undefined,
  max: number,
  told: { notes: string[]; problems: Problem[] },
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
      told.notes.push(
        `${set.label}: ${String(due.length)} due, ${String(max)} in this run; --max lifts the limit`,
      );
    }
    return due.slice(0, max);
  } catch (error) {
    if (!(error instanceof DbopsError)) throw error;
    told.problems.push({ table: set.label, error });
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
export function namedPartitions(
  context: PlanContext,
  sets: PartitionSet[],
  points: Map<number, Point | undefined>,
  ledger: LedgerRow[],
  names: string[],
  until: Goal,
): Candidate[] {
  return names.map((text) => {
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
        checkNamed(context, set, branch, finite, points.get(set.rootOid), until);
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
  until: Goal,
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
  if (until === 'verified') return;
  const isDue = duePartitions(set, branch, current).some((item) => item.oid === partition.oid);
  if (isDue && policyOf(set) === 'archive') return;
  throw new DbopsError('refused', `${label} is not due: its policy keeps it in the table`, {
    hint: 'Give --until verified to copy it all the same; it stays attached then.',
  });
}
