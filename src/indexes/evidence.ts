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

/** Whether nobody has read an index that is there for nothing but reading. Pure. */
export function isUnused(index: IndexRow): boolean {
  return index.isValid && index.scans === 0 && usedOtherwise(index) === undefined;
}

/** What a count of scans does not tell. Pure. */
export function standbyNote(standbys: number): string | undefined {
  if (standbys === 0) return undefined;
  const count = standbys === 1 ? 'a standby receives WAL' : `${humanCount(standbys)} standbys receive WAL`;
  return `${count} from here, and what is read there is not counted: ask there before it is dropped`;
}
