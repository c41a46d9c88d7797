import { DbopsError } from '../../errors.ts';
import type { Db } from '../../pg/connection.ts';
import { sqlStateOf } from '../../pg/sqlstate.ts';
import {
  explainStatement,
  findStatStatements,
  getDefaultSearchPath,
  listTopStatements,
  type PlanNode,
} from '../../sql/explain.ts';
import { visible } from '../../sql/quote.ts';
import type { JobContext } from '../context.ts';
import { loadSets } from '../model/load-sets.ts';
import { combineProblems } from '../problems.ts';
import type { PartitionSet } from '../model/set.ts';
import { pruneReason } from './reason.ts';
import { firstWord, numberParameters, splitStatements } from './split.ts';

/**
 * pruned: partitions are left out when it is planned. at run time: left out when it starts, once values are known.
 * all: every partition is read. unknown: it could not be planned.
 */
export type PruneStatus = 'pruned' | 'at run time' | 'all' | 'unknown';

export interface PruneFinding {
  /** "orders.sql:12", "pg_stat_statements". */
  place: string;
  /** One line, shortened. */
  statement: string;
  /** The partitioned table; null when the statement could not be planned. */
  table: string | null;
  status: PruneStatus;
  /** Partitions that the plan reads; null when that is known only once values are. */
  read: number | null;
  partitions: number | null;
  reason: string;
  advice: string;
}

export interface PruneReport {
  findings: PruneFinding[];
  /** Statements that were planned. */
  statements: number;
  /** Statements that read none of the tables, or are no SELECT, UPDATE or DELETE. */
  skipped: number;
}

/** A statement with where it came from. */
interface Candidate {
  place: string;
  sql: string;
}

const checkedWords = new Set(['select', 'with', 'update', 'delete']);

/** Checks the statements of a text. Nothing is executed. Throws the problems of the configuration. */
export async function checkText(
  context: Pick<JobContext, 'db' | 'settings'>,
  text: string,
  name: string,
): Promise<PruneReport> {
  const statements = splitStatements(text);
  const checked = statements.filter((statement) => checkedWords.has(firstWord(statement.sql)));
  const report = await checkAll(
    context,
    checked.map(({ sql, line }) => ({ sql, place: `${name}:${String(line)}` })),
  );
  return { ...report, skipped: report.skipped + statements.length - checked.length };
}

/** Checks the statements that took most time, as pg_stat_statements knows them; unknown where it is not to be had. */
export async function checkTop(
  context: Pick<JobContext, 'db' | 'settings'>,
  limit: number,
): Promise<PruneReport> {
  const { db, settings } = context;
  const schema = await findStatStatements(db);
  if (schema === undefined) {
    return unavailable(
      'the extension pg_stat_statements is not in this database',
      'CREATE EXTENSION pg_stat_statements; its library must be in shared_preload_libraries. Or give the statements with --sql',
    );
  }
  try {
    const rows = await listTopStatements(
      db,
      schema,
      settings.partitions.map((item) => item.name),
      limit,
    );
    return await checkAll(
      context,
      rows.map((row) => ({ sql: row.sql, place: 'pg_stat_statements' })),
    );
  } catch (error) {
    if (!['55000', '42501'].includes(sqlStateOf(error) ?? '')) throw error;
    return unavailable(
      `pg_stat_statements cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      'Add it to shared_preload_libraries and restart the server, or: GRANT pg_read_all_stats. Or give the statements with --sql',
    );
  }
}

function unavailable(reason: string, advice: string): PruneReport {
  const finding: PruneFinding = {
    place: 'pg_stat_statements',
    statement: '',
    table: null,
    status: 'unknown',
    read: null,
    partitions: null,
    reason,
    advice,
  };
  return { findings: [finding], statements: 0, skipped: 0 };
}

async function checkAll(
  context: Pick<JobContext, 'db' | 'settings'>,
  candidates: Candidate[],
): Promise<PruneReport> {
  const { db, settings } = context;
  const { sets, problems } = await loadSets(db, settings.partitions);
  if (problems.length > 0) {
    throw combineProblems(
      problems.map((problem) => ({ table: problem.settings.table, error: problem.error })),
    );
  }
  const searchPath = await getDefaultSearchPath(db);
  const report: PruneReport = { findings: [], statements: 0, skipped: 0 };
  for (const candidate of candidates) {
    const findings = await checkStatement(db, sets, candidate, searchPath);
    report.findings.push(...findings);
    if (findings.length === 0) report.skipped += 1;
    else report.statements += 1;
  }
  return report;
}

async function checkStatement(
  db: Db,
  sets: PartitionSet[],
  candidate: Candidate,
  searchPath: string,
): Promise<PruneFinding[]> {
  const common = { place: candidate.place, statement: oneLine(candidate.sql) };
  try {
    const { plan, tables } = await explainStatement(
      db,
      numberParameters(candidate.sql),
      searchPath,
      sets.map((set) => set.rootOid),
    );
    const touched = sets.filter((set) => tables.includes(set.rootOid));
    return touched.map((set) => ({ ...common, ...judge(set, touched, plan) }));
  } catch (error) {
    if (!(error instanceof DbopsError) || error.exitCode === 3 || error.exitCode >= 130) throw error;
    return [
      {
        ...common,
        table: null,
        status: 'unknown',
        read: null,
        partitions: null,
        reason: `it could not be planned: ${visible(error.message)}`,
        advice: 'Check that it runs as it stands, with its tables on the search_path of this role',
      },
    ];
  }
}

/** What a plan says about one of the tables that it reads. Pure. */
export function judge(
  set: Pick<PartitionSet, 'label' | 'settings' | 'codec' | 'branches'>,
  touched: Pick<PartitionSet, 'branches'>[],
  plan: PlanNode,
): Omit<PruneFinding, 'place' | 'statement'> {
  const leaves = leafNames(set);
  const read = new Set(scansOf(plan).filter((name) => leaves.has(name))).size;
  const others = touched.filter((other) => other.branches !== set.branches).map(leafNames);
  const removed = removedFor(plan, leaves, others);
  const common = { table: set.label, partitions: leaves.size };
  if (removed > 0) {
    return {
      ...common,
      status: 'at run time',
      read: null,
      reason: `${String(removed)} of ${String(removed + read)} partitions that are planned for are left out when it starts`,
      advice: '',
    };
  }
  if (read < leaves.size || leaves.size <= 1) {
    return { ...common, status: 'pruned', read, reason: '', advice: '' };
  }
  return { ...common, status: 'all', read, ...pruneReason(plan, set.settings.key, set.codec.kind) };
}

function leafNames(set: Pick<PartitionSet, 'branches'>): Set<string> {
  return new Set(
    set.branches
      .flatMap((branch) => [
        ...branch.partitions,
        ...(branch.defaultPartition === undefined ? [] : [branch.defaultPartition]),
      ])
      .map((partition) => nameOf(partition.schema, partition.name)),
  );
}

function nameOf(schema: string, name: string): string {
  return JSON.stringify([schema, name]);
}

/** The tables that are scanned. */
function scansOf(node: PlanNode): string[] {
  const own =
    node['Node Type'].endsWith('Scan') && node['Relation Name'] !== undefined
      ? [nameOf(node.Schema ?? '', node['Relation Name'])]
      : [];
  return [...own, ...(node.Plans ?? []).flatMap(scansOf)];
}

/** Subplans left out at the start; where none is left, they are those of the table that shows nowhere else. */
function removedFor(node: PlanNode, leaves: Set<string>, others: Set<string>[]): number {
  const scans = scansOf(node);
  const own = node['Subplans Removed'] ?? 0;
  const isMine = scans.some((name) => leaves.has(name));
  const isTheirs = scans.some((name) => others.some((other) => other.has(name)));
  const mine = own > 0 && (isMine || !isTheirs) ? own : 0;
  return mine + (node.Plans ?? []).reduce((sum, child) => sum + removedFor(child, leaves, others), 0);
}

/** A statement for a table cell. */
function oneLine(sql: string): string {
  const text = visible(sql.replaceAll(/\s+/g, ' ').trim());
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}
