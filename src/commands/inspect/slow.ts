import { Option } from 'commander';
import { lookAtStatements } from '../../inspect/slow.ts';
import { humanCount, humanSeconds } from '../../output/human.ts';
import { statementOrders, type StatementOrder, type StatementRow } from '../../sql/inspect-statements.ts';
import { visible } from '../../sql/quote.ts';
import { defineInspection, shownQuery } from './inspection.ts';

const milliseconds = (value: number) => (value < 10 ? `${value.toFixed(2)} ms` : humanSeconds(value / 1000));

export const command = defineInspection<{ sort: StatementOrder }, StatementRow>({
  examples: [
    { command: 'dbops inspect slow', about: 'the statements that took the most time of the server' },
    { command: 'dbops inspect slow --sort mean --limit 5', about: 'those that are slowest each time' },
  ],
  notes: 'Needs the extension pg_stat_statements; exit 6 where it is missing, with what it takes.',
  declare(cmd) {
    cmd.addOption(
      new Option('--sort <by>', 'what comes first').choices(Object.keys(statementOrders)).default('total'),
    );
  },
  look: ({ db, limit, now }, { sort }) => lookAtStatements(db, { sort, limit, now }),
  nothing: 'no statement was counted yet',
  columns: [
    { title: 'share', value: (row) => `${row.sharePercent.toFixed(1)} %`, align: 'right' },
    { title: 'total', value: (row) => milliseconds(row.totalMs), align: 'right' },
    { title: 'calls', value: (row) => humanCount(row.calls), align: 'right' },
    { title: 'mean', value: (row) => milliseconds(row.meanMs), align: 'right' },
    { title: 'longest', value: (row) => milliseconds(row.maxMs), align: 'right' },
    { title: 'rows', value: (row) => humanCount(row.rows), align: 'right' },
    {
      title: 'cache',
      value: (row) => (row.hitPercent === null ? '' : `${row.hitPercent.toFixed(0)} %`),
      align: 'right',
    },
    { title: 'who', value: (row) => visible(`${row.user}@${row.database}`) },
    { title: 'statement', value: (row) => (row.isHidden ? 'not seen' : shownQuery(row.query)) },
  ],
});
