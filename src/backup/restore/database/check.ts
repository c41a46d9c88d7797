import type { Db } from '../../../pg/connection.ts';
import { inParallel } from '../../../process/parallel.ts';
import { countLargeObjects, countTable, hashTable } from '../../../sql/backup-facts.ts';
import { pinStatements } from '../../../sql/export.ts';
import { displayName } from '../../../sql/quote.ts';
import { findSequenceState, hasRelation, listCollationVersions } from '../../../sql/restore-database.ts';
import { analyzeRestored, listToAnalyze } from '../../../sql/restore.ts';
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

/**
 * Gathers the statistics of a restored database, and then compares it with what the manifest recorded in the dump's own
 * snapshot: with statistics a count reads an index where that is smaller. Reads every table.
 */
export async function analyzeAndCheck(
  context: RestoreContext,
  database: string,
  logical: LogicalPart,
  level: VerifyLevel,
): Promise<CheckResult> {
  return await withSessions(context, database, async (sessions) => {
    const [first] = sessions;
    await eachInSessions(context, sessions, await listToAnalyze(first), async (db, table) => {
      await analyzeRestored(db, table);
    });
    return await compare(context, sessions, logical, level);
  });
}

/** Compares a restored database with what the manifest recorded in the dump's own snapshot. Reads every table. */
export async function checkRestored(
  context: RestoreContext,
  database: string,
  logical: LogicalPart,
  level: VerifyLevel,
): Promise<CheckResult> {
  return await withSessions(
    context,
    database,
    async (sessions) => await compare(context, sessions, logical, level),
  );
}

type Sessions = [Db, ...Db[]];

async function withSessions<T>(
  context: RestoreContext,
  database: string,
  work: (sessions: Sessions) => Promise<T>,
): Promise<T> {
  const sessions: Db[] = [];
  const open = async () => {
    const db = await context.openDatabase(database);
    sessions.push(db);
    for (const statement of pinStatements()) await db.execute(statement);
    return db;
  };
  try {
    const first = await open();
    while (sessions.length < context.jobs) await open();
    return await work([first, ...sessions.slice(1)]);
  } finally {
    for (const db of sessions) await db.close();
  }
}

/** As many items at a time as there are sessions. */
async function eachInSessions<Item>(
  context: RestoreContext,
  sessions: Sessions,
  items: Item[],
  work: (db: Db, item: Item) => Promise<void>,
): Promise<void> {
  const free: Db[] = [...sessions];
  await inParallel(sessions.length, items, context.signal, async (item) => {
    const db = free.pop();
    if (db === undefined) throw new Error('more items at a time than sessions');
    try {
      await work(db, item);
    } finally {
      free.push(db);
    }
  });
}

async function compare(
  context: RestoreContext,
  sessions: Sessions,
  logical: LogicalPart,
  level: VerifyLevel,
): Promise<CheckResult> {
  const result: CheckResult = { rows: 0, differences: [] };
  if (level === 'none') return result;
  await eachInSessions(context, sessions, logical.tables, async (db, table) => {
    await compareTable(db, table, level, result);
  });
  await compareRest(sessions[0], logical, result);
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
