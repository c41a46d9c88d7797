import { humanCount, humanSeconds } from '../../output/human.ts';
import { checkpointCounters } from '../../sql/health-activity.ts';
import { allWell, type Check } from '../check.ts';
import { countedCheck } from '../counted-check.ts';
import { readCheckpointCounters } from '../counters.ts';

/** A server makes so many within an hour by its clock alone; below that a share says nothing. */
const enoughCheckpoints = 12;

export const checkpoints: Check[] = [
  countedCheck(
    {
      id: 'checkpoints.requested',
      group: 'checkpoints',
      answers: 'how many of the checkpoints came before their time',
      why: 'WAL has filled max_wal_size before checkpoint_timeout was over. Checkpoints that come early write the same blocks again and again, and make more WAL, since each block goes there whole after each of them.',
      advice:
        'Raise max_wal_size, until most checkpoints come by the clock. Backups and CREATE DATABASE ask for some too.',
      thresholds: { unit: 'percent', worse: 'above', warn: 50, crit: null },
      source: 'warn: less than half of them by the clock (PostgreSQL mixin).',
      notOnStandby: 'a standby follows the checkpoints of its primary',
      profiles: ['weekly', 'monthly'],
    },
    { asks: checkpointCounters(180_000).text, read: readCheckpointCounters },
    ({ since, counts: { timed, requested } }, now) => {
      const all = timed + requested;
      const window = humanSeconds(Math.max(0, (now.getTime() - since.getTime()) / 1000));
      if (all < enoughCheckpoints)
        return allWell(`${humanCount(all)} checkpoints in ${window}, too few to judge`);
      const value = (requested / all) * 100;
      const message = `${humanCount(requested)} of ${humanCount(all)} checkpoints in ${window} came before their time`;
      return {
        observations: [{ object: null, value, message }],
        summary: message,
      };
    },
  ),
];
