import { formatDuration, type Duration } from '../../config/duration.ts';
import { addMonths, toInstant, toWall } from './grid.ts';
import type { Point } from './key.ts';
import { nowPoint } from './load-sets.ts';
import { finitePartitions, type Branch, type FinitePartition, type PartitionSet } from './set.ts';
import { utc } from './zone.ts';

/** A point moved back by a duration; months are counted on the calendar of the set's zone. */
export function pointBefore(
  set: Pick<PartitionSet, 'codec' | 'zone'>,
  point: Point,
  duration: Duration,
): Point {
  const zone = set.codec.isInstant ? set.zone : utc;
  const months =
    duration.months === 0 ? point : toInstant(zone, addMonths(toWall(zone, point), BigInt(-duration.months)));
  return months - BigInt(Math.round(duration.seconds * 1_000_000));
}

/**
 * Partitions that end at or before this point are past their hot retention. Undefined without a configured retention.
 * The end is the real upper bound in the catalog, never the start plus the configured interval.
 */
export function retentionCutoff(set: PartitionSet, current: Point): Point | undefined {
  const hot = set.settings.retention?.hot;
  if (hot === undefined) return undefined;
  return typeof hot === 'number' ? current - BigInt(hot) : pointBefore(set, current, hot);
}

/**
 * Archives of partitions that end at or before this point are past their total age. Undefined where no cold retention is
 * configured, and for ids, which have no age.
 */
export function coldCutoff(set: PartitionSet, now: Date): Point | undefined {
  const cold = set.settings.retention?.cold;
  return cold === undefined || !set.codec.isTime ? undefined : pointBefore(set, nowPoint(set, now), cold);
}

/** When the archive of a partition with this upper bound (as the key's codec writes it) comes to that age, for people. */
export function expiryOf(set: PartitionSet, upperBound: string | null): Date | undefined {
  const cold = set.settings.retention?.cold;
  const upper = upperBound === null ? undefined : set.codec.parse(upperBound);
  if (cold === undefined || upper === undefined || !set.codec.isTime) return undefined;
  const end = pointBefore(set, upper, { months: -cold.months, seconds: -cold.seconds });
  const ms = Number(end / 1000n);
  return new Date(set.codec.isInstant ? ms : set.zone.toInstantMs(ms));
}

/** What the policy says of partitions past their hot retention. */
export type DuePolicy = 'delete' | 'archive' | 'keep';

/**
 * delete: drop after the quarantine; archive: only after a proven copy; keep: detach, and drop by name only. Where there
 * is a store, rows go there unless the policy says "then: delete"; without `cold` they stay in it without an end.
 */
export function policyOf(set: Pick<PartitionSet, 'settings'>): DuePolicy {
  const { retention, archive } = set.settings;
  if (retention?.then === 'delete') return 'delete';
  return retention?.cold === undefined && archive.copies.length === 0 ? 'keep' : 'archive';
}

/** The partitions that are past their hot retention, oldest first. Never the newest one, never the only one. */
export function duePartitions(set: PartitionSet, branch: Branch, current: Point): FinitePartition[] {
  const cutoff = retentionCutoff(set, current);
  if (cutoff === undefined) return [];
  const finite = finitePartitions(branch);
  const newest = branch.partitions.at(-1);
  return finite.filter((item) => item.range.to <= cutoff && item !== newest);
}

/** Retention for people: "2 years, archived until 5 years". */
export function describeRetention(set: Pick<PartitionSet, 'settings'>): string {
  const { retention } = set.settings;
  if (retention === undefined) return 'kept';
  const hot =
    typeof retention.hot === 'number' ? `${String(retention.hot)} ids` : formatDuration(retention.hot);
  if (retention.then === 'delete') return `${hot}, then deleted`;
  if (retention.cold !== undefined) return `${hot}, archived until ${formatDuration(retention.cold)}`;
  return policyOf(set) === 'archive' ? `${hot}, then archived` : `${hot}, then detached`;
}
