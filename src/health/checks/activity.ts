import { humanBytes, humanCount } from '../../output/human.ts';
import { databaseCounters } from '../../sql/health-activity.ts';
import { allWell, type Check } from '../check.ts';
import { countedCheck, perDay, sinceWords } from '../counted-check.ts';
import { readDatabaseCounters } from '../counters.ts';

const source = { asks: databaseCounters().text, read: readDatabaseCounters };

const profiles = ['daily', 'weekly', 'monthly'] as const;

/** Below that a share says nothing. */
const enoughTransactions = 1000;

export const activity: Check[] = [
  countedCheck(
    {
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
    },
    source,
    (window, now) => {
      const { temporaryFiles, temporaryBytes } = window.counts;
      const value = perDay(temporaryBytes, window, now);
      const message = `${humanBytes(value)} a day in temporary files: ${humanBytes(temporaryBytes)} in ${humanCount(temporaryFiles)} files ${sinceWords(window)}`;
      return { observations: [{ object: null, value, message }], summary: message };
    },
  ),
  countedCheck(
    {
      id: 'activity.deadlocks',
      group: 'activity',
      answers: 'how many deadlocks this database has in a day',
      why: 'Each has cost an application a transaction, and everybody in it the time of deadlock_timeout.',
      advice:
        'The log names the statements of each. Lock rows in the same order everywhere, and repeat what failed with 40P01.',
      thresholds: { unit: 'count', worse: 'above', warn: 1, crit: null },
      source: 'warn: any that is new (pgEdge), seen over a day; the mixin takes 5 a minute.',
      profiles,
    },
    source,
    (window, now) => {
      const { deadlocks } = window.counts;
      const value = perDay(deadlocks, window, now);
      const message = `${humanCount(deadlocks)} deadlocks ${sinceWords(window)}, ${value.toFixed(1)} a day`;
      return { observations: [{ object: null, value, message }], summary: message };
    },
  ),
  countedCheck(
    {
      id: 'activity.rollbacks',
      group: 'activity',
      answers: 'how many of the transactions of this database were rolled back',
      why: 'Work was done in vain, and somebody was most likely told of an error.',
      advice:
        'The log names the errors. Some poolers and test suites roll back on purpose: give those databases a bound of their own.',
      thresholds: { unit: 'percent', worse: 'above', warn: 10, crit: null },
      source: 'warn: 10 % (PostgreSQL mixin); awesome-prometheus-alerts takes 2 %.',
      profiles,
    },
    source,
    (window) => {
      const { committed, rolledBack } = window.counts;
      const all = committed + rolledBack;
      if (all < enoughTransactions)
        return allWell(`${humanCount(all)} transactions ${sinceWords(window)}, too few to judge`);
      const value = (rolledBack / all) * 100;
      const message = `${humanCount(rolledBack)} of ${humanCount(all)} transactions were rolled back ${sinceWords(window)}`;
      return { observations: [{ object: null, value, message }], summary: message };
    },
  ),
];
