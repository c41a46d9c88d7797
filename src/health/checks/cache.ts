import { humanCount } from '../../output/human.ts';
import { databaseCounters } from '../../sql/health-activity.ts';
import { allWell, type Check } from '../check.ts';
import { countedCheck, sinceWords } from '../counted-check.ts';
import { readDatabaseCounters } from '../counters.ts';

/** Below that a share says nothing; source: pgEdge. */
const enoughBlocks = 10_000;

export const cache: Check[] = [
  countedCheck(
    {
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
    },
    { asks: databaseCounters().text, read: readDatabaseCounters },
    (window) => {
      const { blocksHit, blocksRead } = window.counts;
      const blocks = blocksHit + blocksRead;
      if (blocks < enoughBlocks)
        return allWell(
          `${humanCount(blocks)} blocks were asked for ${sinceWords(window)}, too few to matter`,
        );
      const value = (blocksHit / blocks) * 100;
      const message = `${value.toFixed(1)} % of ${humanCount(blocks)} blocks were in shared_buffers ${sinceWords(window)}`;
      return {
        observations: [{ object: null, value, message, mend: 'dbops inspect slow' }],
        summary: message,
      };
    },
  ),
];
