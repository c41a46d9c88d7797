import { humanSeconds } from '../output/human.ts';
import type { Db } from '../pg/connection.ts';
import {
  listBlockingPrepared,
  listLockSessions,
  type BlockingPreparedRow,
  type LockSessionRow,
} from '../sql/inspect-locks.ts';
import { literal } from '../sql/quote.ts';
import { unseenSessions, type Look } from './look.ts';

/** A session in a tree of waits, with those that wait for it. */
export interface LockNode extends Omit<LockSessionRow, 'pid'> {
  /** Null for a prepared transaction. */
  pid: number | null;
  /** 0 for what others wait for and that waits for nobody. */
  depth: number;
  /** Others that it waits for besides the one above it. */
  alsoBlockedBy: number[];
  /** Sessions that would go on sooner if it ended: all below it. */
  waiters: number;
  /** What ends it, and what that would end; null for those that wait. */
  end: { sql: string; effect: string } | null;
}

/** Who waits for whom, the tree with the most waiters first. */
export async function lookAtLocks(db: Db, limit: number): Promise<Look<LockNode>> {
  const sessions = await listLockSessions(db);
  const prepared = sessions.some((session) => session.pid === 0) ? await listBlockingPrepared(db) : [];
  const nodes = lockTrees(sessions, prepared);
  return {
    rows: nodes.slice(0, limit),
    notes: cutNote(nodes.length, limit),
    unseen: await unseenSessions(db),
  };
}

function cutNote(count: number, limit: number): string[] {
  return count <= limit ? [] : [`${String(count - limit)} more that wait are not shown; --limit shows more`];
}

/**
 * Orders waiting sessions under those that they wait for: each once, under one that does not wait where there is one,
 * since in a queue everybody waits for everybody before him. What waits in a circle, until deadlock_timeout ends it, has
 * no root: its oldest wait is shown as one. Pure.
 */
export function lockTrees(sessions: LockSessionRow[], prepared: BlockingPreparedRow[]): LockNode[] {
  const byPid = new Map(sessions.filter(({ pid }) => pid !== 0).map((session) => [session.pid, session]));
  const gids = [...new Set(prepared.map(({ gid }) => gid))];
  const children = new Map<number | string, LockSessionRow[]>();
  for (const session of byPid.values()) {
    const parent = parentOf(session, byPid, prepared);
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), session]);
  }
  const placed = new Set<number>();
  const tree = (session: LockSessionRow, depth: number, parent: number | null): LockNode[] => {
    if (placed.has(session.pid)) return [];
    placed.add(session.pid);
    const below = (children.get(session.pid) ?? []).flatMap((child) => tree(child, depth + 1, session.pid));
    const alsoBlockedBy = session.blockers.filter((pid) => pid !== parent && pid !== 0);
    const node = { ...session, depth, alsoBlockedBy, waiters: below.length };
    return [{ ...node, end: depth === 0 ? endOf(node) : null }, ...below];
  };
  const trees = [
    ...gids.map((gid) => {
      const below = (children.get(gid) ?? []).flatMap((child) => tree(child, 1, null));
      return [preparedNode(prepared, gid, below.length), ...below];
    }),
    ...[...byPid.values()].filter(({ blockers }) => blockers.length === 0).map((root) => tree(root, 0, null)),
  ];
  // Only circles are left.
  for (const session of byPid.values()) trees.push(tree(session, 0, null));
  return trees
    .filter((nodes) => nodes.length > 0)
    .sort((a, b) => b.length - a.length || longestWait(b) - longestWait(a))
    .flat();
}

function longestWait(nodes: LockNode[]): number {
  return Math.max(...nodes.map(({ waitSeconds }) => waitSeconds ?? 0));
}

/** The session, or the gid of the prepared transaction, that a session is shown under. */
function parentOf(
  session: LockSessionRow,
  byPid: Map<number, LockSessionRow>,
  prepared: BlockingPreparedRow[],
): number | string | undefined {
  const blockers = session.blockers.filter((pid) => byPid.has(pid));
  const root = blockers.find((pid) => byPid.get(pid)?.blockers.length === 0);
  if (root !== undefined) return root;
  const gid = prepared.find(({ waiter }) => waiter === session.pid)?.gid;
  return gid ?? blockers[0];
}

function endOf(node: Omit<LockNode, 'end' | 'pid'> & { pid: number }): LockNode['end'] {
  const others = node.waiters === 1 ? '1 session goes on' : `${String(node.waiters)} sessions go on`;
  const age = node.transactionSeconds === null ? '' : ` of ${humanSeconds(node.transactionSeconds)}`;
  const what =
    node.hasWritten === null
      ? 'ends its session, of which no more may be seen'
      : node.hasWritten
        ? `rolls back its transaction${age}, which has written`
        : node.transactionSeconds === null
          ? 'ends its session, which has no transaction open'
          : `ends its transaction${age}, which has written nothing`;
  return { sql: `select pg_terminate_backend(${String(node.pid)});`, effect: `${what}; ${others}` };
}

function preparedNode(prepared: BlockingPreparedRow[], gid: string, waiters: number): LockNode {
  const row = prepared.find((item) => item.gid === gid);
  const ageSeconds = row?.ageSeconds ?? 0;
  return {
    pid: null,
    user: row?.user ?? '',
    application: '',
    client: null,
    state: 'prepared transaction',
    transactionSeconds: ageSeconds,
    stateSeconds: ageSeconds,
    hasWritten: true,
    query: `prepare transaction ${literal(gid).trim()}`,
    isHidden: false,
    blockers: [],
    waitSeconds: null,
    waitMode: null,
    waitKind: null,
    table: null,
    depth: 0,
    alsoBlockedBy: [],
    waiters,
    end: {
      sql: `rollback prepared ${literal(gid).trim()};`,
      effect: `in database "${row?.database ?? ''}", undoes what was prepared ${humanSeconds(ageSeconds)} ago; ask who prepared it`,
    },
  };
}
