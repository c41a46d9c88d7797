import { splitTable } from '../config/table-name.ts';
import { DbopsError } from '../errors.ts';
import { quietStep, transactionChange, type Change } from '../plan/step.ts';
import { displayName, ident, literal, relation, visible, type RelationName } from '../sql/quote.ts';
import { listRowsParts, type RowsPart } from '../sql/rows-parts.ts';
import { findRowsTable, hasLz4, type RowsTableRow } from '../sql/rows-table.ts';
import type { RowsContext } from './context.ts';
import { ownTriggersOf, refuseRules, triggersOf } from './effects.ts';
import { primaryKeyOf, refuseRowSecurity } from './table.ts';

/** Where moved rows go. */
export interface ArchiveTable {
  table: RelationName;
  /** Columns that are written, as both tables have them. */
  columns: string[];
  /** What makes the table, where it is not there yet. */
  changes: Change[];
  /** What writing there sets off, for people. */
  effects: string[];
}

/** Finds the table that rows move to, or plans to make it. Throws refused when the rows would not fit. */
export async function planArchiveTable(
  context: Pick<RowsContext, 'db'>,
  source: RowsTableRow,
  written: string,
  mayCreate: boolean,
): Promise<ArchiveTable> {
  const name = splitTable(written);
  const found = await findRowsTable(context.db, name);
  if (found !== undefined) return await existing(context, source, found);
  if (!mayCreate) {
    throw new DbopsError('table_not_found', `there is no table ${displayName(name)} to move rows to`, {
      hint: 'Give --create to have it made with the same columns (in the configuration: create: true).',
    });
  }
  return {
    table: name,
    columns: source.columns.map((column) => column.name),
    changes: [createChange(source, name, await hasLz4(context.db))],
    effects: [
      `${displayName(name)} is made without indexes besides the primary key, without foreign keys and without grants`,
    ],
  };
}

async function existing(
  context: Pick<RowsContext, 'db'>,
  source: RowsTableRow,
  target: RowsTableRow,
): Promise<ArchiveTable> {
  const label = displayName(target);
  if (target.oid === source.oid) throw new DbopsError('usage', `${label} cannot be moved to itself`);
  if (target.rootOid === source.rootOid) {
    throw new DbopsError('refused', `${label} and ${displayName(source)} are parts of one table`, {
      detail: 'a row that is moved within a partitioned table comes back to where its key belongs',
      hint: 'Move to a table of its own.',
    });
  }
  if (target.kind !== 'r' && target.kind !== 'p') {
    throw new DbopsError('refused', `${label} is no table, so rows cannot be moved to it`);
  }
  if (target.isTemporary)
    throw new DbopsError('refused', `${label} is a temporary table and ends with its session`);
  refuseRowSecurity(target, context.db.server.user);
  refuseRules(target, 'insert');
  const parts = await listRowsParts(context.db, target.oid);
  for (const table of [target, ...parts]) refuseFilter(table);
  await refuseLoss(context, source, target, parts);
  const differences = compareColumns(source, target);
  if (differences.length > 0) {
    throw new DbopsError('refused', `${label} has not the columns of ${displayName(source)}`, {
      detail: differences.join('\n'),
      hint: 'Add or change the columns there, or move to another table with --create.',
    });
  }
  const written = target.columns.filter((column) => column.generated === '');
  const names = source.columns.map((column) => column.name);
  return {
    table: { schema: target.schema, name: target.name },
    columns: written.map((column) => column.name).filter((name) => names.includes(name)),
    changes: [],
    effects: [
      ...triggersOf(target, 'insert'),
      ...parts.flatMap((part) => ownTriggersOf(part, target, 'insert')),
    ],
  };
}

/** Rows must be as safe there as they were here. */
async function refuseLoss(
  context: Pick<RowsContext, 'db'>,
  source: RowsTableRow,
  target: RowsTableRow,
  parts: RowsPart[],
): Promise<void> {
  const foreign = parts.find((part) => part.kind === 'f');
  if (foreign !== undefined) {
    throw new DbopsError(
      'refused',
      `${displayName(foreign)} is a foreign table, so rows cannot be moved to it`,
      {
        detail: 'its server commits by itself: a row could end in both tables or in neither',
      },
    );
  }
  const unlogged = holdersOf(target, parts).find((table) => table.isUnlogged);
  if (unlogged === undefined) return;
  const sources = holdersOf(source, await listRowsParts(context.db, source.oid));
  if (sources.every((table) => table.isUnlogged)) return;
  throw new DbopsError('refused', `${displayName(unlogged)} is unlogged: a crash of the server empties it`, {
    detail: `the rows of ${displayName(source)} survive one`,
    hint: `ALTER TABLE ${relation(unlogged)} SET LOGGED; or move to another table with --create.`,
  });
}

/** The tables that hold the rows themselves. */
function holdersOf(table: RowsTableRow, parts: RowsPart[]): (RelationName & { isUnlogged: boolean })[] {
  return table.kind === 'p' ? parts.filter((part) => part.kind !== 'p') : [table];
}

/** A partition may have a trigger that the table above it has not. */
function refuseFilter(table: RelationName & Pick<RowsTableRow, 'triggers'>): void {
  const filter = table.triggers.find(
    (trigger) => trigger.timing === 'before' && trigger.level === 'row' && trigger.events.includes('insert'),
  );
  if (filter === undefined) return;
  throw new DbopsError(
    'refused',
    `${displayName(table)}: trigger ${visible(filter.name)} decides which rows may enter`,
    {
      detail: 'a row that it keeps out would have left its table and be in neither',
      hint: 'Disable it for the time of the job, or move to another table with --create.',
    },
  );
}

/** What keeps rows of one table from standing unchanged in another, by column. Pure. */
export function compareColumns(
  source: Pick<RowsTableRow, 'columns'>,
  target: Pick<RowsTableRow, 'columns'>,
): string[] {
  const missing = source.columns.flatMap((column) => {
    const other = target.columns.find((item) => item.name === column.name);
    if (other === undefined) return [`${visible(column.name)} is missing`];
    if (other.generated !== '' && column.generated === '')
      return [`${visible(column.name)} is generated there, so the value of here would be lost`];
    return other.type === column.type
      ? []
      : [`${visible(column.name)} is ${visible(other.type)} there and ${visible(column.type)} here`];
  });
  const needed = target.columns
    .filter((column) => !source.columns.some((item) => item.name === column.name))
    .filter((column) => column.notNull && !column.hasDefault && column.generated === '')
    .map((column) => `${visible(column.name)} needs a value there, and there is no such column here`);
  return [...missing, ...needed];
}

/**
 * A plain table: no identity, no defaults, no generation, since its rows come as they are. Long values are compressed
 * with lz4 where the server has it. Autovacuum stays on, since old rows must be frozen as well.
 */
function createChange(source: RowsTableRow, name: RelationName, withLz4: boolean): Change {
  const table = relation(name);
  const label = displayName(name);
  const toasted = source.columns.filter((column) => column.isToasted);
  const key = primaryKeyOf(source).map((column) => ident(column.name));
  const steps = [
    quietStep(
      `create table ${table} (like ${relation(source)}) with (fillfactor = 100)`,
      'its rows are never changed',
    ),
    ...(withLz4 && toasted.length > 0
      ? [
          quietStep(
            `alter table ${table} ${toasted.map((column) => `alter column ${ident(column.name)} set compression lz4`).join(', ')}`,
            'long values are read and written faster',
          ),
        ]
      : []),
    ...(key.length > 0
      ? [quietStep(`alter table ${table} add primary key (${key.join(', ')})`, 'no row can arrive twice')]
      : []),
    quietStep(
      `comment on table ${table} is ${literal(`rows moved out of ${relation(source)} by dbops rows move`)}`,
      'says what it is',
    ),
  ];
  return transactionChange({
    summary: `create ${label} for the rows of ${displayName(source)}`,
    table: label,
    steps,
    event: 'rows_archive_table_created',
  });
}
