import type { LockSessionRow, PreparedTransaction } from '../sql/lock-waits.ts';

/** Somebody who waits for nobody, and all who wait for them, directly or behind others. */
export interface LockTree {
  root: LockRoot;
  /** Each below the one that it waits for, by the shortest way from the root. */
  waiters: LockWaiter[];
}

export type LockRoot =
  | { kind: 'session'; session: LockSessionRow }
  | { kind: 'prepared'; transaction: PreparedTransaction }
  /** Sessions wait for each other: the server ends one of them after deadlock_timeout. */
  | { kind: 'circle' };

export interface LockWaiter {
  session: LockSessionRow;
  /** How many others stand between it and the root. */
  depth: number;
  /** The sessions that it waits for besides the one above it. */
  alsoBehind: number[];
  /** It waits behind other roots as well: the end of this one alone does not let it go on. */
  isShared: boolean;
}

/** A prepared transaction that ended while it was looked for. */
const ended: PreparedTransaction = { gid: 'unknown', user: '', database: '', ageSeconds: 0 };

/**
 * Who has to end so that the others go on. A session that waits for several roots stands in the tree of each, since it needs
 * all of them to end. Pure.
 */
export function lockTrees(sessions: LockSessionRow[]): LockTree[] {
  const behind = waitersByBlocker(sessions);
  const trees = rootsOf(sessions)
    .map((root): LockTree => ({ root, waiters: below(keyOf(root), behind) }))
    .filter((tree) => tree.waiters.length > 0);
  const treesOf = new Map<number, number>();
  for (const { waiters } of trees)
    for (const { session } of waiters) treesOf.set(session.pid, (treesOf.get(session.pid) ?? 0) + 1);
  for (const { waiters } of trees)
    for (const waiter of waiters) waiter.isShared = (treesOf.get(waiter.session.pid) ?? 0) > 1;
  const circle = sessions.filter(({ pid, blockedBy }) => !treesOf.has(pid) && (blockedBy ?? []).length > 0);
  if (circle.length > 0)
    trees.push({
      root: { kind: 'circle' },
      waiters: circle.map((session) => ({
        session,
        depth: 0,
        alsoBehind: othersThan(session, null),
        isShared: false,
      })),
    });
  return trees;
}

/** A process id, or the name of a prepared transaction. */
type Key = number | string;

function keyOf(root: LockRoot): Key {
  if (root.kind === 'session') return root.session.pid;
  return root.kind === 'prepared' ? root.transaction.gid : '';
}

function rootsOf(sessions: LockSessionRow[]): LockRoot[] {
  const prepared = new Map(sessions.flatMap(preparedBefore).map((item) => [item.gid, item]));
  return [
    ...sessions
      .filter(({ blockedBy }) => blockedBy === null || blockedBy.length === 0)
      .map((session): LockRoot => ({ kind: 'session', session })),
    ...[...prepared.values()].map((transaction): LockRoot => ({ kind: 'prepared', transaction })),
  ];
}

function preparedBefore({ blockedBy, preparedBy }: LockSessionRow): PreparedTransaction[] {
  return blockedBy?.includes(0) === true ? (preparedBy ?? [ended]) : [];
}

function waitersByBlocker(sessions: LockSessionRow[]): Map<Key, LockSessionRow[]> {
  const behind = new Map<Key, LockSessionRow[]>();
  for (const session of sessions) {
    const before = preparedBefore(session).map(({ gid }) => gid);
    // With parallel workers pg_blocking_pids may name a session twice.
    for (const key of new Set<Key>([...othersThan(session, null), ...before]))
      behind.set(key, [...(behind.get(key) ?? []), session]);
  }
  return behind;
}

function othersThan({ blockedBy }: LockSessionRow, parent: Key | null): number[] {
  return [...new Set(blockedBy ?? [])].filter((pid) => pid !== 0 && pid !== parent);
}

/** Those behind a root: found breadth first, so that each is met by its shortest way and circles end; told depth first. */
function below(root: Key, behind: Map<Key, LockSessionRow[]>): LockWaiter[] {
  const met = new Set<Key>([root]);
  const children = new Map<Key, LockSessionRow[]>();
  const queue: Key[] = [root];
  for (const key of queue) {
    const next = (behind.get(key) ?? []).filter(({ pid }) => !met.has(pid));
    children.set(key, next);
    for (const { pid } of next) {
      met.add(pid);
      queue.push(pid);
    }
  }
  const tell = (key: Key, depth: number): LockWaiter[] =>
    (children.get(key) ?? []).flatMap((session) => [
      { session, depth, alsoBehind: othersThan(session, key), isShared: false },
      ...tell(session.pid, depth + 1),
    ]);
  return tell(root, 0);
}
