import { countedSince } from '../../sql/health-facts.ts';
import { humanBytes, humanCount } from '../../output/human.ts';
import { databaseCounters, type DatabaseCountersRow } from '../../sql/health-activity.ts';
import { allWell, sqlCheck, type Check, type CheckContext } from '../check.ts';

const profiles = ['daily', 'weekly', 'monthly'] as const;

/** Below that a share says nothing. */
const enoughTransactions = 1000;

export const activity: Check[] = [
  sqlCheck<DatabaseCountersRow>({
    id: 'activity.temporary-files',
    group: 'activity',
    answers: 'how much sorts and hashes of this database write to temporary files in a day',
    why: 'What does not fit into work_mem goes to the disk and comes back from there; at worst it fills the disk.',
    advice:
      'See which statements write them (log_temp_files, temp_blks_written of pg_stat_statements), and raise work_mem for their role alone.',
    thresholds: { unit: 'bytes', worse: 'above', warn: 10 * 1024 ** 3, crit: null },
    source:
      'dbops: 10 GB a day; the tools that were compared count files (pgEdge, 10 between two looks), not bytes.',
    profiles,
    isCounted: true,
    question: databaseCounters,
    judge: ([row], context) => {
      const { temporaryFiles, temporaryBytes } = counted(row);
      const value = perDay(temporaryBytes, context);
      const message = `${humanBytes(value)} a day in temporary files: ${humanBytes(temporaryBytes)} in ${humanCount(temporaryFiles)} files ${since(context)}`;
      return { observations: [{ object: null, value, message }], summary: message };
    },
  }),
  sqlCheck<DatabaseCountersRow>({
    id: 'activity.deadlocks',
    group: 'activity',
    answers: 'how many deadlocks this database has in a day',
    why: 'Each has cost an application a transaction, and everybody in it the time of deadlock_timeout.',
    advice:
      'The log names the statements of each. Lock rows in the same order everywhere, and repeat what failed with 40P01.',
    thresholds: { unit: 'count', worse: 'above', warn: 1, crit: null },
    source: 'warn: any that is new (pgEdge), seen over a day; the mixin takes 5 a minute.',
    profiles,
    isCounted: true,
    question: databaseCounters,
    judge: ([row], context) => {
      const { deadlocks } = counted(row);
      const value = perDay(deadlocks, context);
      const message = `${humanCount(deadlocks)} deadlocks ${since(context)}, ${value.toFixed(1)} a day`;
      return { observations: [{ object: null, value, message }], summary: message };
    },
  }),
  sqlCheck<DatabaseCountersRow>({
    id: 'activity.rollbacks',
    group: 'activity',
    answers: 'how many of the transactions of this database were rolled back',
    why: 'Work was done in vain, and somebody was most likely told of an error.',
    advice:
      'The log names the errors. Some poolers and test suites roll back on purpose: give those databases a bound of their own.',
    thresholds: { unit: 'percent', worse: 'above', warn: 10, crit: null },
    source: 'warn: 10 % (PostgreSQL mixin); awesome-prometheus-alerts takes 2 %.',
    profiles,
    isCounted: true,
    question: databaseCounters,
    judge: ([row], context) => {
      const { committed, rolledBack } = counted(row);
      const all = committed + rolledBack;
      if (all < enoughTransactions)
        return allWell(`${humanCount(all)} transactions ${since(context)}, too few to judge`);
      const value = (rolledBack / all) * 100;
      const message = `${humanCount(rolledBack)} of ${humanCount(all)} transactions were rolled back ${since(context)}`;
      return { observations: [{ object: null, value, message }], summary: message };
    },
  }),
];

function counted(row: DatabaseCountersRow | undefined): DatabaseCountersRow {
  if (row === undefined) throw new Error('the server has counted nothing of this database');
  return row;
}

type Clock = Pick<CheckContext, 'facts' | 'now'>;

function since(clock: Clock): string {
  return `since ${countedSince(clock.facts).toISOString().slice(0, 16)}Z`;
}

/** Less than a day is not stretched to one: an hour with a deadlock is no day with 24. */
function perDay(count: number, clock: Clock): number {
  const days = (clock.now.getTime() - countedSince(clock.facts).getTime()) / 86_400_000;
  return count / Math.max(1, days);
}
