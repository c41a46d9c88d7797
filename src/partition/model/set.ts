import type { PartitionSettings } from '../../config/settings.ts';
import { relation } from '../../sql/quote.ts';
import type { Bound, Range } from './bounds.ts';
import type { KeyCodec, Point } from './key.ts';
import type { Zone } from './zone.ts';

/** A range whose two ends are known. */
export interface ClosedRange {
  from: Point;
  to: Point;
}

/** A partition with its bound understood. */
export interface Partition {
  oid: number;
  schema: string;
  name: string;
  kind: string;
  bound: Bound;
  /** The bound as the catalog prints it. */
  boundText: string;
  /** Undefined for a default partition or a bound that is none of this key's. */
  range: Range | undefined;
  isDetachPending: boolean;
}

/** A partition whose two ends are known. */
export type FinitePartition = Partition & { range: ClosedRange };

/** A table that is partitioned by the configured key: the root itself, or one branch of a sub-partitioned set. */
export interface Branch {
  oid: number;
  schema: string;
  name: string;
  keyNumber: number;
  keyIsNotNull: boolean;
  /** In order of their lower bounds; the default partition and pending ones are not among them. */
  partitions: Partition[];
  defaultPartition: Partition | undefined;
  pending: Partition[];
}

/** A configured partition set as it stands in the database. */
export interface PartitionSet {
  settings: PartitionSettings;
  /** schema.table for people. */
  label: string;
  rootOid: number;
  codec: KeyCodec;
  zone: Zone;
  branches: Branch[];
}

/** The partition that ends last, among those whose ends are both known. */
export function lastFinite(branch: Branch): FinitePartition | undefined {
  return finitePartitions(branch).at(-1);
}

/** Partitions with two closed ends, in order. */
export function finitePartitions(branch: Branch): FinitePartition[] {
  return branch.partitions.filter(
    (item): item is FinitePartition => item.range?.from !== undefined && item.range.to !== undefined,
  );
}

/** The last closed upper end of all partitions: where the next one would begin. */
export function lastUpper(branch: Branch): Point | undefined {
  let last: Point | undefined;
  for (const { range } of branch.partitions) {
    if (range?.to !== undefined && (last === undefined || range.to > last)) last = range.to;
  }
  return last;
}

/** Whether something is there up to an open end, so that nothing can be added behind it. */
export function isOpenEnded(branch: Branch): boolean {
  return branch.partitions.some((item) => item.range !== undefined && item.range.to === undefined);
}

/** A bound's end for people; an open one by its word. */
export function formatEnd(codec: KeyCodec, end: Point | undefined, open: 'minvalue' | 'maxvalue'): string {
  return end === undefined ? open : codec.format(end);
}

/** The set that a table (quoted, as the ledger has it) is the root or a branch of. */
export function setOfParent(sets: PartitionSet[], parent: string): PartitionSet | undefined {
  return sets.find((set) => set.branches.some((branch) => relation(branch) === parent));
}
