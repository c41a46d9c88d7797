import { firstOf } from '../../inspect/look.ts';
import { humanBytes, humanCount } from '../../output/human.ts';
import { listTableSizes, type TableSizeRow } from '../../sql/inspect-sizes.ts';
import { displayName } from '../../sql/quote.ts';
import { defineInspection } from './inspection.ts';

export const command = defineInspection<object, TableSizeRow>({
  examples: [
    { command: 'dbops inspect sizes', about: 'the largest tables, with their indexes and TOAST' },
    { command: 'dbops inspect sizes --limit 100 --json', about: 'more of them, for programs' },
  ],
  notes:
    'A partitioned table counts with all its partitions. "~": held in ACCESS EXCLUSIVE, as of its last VACUUM or ANALYZE.',
  look: async ({ db, limit }) => ({
    ...firstOf(await listTableSizes(db, limit + 1), limit),
    unseen: [],
  }),
  nothing: 'there is no table',
  columns: [
    { title: 'table', value: displayName },
    {
      title: 'total',
      value: (row) => `${row.isEstimated ? '~' : ''}${humanBytes(row.totalBytes)}`,
      align: 'right',
    },
    { title: 'rows alone', value: (row) => humanBytes(row.tableBytes), align: 'right' },
    { title: 'indexes', value: (row) => humanBytes(row.indexBytes), align: 'right' },
    { title: 'TOAST', value: (row) => humanBytes(row.toastBytes), align: 'right' },
    {
      title: 'rows',
      value: (row) => (row.rows === null ? 'not counted' : `~${humanCount(row.rows)}`),
      align: 'right',
    },
    {
      title: 'partitions',
      value: (row) => (row.partitions === 0 ? '' : String(row.partitions)),
      align: 'right',
    },
  ],
});
