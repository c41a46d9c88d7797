import { humanSeconds } from '../output/human.ts';
import type { Db } from '../pg/connection.ts';
import { lockWaits, type LockSessionRow, type PreparedTransaction } from '../sql/lock-waits.ts';
import { askQuickly } from '../sql/quick.ts';
import { literal } from '../sql/quote.ts';
import { lockTrees, type LockTree, type LockWaiter } from './lock-trees.ts';
import { unseenSessions, type Look } from './look.ts';

/** A line of a tree of waits. */
export interface LockNode extends Omit<LockSessionRow, 'pid'> {
  /** Null for a prepared transaction. */
  pid: number | null;
  /** 0 for what others wait for and that waits for nobody. */
  depth: number;
  /** Others that it waits for besides the one above it. */
  alsoBehind: number[];
  /** All sessions behind it, those that are shown below another one, too; null for one that waits itself. */
  waiters: number | null;
  /** How it ends, and what that would end; null for those that wait. */
  end: { sql: string | null; effect: string } | null;
}

/** Who waits for whom, the tree with the most waiters first. */
export async function lookAtLocks(db: Db, limit: number): Promise<Look<LockNode>> {
  const trees = lockTrees(await askQuickly<LockSessionRow>(db, lockWaits()));
  const nodes = lockNodes(trees);
  const rows = cut(nodes, limit);
  const left = nodes.length - rows.length;
  return {
    rows,
    notes: [
      ...trees.filter(({ root }) => root.kind === 'circle').map(circleNote),
      ...(left === 0 ? [] : [`${String(left)} more are not shown; --limit shows more`]),
    ],
    unseen: await unseenSessions(db),
  };
}

/** The roots stay before all others: they are what can be ended. */
function cut(nodes: LockNode[], limit: number): LockNode[] {
  let room = limit - nodes.filter(({ depth }) => depth === 0).length;
  const kept = nodes.filter(({ depth }) => depth === 0 || room-- > 0);
  return kept.slice(0, limit);
}

function circleNote({ waiters }: LockTree): string {
  const pids = waiters.map(({ session }) => String(session.pid)).join(', ');
  return `${pids} wait for each other: the server ends one of them after deadlock_timeout`;
}

/** The lines of trees, the largest first: each session that waits once, in the first tree that it stands in. Pure. */
export function lockNodes(trees: LockTree[]): LockNode[] {
  const shown = new Set<number>();
  return [...trees]
    .sort((a, b) => b.waiters.length - a.waiters.length || longestWait(b) - longestWait(a))
    .flatMap((tree) => {
      const below = tree.waiters.filter(({ session }) => !shown.has(session.pid));
      for (const { session } of below) shown.add(session.pid);
      const root = rootNode(tree);
      return root === undefined
        ? below.map((waiter) => waiterNode(waiter, 0))
        : [root, ...below.map((waiter) => waiterNode(waiter, 1))];
    });
}

/** How long the one that has waited longest behind a root has waited. Pure. */
export function longestWait({ waiters }: LockTree): number {
  return Math.max(0, ...waiters.map(({ session }) => session.waitedSeconds ?? 0));
}

function waiterNode({ session, depth, alsoBehind }: LockWaiter, below: number): LockNode {
  return { ...session, depth: depth + below, alsoBehind, waiters: null, end: null };
}

function rootNode({ root, waiters }: LockTree): LockNode | undefined {
  const common = { depth: 0, alsoBehind: [], waiters: waiters.length };
  const effect = effectOn(waiters);
  if (root.kind === 'session') {
    const { session } = root;
    return { ...session, ...common, end: endOfSession(session, effect) };
  }
  if (root.kind === 'prepared') return { ...preparedNode(root.transaction, effect), ...common };
  return undefined;
}

/** What the end of a root does for those behind it. */
function effectOn(waiters: LockWaiter[]): string {
  const shared = waiters.filter(({ isShared }) => isShared).length;
  const freed = waiters.length - shared;
  const parts = [];
  if (freed > 0) parts.push(freed === 1 ? '1 session goes on' : `${String(freed)} sessions go on`);
  if (shared > 0) parts.push(`${shared === 1 ? '1 session waits' : `${String(shared)} wait`} for others too`);
  return parts.join(', ');
}

function endOfSession(session: LockSessionRow, effect: string): LockNode['end'] {
  // The startup process of a standby holds what the primary has locked, and cannot be ended.
  if (session.backendType === 'startup')
    return {
      sql: null,
      effect: `${String(session.pid)} replays a lock of the primary: the transaction there has to end; ${effect}`,
    };
  const sql = `select pg_terminate_backend(${String(session.pid)});`;
  return { sql, effect: `${whatEnds(session)}; ${effect}` };
}

function whatEnds({ backendType, hasWritten, isHidden, transactionSeconds }: LockSessionRow): string {
  const age = transactionSeconds === null ? '' : ` of ${humanSeconds(Math.max(0, transactionSeconds))}`;
  if (backendType === 'autovacuum worker') return 'ends its VACUUM or ANALYZE, which begins again later';
  if (hasWritten === true) return `rolls back its transaction${age}, which has written`;
  if (isHidden || hasWritten === null) return 'ends its session, of which no more may be seen';
  if (transactionSeconds === null) return 'ends its session, which has no transaction open';
  return `ends its transaction${age}, which has written nothing`;
}

function preparedNode(transaction: PreparedTransaction, effect: string) {
  const { gid, user, database, ageSeconds } = transaction;
  return {
    pid: null,
    user,
    application: '',
    database,
    client: null,
    backendType: null,
    state: 'prepared transaction',
    transactionSeconds: ageSeconds,
    stateSeconds: ageSeconds,
    hasWritten: true,
    query: `prepare transaction ${literal(gid).trim()}`,
    isHidden: false,
    blockedBy: null,
    waitedSeconds: null,
    mode: null,
    target: null,
    preparedBy: null,
    end: {
      sql: `rollback prepared ${literal(gid).trim()};`,
      effect: `in database "${database}", undoes what was prepared ${humanSeconds(Math.max(0, ageSeconds))} ago: ask who prepared it; ${effect}`,
    },
  };
}
