import { splitTable } from '../config/table-name.ts';
import { DbopsError } from '../errors.ts';
import type { Db } from '../pg/connection.ts';
import { displayName, ident, type RelationName } from '../sql/quote.ts';
import type { KeyColumn } from '../sql/rows-batch.ts';
import { findRowsTable, type RowsTableRow } from '../sql/rows-table.ts';

const kinds: Record<string, string> = {
  v: 'a view',
  m: 'a materialized view',
  f: 'a foreign table',
  S: 'a sequence',
  i: 'an index',
  I: 'an index',
  c: 'a type',
  t: 'a TOAST table',
};

/**
 * Finds a table by its name and refuses what its rows cannot be worked on in. Throws table_not_found, or refused with
 * the reason.
 */
export async function loadRowsTable(db: Db, written: string, stateSchema: string): Promise<RowsTableRow> {
  const table = await findTable(db, splitTable(written));
  const label = displayName(table);
  if (table.kind !== 'r' && table.kind !== 'p') {
    throw new DbopsError(
      'refused',
      `${label} is ${kinds[table.kind] ?? 'no table'}, and rows are taken from tables only`,
    );
  }
  if (table.isSystem || table.schema === stateSchema) {
    throw new DbopsError(
      'refused',
      `${label} belongs to ${table.isSystem ? 'the server' : 'dbops'} itself, so its rows are left alone`,
    );
  }
  if (table.hasChildren) {
    throw new DbopsError('refused', `${label} has tables that inherit from it, whose rows are not in it`, {
      hint: 'Name each of them; only partitions are found by their parent.',
    });
  }
  refuseRowSecurity(table, db.server.user);
  return table;
}

async function findTable(db: Db, name: RelationName): Promise<RowsTableRow> {
  const table = await findRowsTable(db, name);
  if (table !== undefined) return table;
  throw new DbopsError(
    'table_not_found',
    `there is no table ${displayName(name)} in database "${db.server.database}"`,
    {
      hint: 'Write it as schema.table, as it stands in the catalog.',
    },
  );
}

/** With row_security off the server would refuse each statement; better at once, and with what helps. */
export function refuseRowSecurity(table: RowsTableRow, user: string): void {
  if (!table.isRowSecurityActive) return;
  throw new DbopsError('refused', `${displayName(table)}: row security hides rows from role "${user}"`, {
    detail: 'a job that sees some of the rows would leave the others behind and call it done',
    hint: `Run as the table's owner, or: ALTER ROLE ${ident(user)} BYPASSRLS;`,
  });
}

/** The columns of the primary key in its order; empty where there is none. */
export function primaryKeyOf(table: RowsTableRow): KeyColumn[] {
  const primary = table.uniques.find((unique) => unique.isPrimary);
  return (primary?.columns ?? []).map((name) => ({
    name,
    type: table.columns.find((column) => column.name === name)?.castType ?? 'text',
  }));
}
