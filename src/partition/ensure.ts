import { DbopsError } from '../errors.ts';
import { withAdvisoryLock } from '../pg/advisory-lock.ts';
import { applyChanges } from '../plan/apply.ts';
import type { Change } from '../plan/step.ts';
import type { JobContext, PlanContext } from './context.ts';
import { planCreation, type CreatedPartition } from './creation.ts';
import { gridOfBranch } from './diagnose.ts';
import { currentPoints, loadSets } from './load-sets.ts';
import { finalizeChanges } from './pending.ts';
import { combineProblems, type Problem } from './problems.ts';
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
      pending.push(...set.branches.flatMap(finalizeChanges));
    } catch (error) {
      if (!(error instanceof DbopsError)) throw error;
      all.push({ table: set.label, error });
    }
  }
  return {
    busy: wanted.filter((item) => item.partitions.length > 0),
    pending,
    warnings: wanted.flatMap((item) => item.warnings),
    problems: all,
  };
}

/**
 * Plans what `ensure` would do. Throws the first problem of the configuration, with all others in the detail, unless
 * keepGoing.
 */
export async function planEnsure(context: PlanContext, options: EnsureOptions): Promise<EnsurePlan> {
  const { busy, pending, warnings, problems } = await survey(context, options);
  const creation =
    busy.length === 0 ? { changes: [], created: [], problems: [] } : await planCreation(context, busy);
  const found = [...problems, ...creation.problems];
  if (found.length > 0 && !options.keepGoing) throw combineProblems(found);
  return {
    changes: [...pending, ...creation.changes],
    created: creation.created,
    warnings,
    problems: found,
    tables: context.settings.partitions.length,
  };
}

function positionUnknown(label: string): DbopsError {
  return new DbopsError('refused', `${label}: how far its ids have come cannot be told`, {
    hint: 'Its key needs a sequence (identity, serial or a default with nextval) that this role may read: GRANT SELECT ON SEQUENCE.',
  });
}

export interface EnsureResult extends Omit<EnsurePlan, 'changes'> {
  changes: number;
}

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
    return { changes: 0, created: [], warnings, problems, tables: settings.partitions.length };
  }
  return await withAdvisoryLock(db, 'ensure', { waitMs, signal }, async () => {
    // Whoever held the lock until now may have done it all.
    const plan = await planEnsure(context, options);
    if (plan.changes.length === 0) return { ...plan, changes: 0 };
    await context.history.begin(db, plan.created);
    await applyChanges(db, plan.changes, context.applied, {
      log: context.log,
      signal,
      deadlineMs: settings.lockDeadlineMs,
    });
    return { ...plan, changes: plan.changes.length };
  });
}
