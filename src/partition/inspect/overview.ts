import { DbopsError } from '../../errors.ts';
import { listArchiveSources, type ArchiveSourceRow } from '../../sql/archive-catalogue.ts';
import { listArchiveRows, type ArchiveRow } from '../../sql/archives.ts';
import { listOpenLedger } from '../../sql/ledger.ts';
import { relation } from '../../sql/quote.ts';
import type { PlanContext } from '../context.ts';
import { gridOfBranch } from '../model/diagnose.ts';
import type { Point } from '../model/key.ts';
import { currentPoints, loadSets } from '../model/load-sets.ts';
import { parseMark } from '../retire/marker.ts';
import { coldCutoff, describeRetention, duePartitions, policyOf } from '../model/retention.ts';
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
  /** Detached for an archive, and not yet proven to be what it holds. */
  prove: string[];
  /** Past their quarantine. */
  drop: string[];
  /** Archives past their total age whose partition is gone. */
  expire: string[];
  inQuarantine: number;
  warnings: string[];
  problem: string | null;
}

/** What ensure, archive run, detach, drop and archive prune would do, all tables, one screen. Reads only. */
export async function planOverview(context: PlanContext, fillGaps = false): Promise<OverviewLine[]> {
  const { db, settings } = context;
  const { sets, problems } = await loadSets(db, settings.partitions);
  const points = await currentPoints(db, sets, context.now);
  const schema = settings.stateSchema;
  const ledger = await listOpenLedger(db, schema);
  const archives = await listArchiveRows(db, schema, ['verified', 'proven', 'failed']);
  const sources = await listArchiveSources(db, schema);
  const lines = sets.map((set): OverviewLine => {
    const line = emptyLine(set.label, set.settings.interval, describeRetention(set));
    const quarantined = ledger.filter(
      (row) => row.state === 'detached' && row.exists && !row.isAttached && isOf(set, row.parent),
    );
    const own = archives.filter((row) =>
      isOf(set, relation({ schema: row.tableSchema, name: row.tableName })),
    );
    for (const row of quarantined) {
      const archive = own.find((item) => item.id === row.archiveId);
      const after = parseMark(row.comment)?.dropAfter;
      const isOver = after !== null && after !== undefined && after <= context.now;
      if (row.policy === 'archive' && archive?.state === 'verified') line.prove.push(row.name);
      if (isOver && (row.policy === 'delete' || (row.policy === 'archive' && archive !== undefined)))
        line.drop.push(row.name);
      else line.inQuarantine += 1;
    }
    line.expire = expiredOf(set, own, sources, context.now);
    const current = points.get(set.rootOid);
    if (current === undefined) return { ...line, problem: 'how far its ids have come cannot be told' };
    const planned = { ...line, ...planSet(set, current, fillGaps) };
    return { ...planned, problem: planned.problem ?? archiveProblem(set, planned, own, context.now) };
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
    prove: [],
    drop: [],
    expire: [],
    inQuarantine: 0,
    warnings: [],
    problem: null,
  };
}

/** Archives that "archive prune" would remove: past their age, gone from the database, not held. */
function expiredOf(set: PartitionSet, rows: ArchiveRow[], sources: ArchiveSourceRow[], now: Date): string[] {
  const cutoff = coldCutoff(set, now);
  if (cutoff === undefined) return [];
  return rows.flatMap((row) => {
    const upper = row.upperBound === null ? undefined : set.codec.parse(row.upperBound);
    const isGone = sources.find((item) => item.id === row.id)?.exists === false;
    const isPast = upper !== undefined && upper <= cutoff;
    return row.state !== 'failed' && isPast && isGone && row.hold === null ? [row.id] : [];
  });
}

/** What was tried in the night before last is news no more. */
const recentMs = 36 * 3_600_000;

/** Why rows that are due would not get into a store tonight, as far as the configuration and the last night tell. */
function archiveProblem(set: PartitionSet, line: OverviewLine, rows: ArchiveRow[], now: Date): string | null {
  if (policyOf(set) !== 'archive') return null;
  if (set.settings.archive.copies.length === 0)
    return line.due.length === 0 ? null : 'no store is configured to archive to';
  const failed = rows.filter((row) => {
    const isRecent = now.getTime() - row.createdAt.getTime() < recentMs;
    return row.state === 'failed' && isRecent && !hasLater(rows, row);
  });
  const last = failed.at(-1);
  if (last === undefined) return null;
  const names = new Set(failed.map((row) => row.partitionName));
  return `${String(names.size)} failed to be archived last night: ${last.message ?? 'no reason was recorded'}`;
}

/** Whether the same partition was archived after all. */
function hasLater(rows: ArchiveRow[], failed: ArchiveRow): boolean {
  return rows.some(
    (row) =>
      row.state !== 'failed' && row.partitionOid === failed.partitionOid && row.createdAt > failed.createdAt,
  );
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
