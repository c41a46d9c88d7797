import type { ArchiveRow } from '../../sql/archives.ts';
import type { LedgerRow } from '../../sql/ledger.ts';
import { displayName, relation, visible } from '../../sql/quote.ts';
import type { Point } from '../model/key.ts';
import { duePartitions } from '../model/retention.ts';
import { setOfParent, type PartitionSet } from '../model/set.ts';
import type { Finding } from './check.ts';

const dayMs = 86_400_000;

export interface ArchiveFacts {
  /** Verified, proven and failed ones. */
  rows: ArchiveRow[];
  ledger: LedgerRow[];
  now: Date;
}

/** What is wrong with the archives of one set, as far as its ledger tells: no store is asked. Pure. */
export function checkArchives(set: PartitionSet, current: Point | undefined, facts: ArchiveFacts): Finding[] {
  const isOwn = (row: ArchiveRow) =>
    setOfParent([set], relation({ schema: row.tableSchema, name: row.tableName })) !== undefined;
  const rows = facts.rows.filter(isOwn);
  return [
    ...checkFailed(set, current, rows, facts.now),
    ...checkUnproven(set, rows, facts),
    ...checkCopies(set, rows),
  ];
}

/** Partitions that are due and whose archive failed, as long as none was made since. */
function checkFailed(
  set: PartitionSet,
  current: Point | undefined,
  rows: ArchiveRow[],
  now: Date,
): Finding[] {
  if (current === undefined) return [];
  return set.branches
    .flatMap((branch) => duePartitions(set, branch, current))
    .flatMap((partition): Finding[] => {
      const own = rows.filter((row) => row.partitionOid === partition.oid);
      const made = own.findLast((row) => row.state !== 'failed');
      const failed = own.filter(
        (row) => row.state === 'failed' && (made === undefined || row.createdAt > made.createdAt),
      );
      const [first] = failed;
      if (first === undefined) return [];
      const days = Math.floor((now.getTime() - first.createdAt.getTime()) / dayMs);
      return [
        {
          check: 'archive-failed',
          object: displayName(partition),
          severity: days >= 3 ? 'crit' : 'warn',
          message: `due, and its archive failed ${String(failed.length)} times in ${String(days)} days: ${visible(failed.at(-1)?.message ?? 'no reason was recorded')}`,
          mend: `dbops archive run ${set.label}`,
        },
      ];
    });
}

/** Detached a day ago or longer, and not proven to be what its archive holds: nothing drops it, nobody queries it. */
function checkUnproven(set: PartitionSet, rows: ArchiveRow[], { ledger, now }: ArchiveFacts): Finding[] {
  return ledger.flatMap((row): Finding[] => {
    const archive = rows.find((item) => item.id === row.archiveId);
    if (row.state !== 'detached' || !row.exists || row.isAttached || archive?.state !== 'verified') return [];
    if (row.detachedAt === null || now.getTime() - row.detachedAt.getTime() < dayMs) return [];
    return [
      {
        check: 'archive-unproven',
        object: displayName(row),
        severity: 'warn',
        message: `detached at ${row.detachedAt.toISOString()}, and not yet proven to be what archive ${archive.id} holds`,
        mend: `dbops archive run ${set.label}`,
      },
    ];
  });
}

function checkCopies(set: PartitionSet, rows: ArchiveRow[]): Finding[] {
  const { required } = set.settings.archive;
  return rows
    .filter((row) => row.state !== 'failed' && row.stores.length < required)
    .map((row) => ({
      check: 'archive-copies',
      object: displayName({ schema: row.partitionSchema, name: row.partitionName }),
      severity: 'warn',
      message: `archive ${row.id} is in ${String(row.stores.length)} of the ${String(required)} stores that it has to be in`,
      mend: `dbops archive run ${set.label}`,
    }));
}
