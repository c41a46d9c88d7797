import { renderTable } from '../../output/table.ts';
import { planOverview, type OverviewLine } from '../../partition/overview.ts';
import { describeRunway } from '../../partition/runway.ts';
import { selectTables } from '../../partition/select.ts';
import { visible } from '../../sql/quote.ts';
import { defineCommand, type Result } from '../command.ts';
import { addTables } from '../options.ts';

export const command = defineCommand({
  changes: false,
  examples: [
    { command: 'dbops partition plan', about: 'what will happen tonight, all tables' },
    { command: 'dbops partition plan public.audit_logs --json', about: 'one table, for a program' },
  ],
  notes: 'Reads only. "partition ensure --dry-run" and "partition detach --due --dry-run" print the SQL.',
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

function render(lines: OverviewLine[]): string {
  return renderTable(lines, [
    { title: 'table', value: (line) => visible(line.table) },
    { title: 'interval', value: (line) => line.interval },
    { title: 'runway', value: (line) => (line.runway === null ? 'unknown' : describeRunway(line.runway)) },
    { title: 'create', value: (line) => countOf(line.create) },
    { title: 'retention', value: (line) => line.retention },
    { title: 'due', value: describeDue },
    { title: 'in quarantine', value: (line) => (line.inQuarantine === 0 ? '-' : String(line.inQuarantine)) },
    { title: 'drop', value: (line) => countOf(line.drop) },
    { title: 'problem', value: (line) => (line.problem === null ? '-' : visible(line.problem)) },
  ]);
}

function countOf(names: string[]): string {
  const [first] = names;
  if (first === undefined) return '-';
  return names.length === 1 ? visible(first) : `${String(names.length)} from ${visible(first)}`;
}

function describeDue(line: OverviewLine): string {
  const [first] = line.due;
  return first === undefined ? '-' : `${String(line.due.length)} to ${first.action}`;
}
