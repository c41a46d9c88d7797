import { lookAtBloat } from '../../inspect/bloat.ts';
import { humanBytes } from '../../output/human.ts';
import type { BloatRow } from '../../sql/health-bloat.ts';
import { displayName, visible } from '../../sql/quote.ts';
import { defineInspection } from './inspection.ts';

export const command = defineInspection<object, BloatRow>({
  examples: [
    { command: 'dbops inspect bloat', about: 'the tables and indexes with the most air, by estimate' },
  ],
  look: ({ db, limit }) => lookAtBloat(db, limit),
  nothing: 'no table or index that could be estimated wastes 1 MB',
  columns: [
    { title: 'object', value: displayName },
    { title: 'index of', value: (row) => (row.table === row.name ? '' : visible(row.table)) },
    { title: 'size', value: (row) => humanBytes(row.sizeBytes), align: 'right' },
    { title: 'air', value: (row) => humanBytes(row.wastedBytes ?? 0), align: 'right' },
    {
      title: 'share',
      value: (row) => `${String(Math.round((100 * (row.wastedBytes ?? 0)) / Math.max(1, row.sizeBytes)))} %`,
      align: 'right',
    },
  ],
});
