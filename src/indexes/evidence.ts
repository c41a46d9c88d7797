import { humanCount } from '../output/human.ts';
import type { IndexRow } from '../sql/indexes.ts';

/** So long do statistics have to count before "never used" means anything: a week has its weekly report in it. */
export const evidenceHours = 168;

/** Why an index that is never read has to stay all the same; undefined where nothing speaks for it. Pure. */
export function usedOtherwise(index: IndexRow): string | undefined {
  if (index.constraint !== null) return `it is the constraint "${index.constraint}"`;
  if (index.isUnique) return 'it refuses duplicates, which no scan counts';
  if (index.isReplicaIdentity) return 'it is the replica identity of its table';
  if (index.isClustered) return 'its table is clustered by it';
  if (index.foreignKey !== null)
    return `it serves the foreign key "${index.foreignKey}" when rows of the other table are deleted`;
  return undefined;
}

/**
 * The indexes that nobody has read and that are there for nothing but reading, and those of them that have to stay all the
 * same: what begins like a shorter index that is read is what goes on when that one, redundant beside it, is dropped. Were
 * both told to go, nothing would be left for those reads. Pure.
 */
export function listUnused(rows: IndexRow[]): { unused: IndexRow[]; standIns: Map<number, string> } {
  const unread = rows.filter(
    (index) => index.isValid && index.scans === 0 && usedOtherwise(index) === undefined,
  );
  const keyOf = ({ schema, table }: IndexRow) => JSON.stringify([schema, table]);
  const readByTable = new Map<string, IndexRow[]>();
  for (const row of rows)
    if (row.scans > 0) readByTable.set(keyOf(row), [...(readByTable.get(keyOf(row)) ?? []), row]);
  const standIns = new Map<number, string>();
  for (const index of unread) {
    const shorter = readByTable.get(keyOf(index))?.find((other) => beginsLike(index, other));
    if (shorter !== undefined) standIns.set(index.oid, shorter.name);
  }
  return { unused: unread.filter(({ oid }) => !standIns.has(oid)), standIns };
}

/** Told from names: what may do the work of the other counts as doing it. */
function beginsLike(index: IndexRow, shorter: IndexRow): boolean {
  return (
    shorter.isValid &&
    shorter.method === index.method &&
    shorter.isPartial === index.isPartial &&
    shorter.columns.every((column, at) => index.columns[at] === column)
  );
}

/** What a count of scans does not tell. Pure. */
export function standbyNote(standbys: number): string | undefined {
  if (standbys === 0) return undefined;
  const count = standbys === 1 ? 'a standby receives WAL' : `${humanCount(standbys)} standbys receive WAL`;
  return `${count} from here, and what is read there is not counted: ask there before it is dropped`;
}
