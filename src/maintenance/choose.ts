import { humanCount } from '../output/human.ts';
import { displayName, type RelationName } from '../sql/quote.ts';
import type { VacuumNeedRow } from '../sql/vacuum-need.ts';
import type { LeftOut } from './task.ts';

/** Which tables are meant. With none of these, those that need it. */
export interface Scope {
  /** Resolved: partitioned tables stand for their leaves as well. */
  oids: ReadonlySet<number> | undefined;
  schemas: ReadonlySet<string> | undefined;
  all: boolean;
}

/** A table that has its turn, with what is done to it. */
export interface Chosen {
  row: VacuumNeedRow;
  vacuum: boolean;
  freeze: boolean;
  analyze: boolean;
  /** Each of what speaks for it. */
  reasons: string[];
  /** The larger, the sooner. */
  urgency: number;
}

/**
 * From this share of autovacuum_freeze_max_age on a table is frozen here, at an hour of the operator's own, before autovacuum
 * does it at any: 75 % of the default is the default of vacuum_freeze_table_age.
 */
export const freezeShare = 0.75;

/** What is chosen for. */
export type Verb = 'vacuum' | 'analyze' | 'both';

/** What is furthest beyond its line comes next; freezing comes before everything else. Pure. */
export function chooseTables(
  rows: VacuumNeedRow[],
  scope: Scope,
  verb: Verb,
  isSkipped: (table: string) => boolean,
): { chosen: Chosen[]; leftOut: LeftOut[]; lost: string[] } {
  const lost: string[] = [];
  const chosen: Chosen[] = [];
  const leftOut: LeftOut[] = [];
  const areNamed = isNamed(scope);
  for (const row of rows) {
    if (areNamed && !isInScope(row, scope)) continue;
    const object = displayName(nameOf(row));
    const needed = needOf(row, verb);
    if (!areNamed && needed.reasons.length === 0) {
      // ANALYZE would count anew, and is not asked for.
      if (isUncounted(row) && !isSkipped(object)) lost.push(object);
      continue;
    }
    const obstacle = obstacleOf(row, isSkipped(object), scope);
    if (obstacle !== undefined) {
      leftOut.push({
        object,
        why: [obstacle.why, ...needed.reasons].join('; '),
        isExpected: obstacle.isExpected,
      });
      continue;
    }
    const wanted = areNamed ? asNamed(row, needed, verb) : needed;
    if (wanted.vacuum || wanted.analyze) chosen.push(wanted);
  }
  return { chosen: chosen.sort((a, b) => b.urgency - a.urgency), leftOut, lost };
}

export function nameOf(row: VacuumNeedRow): RelationName {
  return { schema: row.schema, name: row.table };
}

/** Whether somebody says which tables; else those that need it are chosen. Pure. */
export function isNamed({ oids, schemas, all }: Scope): boolean {
  return oids !== undefined || schemas !== undefined || all;
}

function isCatalog({ schema }: VacuumNeedRow): boolean {
  return schema === 'pg_catalog' || schema === 'information_schema';
}

/** ANALYZE passes over the table it writes to without a word: analyze_rel() of src/backend/commands/analyze.c. */
function isAnalyzable({ schema, table }: VacuumNeedRow): boolean {
  return schema !== 'pg_catalog' || table !== 'pg_statistic';
}

/** What is counted of catalogs begins anew with each database. */
function isUncounted(row: VacuumNeedRow): boolean {
  return row.isLost && !isCatalog(row);
}

/** Whether a table is among those that are named. Pure. */
export function isInScope(row: VacuumNeedRow, { oids, schemas, all }: Scope): boolean {
  return all || oids?.has(row.oid) === true || schemas?.has(row.schema) === true;
}

/** What a person names is tried all the same: the server's own words say why it is refused. */
function obstacleOf(
  row: VacuumNeedRow,
  isSkipped: boolean,
  { oids }: Scope,
): { why: string; isExpected: boolean } | undefined {
  if (oids?.has(row.oid) === true) return undefined;
  if (isSkipped)
    return { why: 'the configuration leaves it out (maintenance.vacuum.skip)', isExpected: true };
  // Whoever owns the tables of an application alone leaves the catalogs to autovacuum.
  if (!row.mayMaintain)
    return { why: 'this role neither owns it nor may maintain it', isExpected: isCatalog(row) };
  return undefined;
}

/** What a table needs by its own trigger lines. VACUUM analyzes beside where that is due; ANALYZE alone is not for it. */
function needOf(row: VacuumNeedRow, verb: Verb): Chosen {
  const frozen = verb === 'analyze' ? [] : freezeNeeds(row);
  const dead = verb === 'analyze' ? [] : deadNeeds(row);
  const changed = analyzeNeeds(row);
  const vacuum = frozen.length + dead.length > 0;
  const analyze = changed.length > 0 && (verb !== 'vacuum' || vacuum);
  const needs = [...frozen, ...dead, ...(analyze ? changed : [])];
  return {
    row,
    vacuum,
    freeze: frozen.length > 0,
    analyze,
    reasons: needs.map(({ reason }) => reason),
    urgency: Math.max(0, ...needs.map(({ urgency }) => urgency)),
  };
}

/** What a person has named is done whether it is due or not; ANALYZE goes with VACUUM only where it is due. */
function asNamed(row: VacuumNeedRow, needed: Chosen, verb: Verb): Chosen {
  const vacuum = verb !== 'analyze' && row.kind !== 'p';
  // A partitioned table holds no rows: its leaves are vacuumed, and it is only analyzed.
  const analyze = isAnalyzable(row) && (verb === 'analyze' || analyzeNeeds(row).length > 0);
  return { ...needed, vacuum, analyze, reasons: ['it was asked for', ...needed.reasons] };
}

interface Need {
  reason: string;
  /** How far beyond its line; what is frozen comes before all others. */
  urgency: number;
}

/** A figure of a table, and from where on something is due. */
interface Line {
  count: number | null;
  trigger: number | null;
  what: string;
}

const freezeUrgency = 1e9;

/** From where on a table is frozen here. Pure. */
export function freezeLines(row: VacuumNeedRow): Line[] {
  return [
    { count: row.xidAge, trigger: freezeShare * row.freezeMaxAge, what: 'transactions since its oldest' },
    {
      count: row.multixactAge,
      trigger: freezeShare * row.multixactFreezeMaxAge,
      what: 'multixacts since its oldest',
    },
  ];
}

function freezeNeeds(row: VacuumNeedRow): Need[] {
  const need = (age: number | null, limit: number, what: string): Need[] =>
    age === null || age < freezeShare * limit
      ? []
      : [
          {
            reason: `its oldest ${what} is ${humanCount(age)} old, and autovacuum freezes it from ${humanCount(limit)}`,
            urgency: freezeUrgency + age / limit,
          },
        ];
  return [
    ...need(row.xidAge, row.freezeMaxAge, 'transaction'),
    ...need(row.multixactAge, row.multixactFreezeMaxAge, 'multixact'),
  ];
}

/** Beyond which VACUUM is due. Pure. */
export function deadLines(row: VacuumNeedRow): Line[] {
  return [
    { count: row.deadRows, trigger: row.vacuumTrigger, what: 'dead rows' },
    { count: row.toastDeadRows, trigger: row.toastVacuumTrigger, what: 'dead rows of its TOAST table' },
    {
      count: row.insertsSinceVacuum,
      trigger: row.insertTrigger,
      what: 'rows inserted since it was vacuumed',
    },
  ];
}

function deadNeeds(row: VacuumNeedRow): Need[] {
  return deadLines(row).flatMap(beyond);
}

/** Beyond which ANALYZE is due. Pure. */
export function changedLines(row: VacuumNeedRow): Line[] {
  const isTree = row.kind === 'p';
  // One that was never analyzed has no rows to compare with: it is analyzed for what it lacks.
  if ((isTree && !row.isEstimated) || !isAnalyzable(row)) return [];
  const what = isTree
    ? 'rows of partitions that changed since it was analyzed'
    : 'rows changed since it was analyzed';
  return [{ count: row.modifiedSinceAnalyze, trigger: row.analyzeTrigger, what }];
}

function analyzeNeeds(row: VacuumNeedRow): Need[] {
  const changed = changedLines(row).flatMap(beyond);
  if (changed.length > 0) return changed;
  if (isUncounted(row))
    return [{ reason: 'what was counted of it is lost, and is counted anew', urgency: 1 }];
  // One that was analyzed and has none has no rows, or none that can be described.
  // Catalogs are found by their indexes.
  const lacks = row.hasStatistics === false && row.lastAnalyze === null && !isCatalog(row);
  // Rows are not counted when statistics were lost, as by pg_upgrade: then one that was never looked at is looked at once.
  const hasRows = row.liveRows > 0 || !row.isEstimated;
  return lacks && hasRows && (row.kind !== 'p' || row.partitions > 0)
    ? [{ reason: 'it has no statistics', urgency: 1 }]
    : [];
}

function beyond({ count, trigger, what }: Line): Need[] {
  if (count === null || trigger === null || count <= trigger) return [];
  return [
    {
      reason: `${humanCount(count)} ${what}, due from ${humanCount(trigger)}`,
      urgency: count / Math.max(1, trigger),
    },
  ];
}
