import { firstOf } from '../../inspect/look.ts';
import { Option } from 'commander';
import { countedNotes } from '../../inspect/counted.ts';
import { humanBytes, humanCount } from '../../output/human.ts';
import { indexOrders, listIndexUse, type IndexOrder, type IndexUseRow } from '../../sql/inspect-tables.ts';
import { displayName, visible } from '../../sql/quote.ts';
import { defineInspection, shownQuery } from './inspection.ts';

export const command = defineInspection<{ sort: IndexOrder }, IndexUseRow>({
  examples: [
    { command: 'dbops inspect indexes', about: 'the largest indexes, and how often they are read' },
    {
      command: 'dbops inspect indexes --sort unused',
      about: 'those that are read least, the largest of them first',
    },
  ],
  notes:
    'Counts are those of this server: standbys have their own. An index that is never read may still hold a constraint.',
  declare(cmd) {
    cmd.addOption(
      new Option('--sort <by>', 'what comes first').choices(Object.keys(indexOrders)).default('size'),
    );
  },
  look: async ({ db, limit, now }, { sort }) => {
    const { rows, notes } = firstOf(await listIndexUse(db, sort, limit + 1), limit);
    return { rows, notes: [...notes, ...(await countedNotes(db, now))], unseen: [] };
  },
  nothing: 'there is no index',
  columns: [
    { title: 'index', value: displayName },
    { title: 'table', value: (row) => visible(row.table) },
    {
      title: 'size',
      value: (row) => `${row.isEstimated ? '~' : ''}${humanBytes(row.bytes)}`,
      align: 'right',
    },
    { title: 'scans', value: (row) => humanCount(row.scans), align: 'right' },
    { title: 'kind', value: kindOf },
    { title: 'definition', value: (row) => shownQuery(row.definition.replace(/^.* USING /, '')) },
  ],
});

function kindOf({ isPrimary, isUnique, isValid }: IndexUseRow): string {
  return `${isPrimary ? 'primary key' : isUnique ? 'unique' : ''}${isValid ? '' : ' invalid'}`.trim();
}
