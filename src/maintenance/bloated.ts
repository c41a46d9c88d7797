import { matches } from '../config/pattern.ts';
import { DbopsError } from '../errors.ts';
import { humanBytes } from '../output/human.ts';
import type { JobContext } from '../partition/context.ts';
import type { Db } from '../pg/connection.ts';
import { getHealthFacts } from '../sql/health-facts.ts';
import { indexBloat, type BloatRow } from '../sql/health-bloat.ts';
import { listJobs } from '../sql/jobs.ts';
import { listRebuilds, measureIndex } from '../sql/maintenance-indexes.ts';
import { askQuickly } from '../sql/quick.ts';
import { displayName, ident } from '../sql/quote.ts';
import { listExtensions } from '../sql/requirements.ts';
import { findFreeBytes } from './disk.ts';
import { lookAtIndexes, type Looked } from './looked.ts';
import { findRebuildObstacle, rebuildJob, rebuildTask } from './rebuild.ts';
import type { LeftOut, MaintenancePlan, Task } from './task.ts';

/** Reading indexes to measure them may take so long in all; what is not reached goes by its estimate. */
const measuringMs = 20_000;

/** An estimate may be wrong for good: an index that is hardly larger than its last rebuild left it would gain nothing. */
const grownFactor = 1.25;

/** How much of an index is air, and by what that is known. */
interface Air {
  bytes: number;
  isMeasured: boolean;
}

/**
 * Indexes that are mostly air, the smallest first: by estimate, and measured where pgstattuple is installed. One that is as
 * small as its last rebuild has left it is left out, since the estimate errs there.
 */
export async function planBloated({
  db,
  settings,
}: Pick<JobContext, 'db' | 'settings'>): Promise<MaintenancePlan> {
  const { bloatBytes, bloatShare, skip } = settings.maintenance.reindex;
  const { roles } = await getHealthFacts(db);
  const mayReadAll = roles.includes('pg_read_all_data');
  const estimated = await askQuickly<BloatRow>(db, indexBloat(bloatBytes, mayReadAll));
  const warnings = unknownAir(estimated, db.server.user);
  const isMuch = (bytes: number, row: BloatRow) => bytes >= bloatBytes && bytes >= row.sizeBytes * bloatShare;
  const suspected = estimated.filter((row) => isMuch(row.wastedBytes ?? 0, row));
  if (suspected.length === 0) {
    const looked = await lookAtAll(db, mayReadAll, { bloatBytes, bloatShare });
    return { tasks: [], leftOut: [], warnings, looked };
  }
  const air = await measureAir(db, suspected);
  const rebuilt = await listRebuilt(db, settings.stateSchema);
  const freeBytes = await findFreeBytes(db);
  const tasks: Task[] = [];
  const leftOut: LeftOut[] = [];
  for (const row of await listRebuilds(db, { indexes: suspected.map(({ oid }) => oid), tables: [] })) {
    const estimate = suspected.find(({ oid }) => oid === row.oid);
    const found = air.get(row.oid);
    if (estimate === undefined || found === undefined) continue;
    const object = displayName(row);
    const why = describeAir(found, estimate.sizeBytes);
    const leave = (reason: string, isExpected: boolean) =>
      leftOut.push({ object, why: `${reason}; ${why}`, isExpected });
    const last = rebuilt.get(object);
    if (!isMuch(found.bytes, estimate)) leave('its estimate was wrong', true);
    else if (skip.some((pattern) => matches(pattern, object)))
      leave('the configuration leaves it out (maintenance.reindex.skip)', true);
    else if (!found.isMeasured && last !== undefined && row.sizeBytes <= last * grownFactor)
      leave(`its last rebuild left it with ${humanBytes(last)}, so that the estimate errs`, true);
    else {
      const obstacle = findRebuildObstacle(db, row, freeBytes);
      if (obstacle !== undefined) leave(obstacle, false);
      else tasks.push(rebuildTask(row, why));
    }
  }
  return { tasks, leftOut, warnings };
}

/** Every index, the small ones too, where there is nothing else to tell of; nothing fails for what takes too long. */
async function lookAtAll(
  db: Db,
  mayReadAll: boolean,
  limits: { bloatBytes: number; bloatShare: number },
): Promise<Looked[]> {
  try {
    return [lookAtIndexes(await askQuickly<BloatRow>(db, indexBloat(0, mayReadAll)), limits)];
  } catch (error) {
    if (endsRun(error)) throw error;
    return [];
  }
}

function endsRun(error: unknown): boolean {
  return !(error instanceof DbopsError) || error.exitCode === 3 || error.code === 'interrupted';
}

function describeAir({ bytes, isMeasured }: Air, sizeBytes: number): string {
  const share = Math.round((bytes / sizeBytes) * 100);
  const source = isMeasured ? 'measured by pgstattuple' : 'by estimate';
  return `${humanBytes(bytes)} of ${humanBytes(sizeBytes)} are air (${String(share)} %), ${source}`;
}

/** Air that cannot be estimated is no air that is not there. */
function unknownAir(rows: BloatRow[], user: string): string[] {
  const of = (obstacle: BloatRow['obstacle']) => rows.filter((row) => row.obstacle === obstacle).length;
  const [hidden, undescribed] = [of('privilege'), of('statistics')];
  return [
    ...(hidden === 0
      ? []
      : [
          `the air of ${String(hidden)} indexes is unknown to role "${user}": grant pg_read_all_data to ${ident(user)};`,
        ]),
    ...(undescribed === 0
      ? []
      : [`the air of ${String(undescribed)} indexes is unknown until their tables are analyzed`]),
  ];
}

/** By pgstattuple where it is installed and answers in time, the smallest first; else as estimated. */
async function measureAir(db: Db, rows: BloatRow[]): Promise<Map<number, Air>> {
  const air = new Map(rows.map((row) => [row.oid, { bytes: row.wastedBytes ?? 0, isMeasured: false }]));
  const [extension] = await listExtensions(db, ['pgstattuple']);
  if (extension === undefined) return air;
  const deadline = performance.now() + measuringMs;
  for (const { oid } of rows.toSorted((a, b) => a.sizeBytes - b.sizeBytes)) {
    if (performance.now() > deadline) break;
    try {
      const [row] = await askQuickly<{ bytes: number }>(db, measureIndex(extension.schema, oid));
      if (row !== undefined) air.set(oid, { bytes: row.bytes, isMeasured: true });
    } catch (error) {
      // It is locked, too large for the time, gone, or not for this role: the estimate has to do.
      if (endsRun(error)) throw error;
    }
  }
  return air;
}

/** How large each index was after its last rebuild by dbops. */
async function listRebuilt(db: Db, schema: string): Promise<Map<string, number>> {
  const jobs = await listJobs(db, schema, rebuildJob(''));
  return new Map(
    jobs.flatMap(({ name, spec }) => {
      const bytes = (spec as { sizeBytes?: unknown } | null)?.sizeBytes;
      return typeof bytes === 'number' ? [[name.slice(rebuildJob('').length), bytes]] : [];
    }),
  );
}
