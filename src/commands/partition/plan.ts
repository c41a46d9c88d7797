import { renderTable, type Column } from '../../output/table.ts';
import { planOverview, type OverviewLine } from '../../partition/inspect/overview.ts';
import { describeRunway } from '../../partition/model/runway.ts';
import { selectTables } from '../../partition/model/select.ts';
import { visible } from '../../sql/quote.ts';
import { defineCommand, type Result } from '../command.ts';
import { addTables } from '../options.ts';

export const command = defineCommand({
  changes: false,
  examples: [
    { command: 'dbops partition plan', about: 'what will happen tonight, all tables' },
    { command: 'dbops partition plan public.audit_logs --json', about: 'one table, for a program' },
  ],
  notes:
    'Reads only. With --dry-run, "partition ensure", "partition detach --due", "archive run" and "archive prune" print what\n' +
    'they would do, as SQL.',
  declare(cmd) {
    addTables(cmd);
  },
  async run({ args, settings, job }): Promise<Result> {
    const chosen = selectTables(settings, args);
    const lines = await planOverview({ ...(await job(null)), settings: chosen });
    const problems = lines.filter((line) => line.problem !== null);
    return {
      data: lines,
      text: render(lines),
      warnings: lines.flatMap((line) => line.warnings),
      exitCode: problems.length > 0 ? 6 : 0,
    };
  },
});

/** Columns in which nothing stands are left out: one screen is the aim. */
function render(lines: OverviewLine[]): Promise<string> {
  const always: Column<OverviewLine>[] = [
    { title: 'table', value: (line) => visible(line.table) },
    { title: 'interval', value: (line) => line.interval },
    { title: 'runway', value: (line) => (line.runway === null ? 'unknown' : describeRunway(line.runway)) },
    { title: 'create', value: (line) => countOf(line.create), align: 'right' },
    { title: 'retention', value: (line) => line.retention },
  ];
  const sometimes: Column<OverviewLine>[] = [
    { title: 'due', value: describeDue },
    { title: 'in quarantine', value: (line) => countOf(Array(line.inQuarantine).fill('')), align: 'right' },
    { title: 'prove', value: (line) => countOf(line.prove), align: 'right' },
    { title: 'drop', value: (line) => countOf(line.drop), align: 'right' },
    { title: 'expire', value: (line) => countOf(line.expire), align: 'right' },
    { title: 'problem', value: (line) => (line.problem === null ? '-' : visible(line.problem)) },
  ];
  const filled = sometimes.filter((column) => lines.some((line) => column.value(line) !== '-'));
  return renderTable(lines, [...always, ...filled]);
}

function countOf(names: unknown[]): string {
  return names.length === 0 ? '-' : String(names.length);
}

function describeDue(line: OverviewLine): string {
  const [first] = line.due;
  return first === undefined ? '-' : `${String(line.due.length)} to ${first.action}`;
}
