import type { Db } from '../../../pg/connection.ts';
import { inParallel, together } from '../../../process/parallel.ts';
import {
  countLargeObjects,
  countTable,
  getDatabaseSettings,
  hashTable,
  joinDumpSnapshot,
  listDumpRoles,
  listDumpSequences,
  listInstalledExtensions,
  listUsedCollations,
  type DumpSequenceRow,
} from '../../../sql/backup-facts.ts';
import type { DumpTableRow } from '../../../sql/backup-tables.ts';
import type { LogicalPart } from '../../manifest.ts';
import type { Making } from '../maker.ts';
import type { LogicalPlan, Selection } from './plan.ts';

/** What the snapshot of a dump says of the database, for restores and drills to compare with. */
export interface Facts extends Pick<
  LogicalPart,
  'extensions' | 'roles' | 'largeObjects' | 'collations' | 'databaseSettings'
> {
  sequences: DumpSequenceRow[];
  /** By oid; tables that were not counted are not in it. */
  counts: Map<number, { rows: bigint; hash: string | null }>;
}

/** Reads it all in the snapshot of the dump, while that runs. Privilege: SELECT on all tables. Locks: ACCESS SHARE on them. */
export async function readFacts(
  making: Making,
  plan: LogicalPlan,
  where: { session: Db; snapshotId: string; selection: Selection; signal: AbortSignal },
): Promise<Facts> {
  const { session, selection } = where;
  const facts = {
    extensions: await listInstalledExtensions(session),
    roles: await listDumpRoles(session),
    largeObjects: plan.selected === null ? await countLargeObjects(session) : 0,
    collations: await listUsedCollations(session),
    databaseSettings: await getDatabaseSettings(session),
    sequences: await listDumpSequences(session),
  };
  const tables =
    plan.format === 'plain'
      ? []
      : selection.tables.filter((table) => table.kind === 'r' && !selection.withoutData.has(table.oid));
  return { ...facts, counts: await countTables(making, plan, where, tables) };
}

/** The largest tables first, in half as many sessions as the dump has: it is the dump that matters. */
async function countTables(
  making: Making,
  plan: LogicalPlan,
  where: { session: Db; snapshotId: string; signal: AbortSignal },
  tables: DumpTableRow[],
): Promise<Facts['counts']> {
  const { countRows, hashBelowBytes } = making.context.settings.backup;
  const sizeOf = (table: DumpTableRow) => plan.sizes.get(table.oid) ?? table.estimatedBytes;
  const ordered = tables.toSorted((a, b) => sizeOf(b) - sizeOf(a));
  const counts: Facts['counts'] = new Map();
  if (!countRows) return counts;
  const further = await openFurther(making, where, Math.max(1, Math.floor(plan.jobs / 2)) - 1);
  try {
    const queue = ordered.values();
    const worker = (session: Db) => async (signal: AbortSignal) => {
      for (const table of queue) {
        if (signal.aborted) return;
        if (sizeOf(table) < hashBelowBytes) counts.set(table.oid, await hashTable(session, table));
        else counts.set(table.oid, { rows: await countTable(session, table), hash: null });
      }
    };
    await together(where.signal, ...[where.session, ...further].map(worker));
  } finally {
    await Promise.all(further.map((session) => session.close()));
  }
  return counts;
}

async function openFurther(
  making: Making,
  where: { snapshotId: string; signal: AbortSignal },
  count: number,
): Promise<Db[]> {
  const numbers = Array.from({ length: count }, (_, index) => index);
  return await inParallel(Math.max(1, count), numbers, where.signal, async () => {
    const session = await making.context.db.openAnother();
    where.signal.addEventListener('abort', () => void session.close(), { once: true });
    await joinDumpSnapshot(session, where.snapshotId);
    return session;
  });
}
