import type { LockSessionRow } from '../sql/health-locks.ts';

/** Somebody who waits for nobody, and all who wait for them, directly or behind others. */
export interface LockTree {
  /** A session, or the name of a prepared transaction; null where sessions wait for each other in a circle. */
  root: LockSessionRow | string | null;
  /** Nearest first, each with how many others stand between. */
  waiters: { session: LockSessionRow; depth: number }[];
}

/**
 * Who has to end so that the others go on. A session that waits for several stands in the tree of each. What forms a circle
 * has no root: the server ends one of them after deadlock_timeout. Pure.
 */
export function lockTrees(sessions: LockSessionRow[]): LockTree[] {
  const waiters = sessions.filter(({ blockedBy }) => blockedBy !== null);
  const roots: [LockSessionRow | string, (session: LockSessionRow) => boolean][] = [
    ...sessions
      .filter(({ blockedBy }) => blockedBy === null || blockedBy.length === 0)
      .map((root): [LockSessionRow, (session: LockSessionRow) => boolean] => [
        root,
        ({ blockedBy }) => blockedBy?.includes(root.pid) === true,
      ]),
    ...preparedRoots(waiters).map((gid): [string, (session: LockSessionRow) => boolean] => [
      gid,
      ({ blockedBy, preparedBy }) =>
        blockedBy?.includes(0) === true && (preparedBy ?? [unnamed]).includes(gid),
    ]),
  ];
  const trees = roots
    .map(([root, isBehind]): LockTree => ({ root, waiters: behind(waiters, isBehind) }))
    .filter((tree) => tree.waiters.length > 0);
  const placed = new Set(trees.flatMap((tree) => tree.waiters.map(({ session }) => session.pid)));
  const circle = waiters.filter(({ pid, blockedBy }) => !placed.has(pid) && (blockedBy ?? []).length > 0);
  if (circle.length > 0)
    trees.push({ root: null, waiters: circle.map((session) => ({ session, depth: 0 })) });
  return trees;
}

/** A prepared transaction that ended while it was looked for. */
const unnamed = 'unknown';

function preparedRoots(waiters: LockSessionRow[]): string[] {
  return [
    ...new Set(
      waiters.flatMap(({ blockedBy, preparedBy }) =>
        blockedBy?.includes(0) === true ? (preparedBy ?? [unnamed]) : [],
      ),
    ),
  ];
}

/** Breadth first, so that each is met by its shortest way and circles end. */
function behind(
  waiters: LockSessionRow[],
  isFirst: (session: LockSessionRow) => boolean,
): LockTree['waiters'] {
  const found = waiters.filter(isFirst).map((session) => ({ session, depth: 0 }));
  const met = new Set(found.map(({ session }) => session.pid));
  for (const { session, depth } of found) {
    for (const next of waiters) {
      if (met.has(next.pid) || next.blockedBy?.includes(session.pid) !== true) continue;
      met.add(next.pid);
      found.push({ session: next, depth: depth + 1 });
    }
  }
  return found;
}
