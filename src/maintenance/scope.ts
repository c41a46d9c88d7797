import { nearest } from '../config/nearest.ts';
import { splitTable, writeTable } from '../config/table-name.ts';
import { DbopsError } from '../errors.ts';
import type { Db } from '../pg/connection.ts';
import { listNames, listScope, listSchemas, type ScopeRow } from '../sql/maintenance.ts';
import { displayName } from '../sql/quote.ts';
import type { Scope } from './choose.ts';

/** What a person has named. */
export interface WrittenScope {
  tables: string[];
  schemas: string[];
  all: boolean;
}

/** What the names stand for. Throws usage and table_not_found. */
export async function readScope(db: Db, { tables, schemas, all }: WrittenScope): Promise<Scope> {
  if (all && tables.length + schemas.length > 0)
    throw new DbopsError('usage', '--all goes neither with --table nor with --schema');
  const found = schemas.length === 0 ? [] : await listSchemas(db, schemas);
  const lost = schemas.find((schema) => !found.includes(schema));
  if (lost !== undefined) throw new DbopsError('usage', `there is no schema "${lost}" in this database`);
  const rows = tables.length === 0 ? [] : await findNamed(db, tables);
  return {
    oids: rows.length === 0 ? undefined : new Set(rows.flatMap(({ members }) => members)),
    schemas: schemas.length === 0 ? undefined : new Set(schemas),
    all,
  };
}

/** What a person may name, by relkind. */
const tables = ['r', 'm', 'p'];
export const wholeTables = ['r', 'm'];
export const indexes = ['i', 'I'];

const kindNames = new Map([
  [tables, 'a table, a partitioned table or a materialized view'],
  [wholeTables, 'a table or a materialized view; of a partitioned table a partition'],
  [indexes, 'an index'],
]);

/** Relations by the names that a person wrote. Throws table_not_found with the nearest one, and usage for other kinds. */
export async function findNamed(db: Db, written: string[], kinds: string[] = tables): Promise<ScopeRow[]> {
  const names = written.map(splitTable);
  const rows = await listScope(db, names);
  for (const name of names) {
    const row = rows.find((item) => item.schema === name.schema && item.name === name.name);
    if (row === undefined) {
      const what = kinds === indexes ? 'index' : 'table';
      const guess = nearest(writeTable(name), (await listNames(db, kinds)).map(writeTable));
      throw new DbopsError('table_not_found', `there is no ${what} ${displayName(name)} in this database`, {
        hint: guess === undefined ? `Write it as schema.${what}.` : `Did you mean ${guess}?`,
      });
    }
    if (!kinds.includes(row.kind))
      throw new DbopsError('usage', `${displayName(name)} is not what this command works on`, {
        hint: `Name ${kindNames.get(kinds) ?? 'another one'}.`,
      });
  }
  return rows;
}
