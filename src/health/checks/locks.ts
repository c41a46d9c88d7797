import { humanSeconds } from '../../output/human.ts';
import { longestWait } from '../../inspect/locks.ts';
import { lockTrees, type LockTree } from '../../inspect/lock-trees.ts';
import { lockWaits, type LockSessionRow } from '../../sql/lock-waits.ts';
import { sqlCheck, type Check, type Observation } from '../check.ts';
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

function observe({ root, waiters }: LockTree, waited: number): Observation {
  const told = waiters
    .slice(0, toldWaiters)
    .map(
      ({ session, depth }) =>
        `${'> '.repeat(depth + 1)}${nameOf(session)} waits ${humanSeconds(session.waitedSeconds ?? 0)} for ${session.mode ?? ''} on ${session.target ?? ''}: ${statementOf(session)}`,
    );
  const more = waiters.length - told.length;
  if (more > 0) told.push(`and ${String(more)} more`);
  const common = {
    value: waited,
    message: `keeps ${String(waiters.length)} ${waiters.length === 1 ? 'session' : 'sessions'} waiting, the longest for ${humanSeconds(waited)}`,
    mend: 'dbops inspect locks',
  };
  if (root.kind === 'circle')
    return {
      ...common,
      object: 'circle',
      message: `${String(waiters.length)} sessions wait for each other, the longest for ${humanSeconds(waited)}`,
      detail: told.join('; '),
      advice:
        'The server ends one of them after deadlock_timeout; mend the order in which the application locks.',
    };
  if (root.kind === 'prepared')
    return {
      ...common,
      object: `prepared transaction ${root.transaction.gid}`,
      detail: told.join('; '),
      advice: 'End it with COMMIT PREPARED or ROLLBACK PREPARED, as its coordinator says.',
    };
  const { session } = root;
  const since =
    session.transactionSeconds === null
      ? ''
      : `, in a transaction of ${humanSeconds(session.transactionSeconds)}`;
  const doing = session.query === '' ? '' : `: ${statementOf(session)}`;
  return {
    ...common,
    object: nameOf(session),
    detail: [`${session.state ?? session.backendType ?? 'unknown'}${since}${doing}`, ...told].join('; '),
    advice:
      session.backendType === 'startup'
        ? 'It replays a lock of the primary: the transaction there has to end.'
        : `End the session at the root: select pg_terminate_backend(${String(session.pid)});`,
  };
}

/** The startup process of a standby has no role. */
function nameOf(session: LockSessionRow): string {
  return sessionObject({ ...session, user: session.user ?? session.backendType });
}

function statementOf({ query }: LockSessionRow): string {
  return oneLine(query.slice(0, 200));
}
