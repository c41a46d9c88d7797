// Maintenance in-process: plans and runs of the domain, as a role of the test where it is given.
import { defaultSettings, type Settings } from '../../src/config/settings.ts';
import { runMaintenance } from '../../src/maintenance/run.ts';
import type { MaintenancePlan, TaskResult } from '../../src/maintenance/task.ts';
import { noWindow } from '../../src/maintenance/window.ts';
import type { JobContext } from '../../src/partition/context.ts';
import { connect } from '../../src/pg/connection.ts';
import { jobOf } from './job.ts';

export type MaintenanceJob = JobContext & { settings: Settings };

/** Opens a session for a run; the caller closes it. Locks are given up soon. */
export async function openMaintenance(
  url: string,
  maintenance: Partial<Settings['maintenance']> = {},
  options: { signal?: AbortSignal } = {},
): Promise<MaintenanceJob> {
  const base = await defaultSettings({ url });
  const settings: Settings = {
    ...base,
    lockDeadlineMs: 300,
    maintenance: { ...base.maintenance, ...maintenance },
  };
  const db = await connect({ ...settings.connection, applicationName: 'dbops maintenance' }, options);
  return { ...jobOf('maintenance', db, settings, db.server.now, {}).context, ...options };
}

/** Does a plan, and says what became of it. */
export async function maintained(
  job: MaintenanceJob,
  plan: () => Promise<MaintenancePlan>,
  options: Partial<Parameters<typeof runMaintenance>[1]> = {},
): Promise<TaskResult[]> {
  const { results } = await runMaintenance(job, { jobs: 1, window: noWindow, ...options }, plan);
  return results;
}
