import type { Point } from './key.ts';
import { contains } from './bounds.ts';
import type { Branch, PartitionSet } from './set.ts';

/** How long inserts at the current point have a partition of their own to go to. */
export interface Runway {
  /** Days for times; null for ids and for sets without an end. */
  days: number | null;
  /** Ids for id sets. */
  ids: number | null;
  isEndless: boolean;
  /** What happens to a row behind it. */
  then: 'insert fails' | 'goes to the default partition';
}

const microsPerDay = 86_400_000_000;

/** The shortest runway of a set's branches. */
export function runwayOf(set: PartitionSet, current: Point): Runway {
  const runways = set.branches.map((branch) => branchRunway(set, branch, current));
  const finite = runways.filter((runway) => !runway.isEndless);
  const length = (runway: Runway) => runway.days ?? runway.ids ?? 0;
  return (
    finite.sort((a, b) => length(a) - length(b))[0] ??
    runways[0] ?? { days: 0, ids: null, isEndless: false, then: 'insert fails' }
  );
}

/** Walks from the partition that holds the current point to the first range that none serves. */
function branchRunway(set: PartitionSet, branch: Branch, current: Point): Runway {
  const then = branch.defaultPartition === undefined ? 'insert fails' : 'goes to the default partition';
  let reached = current;
  for (;;) {
    const holder = branch.partitions.find(
      (item) => item.range !== undefined && contains(item.range, reached),
    );
    if (holder?.range === undefined) break;
    if (holder.range.to === undefined) return { days: null, ids: null, isEndless: true, then };
    reached = holder.range.to;
  }
  const length = Number(reached - current);
  return set.codec.isTime
    ? { days: length / microsPerDay, ids: null, isEndless: false, then }
    : { days: null, ids: length, isEndless: false, then };
}

/** For people: "193 days", "40,000 ids", "endless", "none: insert fails". */
export function describeRunway(runway: Runway): string {
  if (runway.isEndless) return 'endless';
  if (runway.days !== null) {
    if (runway.days <= 0) return `none: ${runway.then}`;
    return runway.days < 2 ? `${(runway.days * 24).toFixed(0)} h` : `${String(Math.floor(runway.days))} days`;
  }
  return runway.ids !== null && runway.ids > 0
    ? `${runway.ids.toLocaleString('en-US')} ids`
    : `none: ${runway.then}`;
}
