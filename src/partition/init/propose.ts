import { writeTable } from '../../config/table-name.ts';
import { DbopsError } from '../../errors.ts';
import type { Db } from '../../pg/connection.ts';
import {
  listConvertCandidates,
  listPartmanSets,
  type CandidateRow,
  type PartmanRow,
} from '../../sql/adoption.ts';
import { listPartitionedTables, listPartitions } from '../../sql/partitions.ts';
import { displayName, visible } from '../../sql/quote.ts';
import { currentPoints, groupByParent, nowPoint } from '../model/load-sets.ts';
import { finitePartitions, type PartitionSet } from '../model/set.ts';
import { inferSettings, inferTemplate, type CatalogRows } from './infer.ts';
import { partmanInterval, partmanRetention } from './partman.ts';

/** An entry as it will be written. */
export interface ProposedEntry {
  table: string;
  key: string;
  interval: string | number;
  epoch?: string | undefined;
  timezone?: string | undefined;
  premake?: number | undefined;
  naming?: string | undefined;
  /** What pg_partman keeps, for the commented retention. */
  retention?: string | undefined;
  /** Comment lines above the entry. */
  notes: string[];
}

/** A set that is left out, and why. */
export interface LeftOut {
  table: string;
  reason: string;
}

export interface Proposal {
  database: string;
  entries: ProposedEntry[];
  leftOut: LeftOut[];
  candidates: CandidateRow[];
  /** What could not be looked at. */
  warnings: string[];
}

export interface ProposeOptions {
  now: Date;
  /** Our own schema, which is no candidate. */
  stateSchema: string;
  /** From which size a table is worth converting, in bytes. */
  largeBytes: number;
}

/**
 * Proposes a configuration from the partition sets, pg_partman's settings and the large append-only tables of the
 * database: a handful of statements, and one more for each set of id ranges. Changes nothing. Privilege: SELECT on pg_partman's part_config where
 * it is installed; without it a warning says so.
 */
export async function propose(db: Db, options: ProposeOptions): Promise<Proposal> {
  const warnings: string[] = [];
  const partman = await partmanSets(db, warnings);
  const tables = await listPartitionedTables(db, null);
  const partitions =
    tables.length === 0
      ? []
      : await listPartitions(
          db,
          tables.map((table) => table.oid),
        );
  const rows: CatalogRows = { tables, byParent: groupByParent(partitions), serverZone: db.server.timezone };
  const proposal: Proposal = {
    database: db.server.database,
    entries: [],
    leftOut: [],
    candidates: (await listConvertCandidates(db, options.largeBytes, options.stateSchema)).filter(
      (item) => item.columns.length > 0,
    ),
    warnings,
  };
  for (const root of tables.filter((table) => table.parentOid === null)) {
    const row = partman.find((item) => item.parentTable === `${root.schema}.${root.name}`);
    try {
      const inferred = inferSettings(root, rows, row === undefined ? undefined : partmanInterval(row));
      if (inferred === undefined) {
        throw new DbopsError(
          'interval_contradicts',
          'it has no partition with two ends yet, so its interval is not known',
        );
      }
      if (inferred.set.codec.kind === 'id') await refuseUnknownPosition(db, inferred.set, options.now);
      proposal.entries.push(entryOf(inferred.set, inferred.isNominal, row, options.now));
    } catch (error) {
      if (!(error instanceof DbopsError)) throw error;
      const detail = error.detail === undefined ? '' : ` (${error.detail.split('\n').join('; ')})`;
      const prefix = `${displayName(root)}: `;
      const message = error.message.startsWith(prefix) ? error.message.slice(prefix.length) : error.message;
      proposal.leftOut.push({ table: displayName(root), reason: visible(message + detail) });
    }
  }
  return proposal;
}

/** `partition ensure` counts from where the ids are now, and only a sequence tells that. */
async function refuseUnknownPosition(db: Db, set: PartitionSet, now: Date): Promise<void> {
  const points = await currentPoints(db, [set], now);
  if (points.get(set.rootOid) !== undefined) return;
  throw new DbopsError(
    'unsupported_partitioning',
    `by ${String(set.settings.interval)} ids of "${set.settings.key}", but no sequence that this role may read tells how far they have come`,
  );
}

async function partmanSets(db: Db, warnings: string[]): Promise<PartmanRow[]> {
  try {
    return await listPartmanSets(db);
  } catch (error) {
    if (!(error instanceof DbopsError) || error.code !== 'privilege_missing') throw error;
    warnings.push(
      `pg_partman is installed, but "${visible(db.server.user)}" may not read its part_config: its intervals and retention are not among the proposals`,
    );
    return [];
  }
}

function entryOf(
  set: PartitionSet,
  isNominal: boolean,
  partman: PartmanRow | undefined,
  now: Date,
): ProposedEntry {
  const { settings, codec } = set;
  const naming = inferTemplate(set);
  const notes: string[] = [];
  if (naming === undefined) {
    notes.push(
      'No template explains the names that are there; new ones follow the default for the interval.',
    );
  }
  if (!isNominal && codec.isTime) {
    notes.push('Its bounds lie beside the calendar; new ones continue them.');
  }
  if (codec.isInstant && settings.timezone !== 'UTC') {
    notes.push('The time zone was read from the bounds: others may have the same midnight.');
  }
  if (partman !== undefined) notes.push(...partmanNotes(partman));
  return {
    table: writeTable(settings),
    key: settings.key,
    interval: settings.interval,
    epoch: settings.epoch,
    timezone: codec.isInstant ? settings.timezone : undefined,
    premake: premakeOf(set, partman, now),
    naming,
    retention: partman === undefined ? undefined : partmanRetention(partman),
    notes,
  };
}

function partmanNotes(row: PartmanRow): string[] {
  const notes = [
    `pg_partman: interval ${row.interval}, premake ${String(row.premake)}, retention ${row.retention ?? 'none'}` +
      `${row.retention === null ? '' : row.retentionKeepTable ? ' (detached only)' : ' (dropped)'}.`,
  ];
  if (row.isAutomatic) {
    const name = row.parentTable.replaceAll("'", "''");
    notes.push(
      'It maintains this set still. Before dbops takes over:',
      `  update ${row.configTable} set automatic_maintenance = 'off' where parent_table = '${name}';`,
    );
  }
  return notes.map(visible);
}

const usualPremake: Record<string, number> = { hour: 48, day: 14, week: 8 };

/** As many as there are ahead now, or as pg_partman makes, but never fewer than is prudent for the interval. */
function premakeOf(set: PartitionSet, partman: PartmanRow | undefined, now: Date): number | undefined {
  if (!set.codec.isTime) return partman === undefined ? undefined : Math.min(partman.premake, 1000);
  const current = nowPoint(set, now);
  const ahead = set.branches.map(
    (branch) => finitePartitions(branch).filter((item) => item.range.from > current).length,
  );
  const least = usualPremake[String(set.settings.interval)] ?? 6;
  const premake = Math.min(Math.max(least, partman?.premake ?? 0, ...ahead), 1000);
  return premake === 6 ? undefined : premake;
}
