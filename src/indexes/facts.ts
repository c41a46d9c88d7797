import { DbopsError } from '../errors.ts';
import type { Db } from '../pg/connection.ts';
import {
  describeShape,
  listIndexedTables,
  listTableIndexes,
  type IndexedTableRow,
  type TableIndexRow,
} from '../sql/index-tables.ts';
import { invalidIndexes, type InvalidRow } from '../sql/invalid-indexes.ts';
import { sqlStateOf } from '../pg/sqlstate.ts';
import { displayName, ident, visible } from '../sql/quote.ts';
import { bodyOf, plainColumns, type IndexSpec } from './spec.ts';

/** What is there of a table, before it is planned which index it lacks. */
export interface IndexFacts {
  table: IndexedTableRow;
  /** Its partitions, parents before their children. */
  partitions: IndexedTableRow[];
  /** By the oid of their table; only those of the wanted shape. */
  same: Map<number, SameIndex[]>;
  /** Of the table itself, whatever their shape. */
  own: TableIndexRow[];
  /** What stands behind the table in CREATE INDEX. */
  body: string;
}

/** An index of the wanted shape. */
export interface SameIndex extends TableIndexRow {
  /** A session builds, rebuilds or drops it now; null where this role may not see it. */
  isInWork: boolean | null;
}

/** Looks at a table and its indexes. Throws table_not_found, usage or refused. */
export async function loadIndexFacts(db: Db, spec: IndexSpec): Promise<IndexFacts> {
  const [table, ...partitions] = await listIndexedTables(db, spec.table);
  if (table === undefined)
    throw new DbopsError(
      'table_not_found',
      `there is no table ${displayName(spec.table)} in database "${db.server.database}"`,
      { hint: 'Write it as schema.table, as it stands in the catalog.' },
    );
  refuseKinds(table, partitions);
  const body = bodyOf(spec, table.columns);
  if (spec.unique) refusePartialKeys(spec, [table, ...partitions]);
  const shape = await draftShape(db, spec, body);
  const all = await listTableIndexes(
    db,
    [table, ...partitions].map(({ oid }) => oid),
  );
  const found = all.filter((index) => index.shape === shape && index.isUnique === spec.unique);
  const invalid = found.some((index) => !index.isValid) ? await db.query<InvalidRow>(invalidIndexes()) : [];
  const same = new Map<number, SameIndex[]>();
  for (const index of found) {
    const work = invalid.find(({ oid }) => oid === index.oid)?.isInWork;
    const item = { ...index, isInWork: work === undefined ? false : work };
    same.set(index.tableOid, [...(same.get(index.tableOid) ?? []), item]);
  }
  return { table, partitions, same, own: all.filter(({ tableOid }) => tableOid === table.oid), body };
}

async function draftShape(db: Db, spec: IndexSpec, body: string): Promise<string> {
  try {
    return await describeShape(db, spec.table, { body, isUnique: spec.unique });
  } catch (error) {
    if (!(error instanceof DbopsError)) throw error;
    const { database, user } = db.server;
    if (error.code === 'privilege_missing' && error.message.includes('temporary'))
      throw new DbopsError('privilege_missing', error.message, {
        hint: `The index is tried on an empty temporary table first: grant temporary on database ${ident(database)} to ${ident(user)};`,
        cause: error,
      });
    // Syntax, unknown functions and operator classes, what is not immutable: wrong in what was written.
    if (!/^(42|0A)/.test(sqlStateOf(error) ?? '') || error.code !== 'sql_failed') throw error;
    throw new DbopsError(
      'usage',
      `the index of ${displayName(spec.table)} cannot be made: ${error.message}`,
      {
        hint: error.hint ?? hintOf(sqlStateOf(error)),
        cause: error,
      },
    );
  }
}

function hintOf(state: string | undefined): string | undefined {
  // undefined_function, undefined_object
  if (state !== '42883' && state !== '42704') return undefined;
  return 'Functions and operator classes outside of pg_catalog need their schema: "title public.gin_trgm_ops".';
}

/** Each partition has an index of its own, which knows nothing of the others' rows. */
function refusePartialKeys(spec: IndexSpec, tables: IndexedTableRow[]): void {
  for (const { partitionKey, columns, ...table } of tables) {
    const keys = plainColumns(spec, columns);
    const lacking = partitionKey.find((column) => column === null || !keys.includes(column));
    if (lacking === undefined) continue;
    const what = lacking === null ? 'an expression' : `"${visible(lacking)}"`;
    throw new DbopsError(
      'refused',
      `${displayName(table)} is partitioned by ${what}, which a unique index of the whole has to have among its columns`,
      {
        hint:
          lacking === null
            ? 'Create a unique index on each partition by its name: it keeps rows unique within that partition.'
            : 'Add that column, or create a unique index on each partition by its name: it keeps rows unique within that partition.',
      },
    );
  }
}

function refuseKinds(table: IndexedTableRow, partitions: IndexedTableRow[]): void {
  if (!['r', 'p', 'm'].includes(table.kind))
    throw new DbopsError('refused', `${displayName(table)} is no table that can have an index`);
  const foreign = partitions.find(({ kind }) => kind === 'f');
  if (foreign === undefined) return;
  throw new DbopsError(
    'refused',
    `partition ${displayName(foreign)} of ${displayName(table)} is a foreign table, so the index of the whole can never be valid`,
    { hint: 'Create the index on each of the other partitions by name.' },
  );
}
