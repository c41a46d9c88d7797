import { humanSeconds } from '../../output/human.ts';
import { lockWaits, type LockSessionRow } from '../../sql/health-locks.ts';
import { sqlCheck, type Check, type Observation } from '../check.ts';
import { lockTrees, type LockTree } from '../lock-trees.ts';
import { oneLine, sessionObject, sessionObjects } from '../sessions.ts';

/** A queue of hundreds is told by its beginning. */
const toldWaiters = 10;

export const locks: Check[] = [
  sqlCheck<LockSessionRow>({
    id: 'locks.waits',
    group: 'locks',
    answers: 'who keeps others waiting for a lock, and for how long already',
    why: 'Whoever waits for a strong lock keeps everybody behind it waiting too: one forgotten transaction and one ALTER TABLE stop an application.',
    advice: `End the session at the root: the others go on by themselves. ${sessionObjects}`,
    thresholds: { unit: 'seconds', worse: 'above', warn: 60, crit: 120 },
    source: 'warn: 1 min (check_postgres, pgEdge); crit: 2 min (check_postgres).',
    privilege: ['pg_read_all_stats', 'pg_monitor'],
    profiles: ['daily', 'weekly', 'monthly', 'deploy'],
    question: lockWaits,
    judge: (rows, { floor }) => {
      const trees = lockTrees(rows).map((tree) => ({ tree, waited: longestWait(tree) }));
      const waiting = new Set(trees.flatMap(({ tree }) => tree.waiters.map(({ session }) => session.pid)))
        .size;
      const longest = Math.max(0, ...trees.map(({ waited }) => waited));
      const summary =
        waiting === 0
          ? 'nobody waits for a lock'
          : `${String(waiting)} sessions wait for a lock, the longest for ${humanSeconds(longest)}`;
      const observations = trees
        .filter(({ waited }) => waited >= floor)
        .sort((a, b) => b.waited - a.waited)
        .map(({ tree, waited }) => observe(tree, waited));
      if (observations.length === 0) observations.push({ object: null, value: longest, message: summary });
      return { observations, summary };
    },
  }),
];

function longestWait({ waiters }: LockTree): number {
  return Math.max(...waiters.map(({ session }) => session.waitedSeconds ?? 0));
}

function observe({ root, waiters }: LockTree, waited: number): Observation {
  const told = waiters
    .slice(0, toldWaiters)
    .map(
      ({ session, depth }) =>
        `${'> '.repeat(depth + 1)}${sessionObject(session)} waits ${humanSeconds(session.waitedSeconds ?? 0)} for ${session.mode ?? ''} on ${session.target ?? ''}: ${oneLine(session.query)}`,
    );
  const more = waiters.length - told.length;
  if (more > 0) told.push(`and ${String(more)} more`);
  const common = {
    value: waited,
    message: `keeps ${String(waiters.length)} ${waiters.length === 1 ? 'session' : 'sessions'} waiting, the longest for ${humanSeconds(waited)}`,
    mend: 'dbops inspect locks',
  };
  if (root === null)
    return {
      ...common,
      object: 'circle',
      message: `${String(waiters.length)} sessions wait for each other, the longest for ${humanSeconds(waited)}`,
      detail: told.join('; '),
      advice:
        'The server ends one of them after deadlock_timeout; mend the order in which the application locks.',
    };
  if (typeof root === 'string')
    return {
      ...common,
      object: `prepared transaction ${root}`,
      detail: told.join('; '),
      advice: 'End it with COMMIT PREPARED or ROLLBACK PREPARED, as its coordinator says.',
    };
  const since =
    root.transactionSeconds === null ? '' : `, in a transaction of ${humanSeconds(root.transactionSeconds)}`;
  const doing = root.query === '' ? '' : `: ${oneLine(root.query)}`;
  return {
    ...common,
    object: sessionObject(root),
    detail: [`${root.state ?? root.backendType ?? 'unknown'}${since}${doing}`, ...told].join('; '),
    advice: `End the session at the root: select pg_terminate_backend(${String(root.pid)});`,
  };
}
