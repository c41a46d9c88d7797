import type { JobContext } from '../partition/context.ts';
import { planAutovacuum } from './autovacuum.ts';
import { planRefresh } from './refresh.ts';
import { planLeftovers } from './reindex.ts';
import type { MaintenancePlan } from './task.ts';
import { planVacuum } from './vacuum.ts';

/**
 * All that is due, in the order of need: settings first, which change what comes later; then tables, freezing before
 * everything else; then what rebuilds left behind, and views.
 */
export async function planNight(
  context: Pick<JobContext, 'db' | 'settings' | 'now'>,
): Promise<MaintenancePlan> {
  const plans = [
    await planAutovacuum(context),
    await planVacuum(context, { tables: [], schemas: [], all: false }, 'both'),
    await planLeftovers(context.db),
    await planRefresh(context, { views: [], allowLock: false }),
  ];
  return {
    tasks: plans.flatMap(({ tasks }) => tasks),
    leftOut: plans.flatMap(({ leftOut }) => leftOut),
    warnings: plans.flatMap(({ warnings }) => warnings),
  };
}
