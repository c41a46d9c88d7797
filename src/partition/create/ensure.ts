import { DbopsError } from '../../errors.ts';
import { withAdvisoryLock } from '../../pg/advisory-lock.ts';
import { applyChanges } from '../../plan/apply.ts';
import type { Change } from '../../plan/step.ts';
import { displayName } from '../../sql/quote.ts';
import { listMarkedConstraints } from '../../sql/relations.ts';
import type { JobContext, PlanContext } from '../context.ts';
import { planCreation, type CreatedPartition } from './creation.ts';
import { excludeMarker, leftoverConstraints } from './default-partition.ts';
import { gridOfBranch } from '../model/diagnose.ts';
import { currentPoints, loadSets } from '../model/load-sets.ts';
import { finalizeChanges } from '../retire/pending.ts';
import { combineProblems, positionUnknown, type Problem } from '../problems.ts';
import { wantedPartitions, type Wanted } from './wanted.ts';

export interface EnsureOptions {
  tables: string[];
  fillGaps: boolean;
  /** Work on the other tables when one cannot be. */
  keepGoing: boolean;
}

export interface EnsurePlan {
  changes: Change[];
  created: CreatedPartition[];
  warnings: string[];
  problems: Problem[];
  /** Tables looked at. */
  tables: number;
}

/** What the sets lack, before anything is looked up that only a creation needs. */
interface Survey {
  /** The root's oid of each set by its label; changes carry the label. */
  roots: Map<string, number>;
  busy: Wanted[];
  pending: Change[];
  warnings: string[];
  problems: Problem[];
}

/** Three statements whatever the number of tables, one more when ids are among them. */
async function survey(context: PlanContext, options: EnsureOptions): Promise<Survey> {
  const { db, settings } = context;
  const { sets, problems } = await loadSets(db, settings.partitions);
  const points = await currentPoints(db, sets, context.now);
  const wanted: Wanted[] = [];
  const pending: Change[] = [];
  const all: Problem[] = problems.map(({ settings: item, error }) => ({ table: item.table, error }));
  for (const set of sets) {
    const current = points.get(set.rootOid);
    try {
      if (current === undefined) throw positionUnknown(set.label);
      const found = set.branches.map((branch) =>
        wantedPartitions(set, branch, gridOfBranch(set, branch), current, options),
      );
      wanted.push(...found);
      const finalized = set.branches.flatMap(finalizeChanges);
      pending.push(...finalized.map((change) => ({ ...change, table: set.label })));
    } catch (error) {
      if (!(error instanceof DbopsError)) throw error;
      all.push({ table: set.label, error });
    }
  }
  const withDefault = sets.filter((set) =>
    set.branches.some((branch) => branch.defaultPartition !== undefined),
  );
  const leftovers = withDefault.length === 0 ? [] : await listMarkedConstraints(db, excludeMarker);
  for (const set of withDefault) {
    for (const branch of set.branches) {
      const changes = leftoverConstraints(context, { set, branch }, leftovers);
      pending.push(...changes.map((change) => ({ ...change, table: set.label })));
    }
  }
  return {
    roots: new Map(sets.map((set) => [set.label, set.rootOid])),
    busy: wanted.filter((item) => item.partitions.length > 0),
    pending,
    warnings: wanted.flatMap((item) => item.warnings),
    problems: all,
  };
}

/** What a run will do, checked; the changes of a table are built when its turn comes. */
interface Prepared extends Omit<EnsurePlan, 'changes'> {
  tablesToChange: { label: string; rootOid: number; changes: () => Change[] }[];
}

async function prepare(context: PlanContext, options: EnsureOptions): Promise<Prepared> {
  const { roots, busy, pending, warnings, problems } = await survey(context, options);
  const creation = busy.length === 0 ? undefined : await planCreation(context, busy);
  const found = [...problems, ...(creation?.problems ?? [])];
  if (found.length > 0 && !options.keepGoing) throw combineProblems(found);
  const labels = new Set([...pending, ...(creation?.created ?? [])].map((item) => item.table));
  return {
    created: creation?.created ?? [],
    warnings: [...warnings, ...(creation?.warnings ?? [])],
    problems: found,
    tables: context.settings.partitions.length,
    tablesToChange: [...labels].map((label) => ({
      label,
      rootOid: roots.get(label) ?? 0,
      changes: () => [
        ...pending.filter((change) => change.table === label),
        ...(creation?.changesOf(label) ?? []),
      ],
    })),
  };
}

/**
 * Plans what `ensure` would do. Throws the first problem of the configuration, with all others in the detail, unless
 * keepGoing.
 */
export async function planEnsure(context: PlanContext, options: EnsureOptions): Promise<EnsurePlan> {
  const { tablesToChange, ...plan } = await prepare(context, options);
  return { ...plan, changes: tablesToChange.flatMap((item) => item.changes()) };
}

export type EnsureResult = Omit<EnsurePlan, 'changes'>;

/**
 * Creates what is missing. With nothing to do it takes no lock at all; else one run at a time does the work (advisory
 * lock "ensure"), and what it plans it plans under that lock. Throws lock_busy, lock_timeout, or the problems of single
 * tables.
 */
export async function ensure(context: JobContext, options: EnsureOptions): Promise<EnsureResult> {
  const { db, waitMs, signal, settings } = context;
  const { busy, pending, warnings, problems } = await survey(context, options);
  if (problems.length > 0 && !options.keepGoing) throw combineProblems(problems);
  if (busy.length === 0 && pending.length === 0) {
    return { created: [], warnings, problems, tables: settings.partitions.length };
  }
  return await withAdvisoryLock(db, 'ensure', { waitMs, signal }, async () => {
    // Whoever held the lock until now may have done it all.
    const { tablesToChange, ...plan } = await prepare(context, options);
    if (tablesToChange.length === 0) return plan;
    await context.history.begin(db, plan.created);
    const stopped = await applyByTable(context, tablesToChange, options);
    return { ...plan, problems: [...plan.problems, ...stopped] };
  });
}

/**
 * One table after the other, each under its own lock, so that a convert, a drain or a detach of it does not meet us
 * half way. With keepGoing a table that is refused does not stop the others; what stopped it is returned.
 */
async function applyByTable(
  context: JobContext,
  tables: Prepared['tablesToChange'],
  options: EnsureOptions,
): Promise<Problem[]> {
  const { db, waitMs, signal, settings, log } = context;
  const stopped: Problem[] = [];
  for (const { label, rootOid, changes } of tables) {
    try {
      await withAdvisoryLock(db, { table: rootOid, name: label }, { waitMs, signal }, async (waited) => {
        // Who held it has changed the table: what was planned before is not what is needed now.
        const planned = waited ? await replanTable(context, label, options) : changes();
        await applyChanges(db, planned, context.applied, {
          log,
          signal,
          deadlineMs: settings.lockDeadlineMs,
        });
      });
    } catch (error) {
      if (!options.keepGoing || !(error instanceof DbopsError) || error.exitCode !== 4) throw error;
      stopped.push({ table: label, error });
    }
  }
  return stopped;
}

async function replanTable(context: JobContext, label: string, options: EnsureOptions): Promise<Change[]> {
  const partitions = context.settings.partitions.filter((item) => displayName(item) === label);
  const { changes } = await planEnsure(
    { ...context, settings: { ...context.settings, partitions } },
    options,
  );
  return changes;
}
