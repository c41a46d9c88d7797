import type { Db } from '../../pg/connection.ts';
import { listOpenLedger, type LedgerRow } from '../../sql/ledger.ts';
import { listPartitionSizes } from '../../sql/partitions.ts';
import { displayName, visible } from '../../sql/quote.ts';
import { formatEnd, lastUpper, type Branch, type Partition, type PartitionSet } from '../model/set.ts';

/** A set on one line. */
export interface SetSummary {
  table: string;
  key: string;
  interval: string;
  partitions: number;
  from: string;
  until: string;
  rowEstimate: number | null;
  sizeBytes: number | null;
  state: string;
}

/** A partition on one line. */
export interface PartitionLine {
  table: string;
  partition: string;
  from: string;
  to: string;
  rowEstimate: number | null;
  sizeBytes: number | null;
  state: 'attached' | 'default' | 'detach pending';
}

/** Every set with its partitions' extent, rows and size. Unknown sizes (a table that is locked) make the sum unknown. */
export async function summarizeSets(db: Db, sets: PartitionSet[]): Promise<SetSummary[]> {
  const all = sets.flatMap((set) => set.branches.flatMap(membersOf));
  const sizes = new Map(
    (
      await listPartitionSizes(
        db,
        all.map((item) => item.oid),
      )
    ).map((row) => [row.oid, row]),
  );
  return sets.map((set) => {
    const members = set.branches.flatMap(membersOf);
    const rows = members.map((item) => sizes.get(item.oid));
    const pending = set.branches.reduce((sum, branch) => sum + branch.pending.length, 0);
    const defaults = set.branches.filter((branch) => branch.defaultPartition !== undefined).length;
    const states = [
      ...(set.branches.length > 1 ? [`${String(set.branches.length)} branches`] : []),
      ...(defaults > 0 ? ['has a default'] : []),
      ...(pending > 0 ? [`${String(pending)} detach pending`] : []),
    ];
    return {
      table: set.label,
      key: set.settings.key,
      interval: String(set.settings.interval),
      partitions: members.length,
      from: earliest(set),
      until: latest(set),
      rowEstimate: sumKnown(rows.map((row) => row?.rowEstimate ?? null)),
      sizeBytes: sumKnown(rows.map((row) => row?.sizeBytes ?? null)),
      state: states.join(', ') || 'ok',
    };
  });
}

/** Every partition of the sets, in the order of their bounds. */
export async function listLines(db: Db, sets: PartitionSet[]): Promise<PartitionLine[]> {
  const all = sets.flatMap((set) => set.branches.flatMap(membersOf));
  const sizes = new Map(
    (
      await listPartitionSizes(
        db,
        all.map((item) => item.oid),
      )
    ).map((row) => [row.oid, row]),
  );
  return sets.flatMap((set) =>
    set.branches.flatMap((branch) =>
      membersOf(branch).map((item): PartitionLine => ({
        table: displayName(branch),
        partition: displayName(item),
        from:
          item.bound.kind === 'default'
            ? 'everything else'
            : formatEnd(set.codec, item.range?.from, 'minvalue'),
        to: item.bound.kind === 'default' ? '' : formatEnd(set.codec, item.range?.to, 'maxvalue'),
        rowEstimate: sizes.get(item.oid)?.rowEstimate ?? null,
        sizeBytes: sizes.get(item.oid)?.sizeBytes ?? null,
        state: item.isDetachPending
          ? 'detach pending'
          : item.bound.kind === 'default'
            ? 'default'
            : 'attached',
      })),
    ),
  );
}

/** Detached partitions that are not yet dropped. */
export async function listDetached(db: Db, stateSchema: string): Promise<LedgerRow[]> {
  return (await listOpenLedger(db, stateSchema)).filter((row) => row.exists && !row.isAttached);
}

function membersOf(branch: Branch): Partition[] {
  const { partitions, pending, defaultPartition } = branch;
  return [...partitions, ...pending, ...(defaultPartition === undefined ? [] : [defaultPartition])];
}

function sumKnown(values: (number | null)[]): number | null {
  let sum = 0;
  for (const value of values) {
    if (value === null) return null;
    sum += value;
  }
  return sum;
}

function earliest(set: PartitionSet): string {
  const first = set.branches.flatMap((branch) => branch.partitions[0] ?? []).at(0);
  return first === undefined ? '-' : visible(formatEnd(set.codec, first.range?.from, 'minvalue'));
}

function latest(set: PartitionSet): string {
  const ends = set.branches.flatMap((branch) => {
    if (branch.partitions.some((item) => item.range !== undefined && item.range.to === undefined)) return [];
    return lastUpper(branch) ?? [];
  });
  if (ends.length === 0)
    return set.branches.some((branch) => branch.partitions.length > 0) ? 'maxvalue' : '-';
  return set.codec.format(ends.reduce((least, end) => (end < least ? end : least)));
}
