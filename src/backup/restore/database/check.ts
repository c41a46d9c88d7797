import type { Db } from '../../../pg/connection.ts';
import { inParallel } from '../../../process/parallel.ts';
import { countLargeObjects, countTable, hashTable } from '../../../sql/backup-facts.ts';
import { pinStatements } from '../../../sql/export.ts';
import { displayName } from '../../../sql/quote.ts';
import { findSequenceState, hasRelation, listCollationVersions } from '../../../sql/restore-database.ts';
import type { LogicalPart } from '../../manifest.ts';
import type { RestoreContext } from './context.ts';

/** counts: the rows of every table, sequences, large objects; hash: every row too, where the backup has the hashes. */
export type VerifyLevel = 'counts' | 'hash' | 'none';

/** Something in which a restored database is not what the backup recorded. */
export interface Difference {
  about: 'rows' | 'hashes' | 'sequences' | 'large objects';
  text: string;
}

export interface CheckResult {
  rows: number;
  /** In what the restored database is not what the backup recorded; empty as a rule. */
  differences: Difference[];
}

/** Compares a restored database with what the manifest recorded in the dump's own snapshot. Reads every table. */
export async function checkRestored(
  context: RestoreContext,
  database: string,
  logical: LogicalPart,
  level: VerifyLevel,
): Promise<CheckResult> {
  if (level === 'none') return { rows: 0, differences: [] };
  const { tables } = logical;
  const sessions: Db[] = [];
  const result: CheckResult = { rows: 0, differences: [] };
  try {
    const free: Db[] = [];
    for (let number = 0; number < Math.max(1, Math.min(context.jobs, tables.length)); number += 1) {
      const db = await context.openDatabase(database);
      sessions.push(db);
      free.push(db);
      for (const statement of pinStatements()) await db.execute(statement);
    }
    await inParallel(sessions.length, tables, context.signal, async (table) => {
      const db = free.pop();
      if (db === undefined) throw new Error('more tables at a time than sessions');
      try {
        await compareTable(db, table, level, result);
      } finally {
        free.push(db);
      }
    });
    const [first] = sessions;
    if (first !== undefined) await compareRest(first, logical, result);
  } finally {
    for (const db of sessions) await db.close();
  }
  result.differences.sort((a, b) => (a.text < b.text ? -1 : 1));
  return result;
}

async function compareTable(
  db: Db,
  table: LogicalPart['tables'][number],
  level: VerifyLevel,
  result: CheckResult,
): Promise<void> {
  const label = displayName(table);
  if (!(await hasRelation(db, table))) {
    result.differences.push({ about: 'rows', text: `table ${label} is missing` });
    return;
  }
  if (table.rows === null || table.dataExcluded) return;
  const found =
    level === 'hash' && table.hash !== null
      ? await hashTable(db, table)
      : { rows: await countTable(db, table), hash: null };
  result.rows += Number(found.rows);
  if (found.rows !== BigInt(table.rows)) {
    result.differences.push({
      about: 'rows',
      text: `${label} has ${String(found.rows)} rows, and the backup has ${String(table.rows)}`,
    });
  } else if (found.hash !== null && found.hash !== table.hash) {
    result.differences.push({ about: 'hashes', text: `the rows of ${label} are not those of the backup` });
  }
}

async function compareRest(db: Db, logical: LogicalPart, result: CheckResult): Promise<void> {
  for (const sequence of logical.sequences) {
    const found = (await hasRelation(db, sequence)) ? await findSequenceState(db, sequence) : undefined;
    const label = displayName(sequence);
    if (found === undefined)
      result.differences.push({ about: 'sequences', text: `sequence ${label} is missing` });
    else if (
      sequence.lastValue !== null &&
      (found.lastValue !== sequence.lastValue || found.isCalled !== sequence.isCalled)
    ) {
      result.differences.push({
        about: 'sequences',
        text: `sequence ${label} stands at ${found.lastValue}, and in the backup at ${sequence.lastValue}`,
      });
    }
  }
  if (logical.format === 'plain') return;
  const objects = await countLargeObjects(db);
  if (objects !== logical.largeObjects) {
    result.differences.push({
      about: 'large objects',
      text: `there are ${String(objects)} large objects, and ${String(logical.largeObjects)} in the backup`,
    });
  }
}

/**
 * Collations that sort by another version of their library here than where the backup was made. Indexes are built anew by
 * a restore, so nothing is broken; the order of rows may differ.
 */
export async function collationWarnings(db: Db, logical: LogicalPart): Promise<string[]> {
  const here = new Map(
    (await listCollationVersions(db)).map((row) => [displayName(row), row.version] as const),
  );
  return logical.collations.flatMap((item) => {
    const label = displayName(item);
    const version = here.get(label);
    if (version === undefined || version === null || item.version === null || version === item.version)
      return [];
    return [
      `collation ${label} (${item.provider}) has version ${version} here and had ${item.version}: text may sort in another order`,
    ];
  });
}
