import { DbopsError } from '../../errors.ts';
import { listOpenLedger } from '../../sql/ledger.ts';
import { relation } from '../../sql/quote.ts';
import type { PlanContext } from '../context.ts';
import { gridOfBranch } from '../model/diagnose.ts';
import type { Point } from '../model/key.ts';
import { currentPoints, loadSets } from '../model/load-sets.ts';
import { parseMark } from '../retire/marker.ts';
import { describeRetention, duePartitions, policyOf } from '../model/retention.ts';
import { runwayOf, type Runway } from '../model/runway.ts';
import type { PartitionSet } from '../model/set.ts';
import { wantedPartitions } from '../create/wanted.ts';

/** What will happen to one table tonight. */
export interface OverviewLine {
  table: string;
  interval: string;
  /** How long inserts have a partition to go to. */
  runway: Runway | null;
  create: string[];
  /** Past their hot retention. */
  due: { partition: string; action: 'detach' | 'archive' }[];
  retention: string;
  /** Past their quarantine. */
  drop: string[];
  inQuarantine: number;
  warnings: string[];
  problem: string | null;
}

/** What ensure, detach and drop would do, all tables, one screen. Reads only. */
export async function planOverview(context: PlanContext, fillGaps = false): Promise<OverviewLine[]> {
  const { db, settings } = context;
  const { sets, problems } = await loadSets(db, settings.partitions);
  const points = await currentPoints(db, sets, context.now);
  const schema = settings.stateSchema;
  const ledger = await listOpenLedger(db, schema);
  const lines = sets.map((set): OverviewLine => {
    const line = emptyLine(set.label, set.settings.interval, describeRetention(set));
    const quarantined = ledger.filter(
      (row) => row.state === 'detached' && row.exists && !row.isAttached && isOf(set, row.parent),
    );
    for (const row of quarantined) {
      const after = parseMark(row.comment)?.dropAfter;
      if (row.policy === 'delete' && after !== null && after !== undefined && after <= context.now)
        line.drop.push(row.name);
      else line.inQuarantine += 1;
    }
    const current = points.get(set.rootOid);
    return current === undefined
      ? { ...line, problem: 'how far its ids have come cannot be told' }
      : { ...line, ...planSet(set, current, fillGaps) };
  });
  for (const { settings: item, error } of problems) {
    lines.push({
      ...emptyLine(item.table, item.interval, describeRetention({ settings: item })),
      problem: error.message,
    });
  }
  return lines;
}

function emptyLine(table: string, interval: string | number, retention: string): OverviewLine {
  return {
    table,
    interval: String(interval),
    retention,
    runway: null,
    create: [],
    due: [],
    drop: [],
    inQuarantine: 0,
    warnings: [],
    problem: null,
  };
}

/** A ledger row names its parent quoted, as SQL has it; the set's branches are compared the same way. */
function isOf(set: PartitionSet, parent: string): boolean {
  return set.branches.some((branch) => relation(branch) === parent);
}

function planSet(set: PartitionSet, current: Point, fillGaps: boolean): Partial<OverviewLine> {
  const action = policyOf(set) === 'archive' ? 'archive' : 'detach';
  try {
    const wanted = set.branches.map((branch) =>
      wantedPartitions(set, branch, gridOfBranch(set, branch), current, { fillGaps }),
    );
    return {
      runway: runwayOf(set, current),
      create: wanted.flatMap((item) => item.partitions.map((partition) => partition.table.name)),
      warnings: wanted.flatMap((item) => item.warnings),
      due: set.branches
        .flatMap((branch) => duePartitions(set, branch, current))
        .map((item) => ({ partition: item.name, action })),
    };
  } catch (error) {
    if (!(error instanceof DbopsError)) throw error;
    return { problem: error.message };
  }
}
