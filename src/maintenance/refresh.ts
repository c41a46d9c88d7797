import { splitTable } from '../config/table-name.ts';
import { DbopsError } from '../errors.ts';
import { humanSeconds } from '../output/human.ts';
import type { JobContext } from '../partition/context.ts';
import type { LockMode } from '../sql/locks.ts';
import { listReads } from '../sql/maintenance-reads.ts';
import { listRefreshed, listViews, refreshSql, type ViewRow } from '../sql/maintenance-views.ts';
import { displayName, relation, type RelationName } from '../sql/quote.ts';
import type { LeftOut, MaintenancePlan, Task } from './task.ts';

export interface RefreshRequest {
  /** Refreshed whether due or not; with none, those of the configuration that are due. */
  views: string[];
  /** Where no concurrent refresh is possible, keep readers out instead. */
  allowLock: boolean;
}

/**
 * Which materialized views are refreshed: concurrently, so that readers go on. One that cannot be is left out with what it
 * lacks, unless a lock is allowed. Throws table_not_found for what is named and is no materialized view.
 */
export async function planRefresh(
  { db, settings, now }: Pick<JobContext, 'db' | 'settings' | 'now'>,
  request: RefreshRequest,
): Promise<MaintenancePlan> {
  const isNamed = request.views.length > 0;
  const named = [...new Set(request.views)].map((view) => ({ view, everyMs: 0 }));
  const wanted = isNamed ? named : settings.maintenance.refresh;
  if (wanted.length === 0) return { tasks: [], leftOut: [], warnings: [] };
  const rows = await listViews(
    db,
    wanted.map(({ view }) => splitTable(view)),
  );
  const refreshed = new Map(
    (await listRefreshed(db, settings.stateSchema)).map(({ object, at }) => [object, at]),
  );
  const reads = await listReads(
    db,
    rows.map(({ oid }) => oid),
  );
  const tasks: Task[] = [];
  const leftOut: LeftOut[] = [];
  for (const { view, everyMs } of wanted) {
    const name = splitTable(view);
    const object = displayName(name);
    const row = rows.find((item) => item.schema === name.schema && item.name === name.name);
    if (row === undefined) {
      if (isNamed)
        throw new DbopsError('table_not_found', `there is no materialized view ${object} in this database`);
      leftOut.push({ object, why: 'there is no materialized view of that name' });
      continue;
    }
    const why = isNamed ? 'it was asked for' : dueReason(refreshed.get(object), everyMs, now);
    if (why === undefined) continue;
    const lacks = missing(row);
    if (lacks === undefined || request.allowLock) {
      const sources = reads.filter(({ of }) => of === row.oid);
      const said = lacks === undefined ? why : `${why}; with readers kept out: ${lacks}`;
      const isConcurrent = lacks === undefined;
      tasks.push(taskOf(row, said, { lockTimeoutMs: settings.lockTimeoutMs, sources, isConcurrent }));
    } else leftOut.push({ object, why: `${lacks}; --allow-lock refreshes it with readers kept out` });
  }
  return { tasks, leftOut, warnings: [] };
}

/**
 * A run that comes as often as a view is due would find it minutes too fresh each second time, since a refresh is kept when
 * it has ended: it may come so much earlier.
 */
const earlyShare = 0.1;

/** Undefined: it is fresh. Pure. */
function dueReason(last: Date | undefined, everyMs: number, now: Date): string | undefined {
  const every = humanSeconds(everyMs / 1000);
  if (last === undefined) return `no refresh by dbops is known, and it is due every ${every}`;
  const ageMs = now.getTime() - last.getTime();
  return ageMs < everyMs * (1 - earlyShare)
    ? undefined
    : `it was refreshed ${humanSeconds(ageMs / 1000)} ago, and is due every ${every}`;
}

function missing({ isPopulated, hasUniqueIndex }: ViewRow): string | undefined {
  if (!isPopulated) return 'it was never populated, and its first refresh cannot be concurrent';
  if (!hasUniqueIndex)
    return 'a concurrent refresh takes a unique index on plain columns without a condition, and it has none';
  return undefined;
}

function taskOf(
  view: ViewRow,
  why: string,
  {
    lockTimeoutMs,
    sources,
    isConcurrent,
  }: { lockTimeoutMs: number; sources: RelationName[]; isConcurrent: boolean },
): Task {
  const mode: LockMode = isConcurrent ? 'EXCLUSIVE' : 'ACCESS EXCLUSIVE';
  return {
    verb: 'refresh',
    target: { schema: view.schema, name: view.name },
    isMeasured: true,
    why,
    change: {
      summary: `refresh ${displayName(view)}`,
      table: displayName(view),
      kind: 'single',
      lockTimeoutMs,
      statementTimeoutMs: null,
      event: 'maintenance_refresh',
      steps: [
        {
          sql: refreshSql(view, isConcurrent),
          locks: [
            { table: relation(view), mode },
            // Whoever holds one of these is in the way as well.
            ...sources.map((source) => ({ table: relation(source), mode: 'ACCESS SHARE' as const })),
          ],
          why,
        },
      ],
    },
  };
}
