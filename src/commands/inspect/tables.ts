import { firstOf } from '../../inspect/look.ts';
import { Option } from 'commander';
import { humanCount } from '../../output/human.ts';
import { countedNotes } from '../../inspect/counted.ts';
import { listTableUse, tableOrders, type TableOrder, type TableUseRow } from '../../sql/inspect-tables.ts';
import { displayName } from '../../sql/quote.ts';
import { defineInspection } from './inspection.ts';

export const command = defineInspection<{ sort: TableOrder }, TableUseRow>({
  examples: [
    { command: 'dbops inspect tables', about: 'the tables that are written to most' },
    {
      command: 'dbops inspect tables --sort dead',
      about: 'those with the most dead rows, and when they were vacuumed',
    },
  ],
  declare(cmd) {
    cmd.addOption(
      new Option('--sort <by>', 'what comes first').choices(Object.keys(tableOrders)).default('writes'),
    );
  },
  look: async ({ db, limit, now }, { sort }) => {
    const { rows, notes } = firstOf(await listTableUse(db, sort, limit + 1), limit);
    return { rows, notes: [...notes, ...(await countedNotes(db, now))], unseen: [] };
  },
  nothing: 'there is no table',
  columns: [
    { title: 'table', value: displayName },
    { title: 'rows', value: (row) => humanCount(row.rows), align: 'right' },
    { title: 'dead', value: (row) => humanCount(row.deadRows), align: 'right' },
    { title: 'inserted', value: (row) => humanCount(row.inserted), align: 'right' },
    { title: 'updated', value: (row) => humanCount(row.updated), align: 'right' },
    { title: 'HOT', value: (row) => percent(row.hotUpdated, row.updated), align: 'right' },
    { title: 'deleted', value: (row) => humanCount(row.deleted), align: 'right' },
    { title: 'full scans', value: (row) => humanCount(row.sequentialScans), align: 'right' },
    { title: 'index scans', value: (row) => humanCount(row.indexScans), align: 'right' },
    {
      title: 'freeze age',
      value: (row) => (row.freezeAge === null ? '' : humanCount(row.freezeAge)),
      align: 'right',
    },
    { title: 'vacuumed', value: (row) => moment(row.lastVacuum) },
    { title: 'analyzed', value: (row) => moment(row.lastAnalyze) },
  ],
});

function percent(part: number, whole: number): string {
  return whole === 0 ? '' : `${String(Math.round((100 * part) / whole))} %`;
}

function moment(at: Date | null): string {
  return at === null ? 'not known' : `${at.toISOString().slice(0, 16)}Z`;
}
