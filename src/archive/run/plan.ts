import { durationMs } from '../../config/duration.ts';
import { DbopsError } from '../../errors.ts';
import type { Change } from '../../plan/step.ts';
import type { PlanContext } from '../../partition/context.ts';
import { currentPoints, loadSets } from '../../partition/model/load-sets.ts';
import { policyOf } from '../../partition/model/retention.ts';
import { setOfParent, type PartitionSet } from '../../partition/model/set.ts';
import type { Problem } from '../../partition/problems.ts';
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
import { dueOf, namedPartitions, type Candidate, type Goal } from './choose.ts';
import { planCopies, type PlannedCopies } from './copies.ts';
import type { DropCandidate } from './retire.ts';

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
      ? namedPartitions(context, sets, points, ledger, options.partitions, options.until)
      : sets.flatMap((set) => dueOf(context, set, points.get(set.rootOid), options.max, plan));
  for (const item of chosen) await addArchive(context, item, rows, options, plan);
  if (options.partitions.length === 0 && options.until !== 'verified') {
    planRetired(context, sets, { rows, ledger }, options, plan);
  }
  return plan;
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
