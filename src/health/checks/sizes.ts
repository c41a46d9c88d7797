import { humanBytes, humanCount } from '../../output/human.ts';
import { largeTables, type TableSizeRow } from '../../sql/health-sizes.ts';
import { displayName } from '../../sql/quote.ts';
import { allWell, sqlCheck, type Check } from '../check.ts';

export const sizes: Check[] = [
  sqlCheck<TableSizeRow>({
    id: 'sizes.tables',
    group: 'sizes',
    answers: 'which tables have grown large, with their TOAST and indexes',
    why: 'VACUUM, a new index, a dump and a restore of a large table take hours, and old rows leave it only by DELETE.',
    advice: 'Partition it by time and archive what is old, or delete what nobody needs.',
    thresholds: { unit: 'bytes', worse: 'above', warn: 10 * 1024 ** 3, crit: null },
    source: 'our own: 10 GB, an hour of VACUUM or of restore on usual disks',
    profiles: ['daily', 'weekly', 'monthly'],
    question: ({ floor }) => largeTables(floor),
    judge: (rows) => {
      const [largest] = rows;
      if (largest === undefined) return allWell('there are no tables');
      return {
        observations: rows.map((row) => ({
          object: displayName(row),
          value: row.bytes,
          message: `${row.isEstimated ? 'about ' : ''}${humanBytes(row.bytes)}, of which ${humanBytes(row.heapBytes)} are the table itself`,
          detail: row.isEstimated
            ? 'as of its last VACUUM or ANALYZE: a session holds it alone, or waits to'
            : undefined,
          advice: row.isPartition ? 'Choose a shorter interval for its partitions.' : undefined,
        })),
        summary: `${humanCount(largest.tables)} tables, the largest ${displayName(largest)} with ${humanBytes(largest.bytes)}`,
      };
    },
  }),
];
