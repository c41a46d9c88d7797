import type { JobContext } from '../partition/context.ts';
import { DbopsError } from '../errors.ts';
import type { Problem } from '../partition/problems.ts';
import { findIndexDetail } from '../sql/index-tables.ts';
import { displayName } from '../sql/quote.ts';
import { createIndex } from './create.ts';
import { planCreate, type CreatePlan } from './plan-create.ts';
import type { IndexSpec } from './spec.ts';

export interface EnsuredIndex {
  table: string;
  index: string;
  /** drift: an index of that name is there, and is another one; nothing is changed about it. */
  state: 'there' | 'missing' | 'created' | 'drift';
  detail: string | null;
}

export interface EnsureIndexesResult {
  indexes: EnsuredIndex[];
  problems: Problem[];
}

/** What is there and what is missing, one wanted index after the other. Changes nothing. */
export async function planEnsure(
  context: Pick<JobContext, 'db' | 'settings'>,
  specs: IndexSpec[],
): Promise<EnsureIndexesResult & { plans: CreatePlan[] }> {
  const plans: CreatePlan[] = [];
  const result = await forEach(context, specs, async (spec) => {
    const plan = await planCreate(context, spec);
    if (plan.changes.length > 0) plans.push(plan);
    return stateOf(plan.table, displayName(plan.index), plan.changes.length > 0 ? 'missing' : 'there', plan);
  });
  return { ...result, plans };
}

/** Creates what is missing. What one table refuses does not stop the others, and is returned. Asks nobody. */
export async function ensureIndexes(context: JobContext, specs: IndexSpec[]): Promise<EnsureIndexesResult> {
  const { plans } = await planEnsure(context, specs);
  let begun: Promise<void> | undefined;
  const changes = plans.flatMap((plan) => plan.changes);
  const begin = () => (begun ??= context.history.begin(context.db, { indexes: plans.length, changes }));
  return await forEach(context, specs, async (spec) => {
    const created = await createIndex(context, spec, begin);
    return stateOf(created.table, created.index, created.changes > 0 ? 'created' : 'there', created);
  });
}

function stateOf(
  table: string,
  index: string,
  state: EnsuredIndex['state'],
  { notes }: { notes: string[] },
): EnsuredIndex {
  return { table, index, state, detail: notes.length === 0 ? null : notes.join('; ') };
}

async function forEach(
  { db }: Pick<JobContext, 'db'>,
  specs: IndexSpec[],
  work: (spec: IndexSpec) => Promise<EnsuredIndex>,
): Promise<EnsureIndexesResult> {
  const indexes: EnsuredIndex[] = [];
  const problems: Problem[] = [];
  for (const spec of specs) {
    try {
      indexes.push(await work(spec));
    } catch (error) {
      if (!(error instanceof DbopsError) || ![2, 4].includes(error.exitCode)) throw error;
      const name = { schema: spec.table.schema, name: spec.name ?? '' };
      const other = error.code === 'name_collision' ? await findIndexDetail(db, name) : undefined;
      const table = displayName(spec.table);
      if (other === undefined) problems.push({ table, error });
      else indexes.push({ table, index: displayName(name), state: 'drift', detail: other.definition });
    }
  }
  return { indexes, problems };
}
