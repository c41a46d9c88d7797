import { humanCount } from '../../output/human.ts';
import { databaseCounters, type DatabaseCountersRow } from '../../sql/health-activity.ts';
import { allWell, sqlCheck, type Check } from '../check.ts';

/** Below that a share says nothing; source: pgEdge. */
const enoughBlocks = 10_000;

export const cache: Check[] = [
  sqlCheck<DatabaseCountersRow>({
    id: 'cache.hit-share',
    group: 'cache',
    answers: 'how many of the blocks that this database asked for were in shared_buffers already',
    why: 'What is not there comes from the cache of the operating system at best, and from the disk at worst, which is a thousand times slower.',
    advice:
      'See which statements read most ("dbops inspect slow"), and whether an index is missing; then compare shared_buffers with the memory.',
    thresholds: { unit: 'percent', worse: 'below', warn: 90, crit: null },
    source: 'warn: 90 % of at least 10,000 blocks (pgEdge); pghero asks for 99 %, the mixin for 98 %.',
    profiles: ['daily', 'weekly', 'monthly'],
    countedHours: 1,
    question: databaseCounters,
    judge: ([row]) => {
      if (row === undefined) throw new Error('the server has counted nothing of this database');
      const blocks = row.blocksHit + row.blocksRead;
      if (blocks < enoughBlocks)
        return allWell(`${humanCount(blocks)} blocks were asked for, too few to matter`);
      const value = (row.blocksHit / blocks) * 100;
      const message = `${value.toFixed(1)} % of ${humanCount(blocks)} blocks were in shared_buffers`;
      return {
        observations: [{ object: null, value, message, mend: 'dbops inspect slow' }],
        summary: message,
      };
    },
  }),
];
