import { splitTable } from '../config/table-name.ts';
import { DbopsError } from '../errors.ts';
import type { JobContext } from '../partition/context.ts';
import { withAdvisoryLock } from '../pg/advisory-lock.ts';
import type { Db } from '../pg/connection.ts';
import { applyChanges } from '../plan/apply.ts';
import type { Change } from '../plan/step.ts';
import { findIndexDetail, type IndexDetailRow } from '../sql/index-tables.ts';
import { invalidIndexes, type InvalidRow } from '../sql/invalid-indexes.ts';
import { displayName, ident, literal, relation, type RelationName } from '../sql/quote.ts';
import { dropChange } from './changes.ts';
import { tellLeftover } from './leftover.ts';

export interface DropPlan {
  index: IndexDetailRow;
  /** Statements that make it again. */
  undo: string[];
  changes: Change[];
}

/** Plans to drop an index by its name. Throws table_not_found, refused or lock_busy. */
export async function planDrop(db: Db, written: string): Promise<DropPlan> {
  const name = splitTable(written);
  const index = await findIndexDetail(db, name);
  if (index === undefined)
    throw new DbopsError(
      'table_not_found',
      `there is no index ${displayName(name)} in database "${db.server.database}"`,
      { hint: 'Write it as schema.index, as it stands in the catalog; "dbops index list" shows them.' },
    );
  refuseNeeded(index);
  if (!index.isValid) await refuseInWork(db, index);
  const change = dropChange(
    name,
    tableOf(index),
    db.server,
    'readers and writers go on; it waits until no transaction uses the table any more',
  );
  return { index, undo: undoOf(index), changes: [change] };
}

/** Drops it under the lock of its table; the statements that make it again are in the history. Throws lock_timeout. */
export async function dropIndex(context: JobContext, plan: DropPlan): Promise<void> {
  const { db, waitMs, signal, settings, log, applied } = context;
  const { index, undo, changes } = plan;
  const table = { table: index.tableOid, name: displayName(tableOf(index)) };
  await withAdvisoryLock(db, table, { waitMs, signal }, async () => {
    await context.history.begin(db, { index: displayName(index), undo, changes });
    try {
      await applyChanges(db, changes, applied, { log, signal, deadlineMs: settings.lockDeadlineMs });
    } catch (error) {
      // It is taken out of use before the waits.
      if (index.isValid && (await tellLeftover(context, index))) applied.changes += 1;
      throw error;
    }
  });
}

const tableOf = ({ schema, table }: IndexDetailRow): RelationName => ({ schema, name: table });

/** The statements that make an index again, with what its definition does not tell. Pure. */
export function undoOf(
  index: Pick<
    IndexDetailRow,
    'schema' | 'name' | 'table' | 'definition' | 'tablespace' | 'comment' | 'isClustered' | 'isPartitioned'
  >,
): string[] {
  const { definition, tablespace, comment, isClustered } = index;
  // A partitioned index cannot be made concurrently, and its definition leaves the partitions out.
  const again = index.isPartitioned
    ? definition.replace(`${ident(index.name)} ON ONLY `, `${ident(index.name)} ON `)
    : definition.replace(/^CREATE (UNIQUE )?INDEX /, 'CREATE $1INDEX CONCURRENTLY ');
  const table = relation({ schema: index.schema, name: index.table });
  return [
    ...(tablespace === null ? [] : [`set default_tablespace = ${literal(tablespace)};`]),
    `${again};`,
    ...(tablespace === null ? [] : ['reset default_tablespace;']),
    ...(comment === null ? [] : [`comment on index ${relation(index)} is ${literal(comment)};`]),
    ...(isClustered ? [`alter table ${table} cluster on ${ident(index.name)};`] : []),
  ];
}

function refuseNeeded(index: IndexDetailRow): void {
  const table = relation(tableOf(index));
  const refuse = (why: string, hint: string) =>
    new DbopsError('refused', `the index ${displayName(index)} ${why}`, { hint });
  if (index.constraint !== null)
    throw refuse(
      `is the constraint "${index.constraint}" of ${displayName(tableOf(index))}`,
      `Where the constraint itself is to go: alter table ${table} drop constraint ${ident(index.constraint)};`,
    );
  if (index.foreignKey !== null)
    throw refuse(
      `is what the foreign key "${index.foreignKey}" of another table leans on`,
      'Drop that foreign key first, or keep the index.',
    );
  if (index.isReplicaIdentity)
    throw refuse(
      `is the replica identity of ${displayName(tableOf(index))}: subscribers could not follow updates without it`,
      `Choose another one first: alter table ${table} replica identity default;`,
    );
  if (index.servedKey !== null)
    throw refuse(
      `is the only one that serves the foreign key "${index.servedKey}": each delete in ${index.servedTable ?? ''} would read ${displayName(tableOf(index))} through`,
      'Create another index first that begins with the columns of the key; where rows over there are never deleted, ' +
        `drop it by hand: drop index concurrently ${relation(index)};`,
    );
  if (index.extension !== null)
    throw refuse(`belongs to the extension ${index.extension}`, 'It goes with its extension.');
  if (index.parent !== null)
    throw refuse(
      `is a part of the partitioned index ${index.parent}`,
      'A single part cannot be dropped; drop the partitioned index as a whole.',
    );
  if (index.isPartitioned)
    throw refuse(
      'is partitioned, and PostgreSQL cannot drop that concurrently',
      `It takes ACCESS EXCLUSIVE on ${table} and all its partitions for an instant; in a quiet moment: ` +
        `set lock_timeout = '100ms'; drop index ${relation(index)};`,
    );
}

async function refuseInWork(db: Db, index: IndexDetailRow): Promise<void> {
  const rows = await db.query<InvalidRow>(invalidIndexes());
  const found = rows.find(({ oid }) => oid === index.oid);
  if (found === undefined || found.isInWork === false) return;
  throw new DbopsError('lock_busy', `the index ${displayName(index)} is being built, rebuilt or dropped`, {
    hint: 'Wait for that session to end; "dbops inspect locks" shows it.',
  });
}
