import type { JobContext } from '../partition/context.ts';
import { planAutovacuum } from './autovacuum.ts';
import { planRefresh } from './refresh.ts';
import { planReindex } from './reindex.ts';
import { joinPlans, type MaintenancePlan } from './task.ts';
import { planVacuum } from './vacuum.ts';

/**
 * All that is due, in the order of need: settings first, which change what comes later; then tables, freezing before
 * everything else; then what rebuilds left behind, indexes that are mostly air, and views.
 */
export async function planNight(
  context: Pick<JobContext, 'db' | 'settings' | 'now'>,
): Promise<MaintenancePlan> {
  return joinPlans([
    await planAutovacuum(context),
    await planVacuum(context, { tables: [], schemas: [], all: false }, 'both'),
    await planReindex(context, { tables: [], indexes: [], bloated: true }),
    await planRefresh(context, { views: [], allowLock: false }),
  ]);
}
