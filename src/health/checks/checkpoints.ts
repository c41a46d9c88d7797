import { humanCount, humanSeconds } from '../../output/human.ts';
import { checkpointCounters, type CheckpointsRow } from '../../sql/health-activity.ts';
import { allWell, sqlCheck, type Check } from '../check.ts';

/** A server makes so many within an hour by its clock alone; below that a share says nothing. */
const enoughCheckpoints = 12;

export const checkpoints: Check[] = [
  sqlCheck<CheckpointsRow>({
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
    question: ({ server }) => checkpointCounters(server.versionNum),
    judge: ([row], { now }) => {
      if (row === undefined) throw new Error('the server has counted no checkpoints');
      const all = row.timed + row.requested;
      const window = humanSeconds(Math.max(0, (now.getTime() - row.countedSince.getTime()) / 1000));
      if (all < enoughCheckpoints)
        return allWell(`${humanCount(all)} checkpoints in ${window}, too few to judge`);
      const value = (row.requested / all) * 100;
      const message = `${humanCount(row.requested)} of ${humanCount(all)} checkpoints in ${window} came before their time`;
      return {
        observations: [{ object: null, value, message }],
        summary: message,
      };
    },
  }),
];
