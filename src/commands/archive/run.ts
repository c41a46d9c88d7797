import { goals, type Goal } from '../../archive/run/choose.ts';
import { planRun, type RunOptions } from '../../archive/run/plan.ts';
import { describePlan } from '../../archive/run/describe.ts';
import { runArchive, type RunLine } from '../../archive/run/run.ts';
import { DbopsError } from '../../errors.ts';
import { humanBytes, humanCount } from '../../output/human.ts';
import { renderTable } from '../../output/table.ts';
import { selectTables } from '../../partition/model/select.ts';
import { defineCommand, type Result } from '../command.ts';
import { addDryRun, addTables, addWait, countOption } from '../options.ts';
import { withArchives } from './context.ts';

interface Options {
  partition?: string[];
  until: string;
  max: string;
  jobs?: string;
  gentle?: boolean;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    { command: 'dbops archive run', about: 'what is due, all tables, for cron' },
    { command: 'dbops archive run --dry-run', about: 'what would be copied, detached and dropped' },
    {
      command: 'dbops archive run public.raw_mes_production --gentle',
      about: 'one table, giving way to others',
    },
    {
      command: 'dbops archive run --partition public.llm_calls_y2026m06 --until verified',
      about: 'a copy only; the partition stays where it is',
    },
  ],
  notes:
    'Copies each partition past its hot retention to its stores, reads the copy back, detaches the partition, proves that it\n' +
    'was not changed meanwhile, and drops it after its quarantine, when the same proof holds once more.',
  declare(cmd) {
    addTables(cmd);
    cmd.option('--partition <name...>', 'these partitions instead of those that are due');
    cmd.option('--until <state>', 'how far to go: verified, detached or dropped', 'dropped');
    cmd.option('--max <count>', 'at most so many partitions of one table', '3');
    cmd.option('--jobs <count>', 'parallel copies; default: archive.jobs of the configuration');
    cmd.option('--gentle', 'one copy at a time, at low priority and a limited rate');
    addWait(cmd);
    addDryRun(cmd);
  },
  async run(context): Promise<Result> {
    const { args, options, settings, job } = context;
    const wish: RunOptions = {
      partitions: options.partition ?? [],
      until: goalOf(options.until),
      max: countOption('--max', options.max),
    };
    if (wish.partitions.length > 0 && args.length > 0) {
      throw new DbopsError('usage', 'name tables, or partitions with --partition, not both');
    }
    const base = {
      ...(await job(args.length === 0 ? null : args.join(' '))),
      settings: selectTables(settings, args),
    };
    if (options.dryRun === true) {
      const plan = await planRun(base, wish);
      const told = plan.problems.map((problem) => problem.error.message);
      return { ...describePlan(plan, wish), warnings: [...plan.notes, ...told] };
    }
    const speed = {
      isGentle: options.gentle === true,
      jobs: options.jobs === undefined ? undefined : countOption('--jobs', options.jobs),
    };
    const { lines, plan } = await withArchives(context, base, speed, (archive) => runArchive(archive, wish));
    return {
      data: { partitions: lines },
      text: lines.length === 0 ? 'nothing is due' : render(lines),
      warnings: plan.notes,
      exitCode: 0,
    };
  },
});

function goalOf(text: string): Goal {
  const goal = goals.find((item) => item === text);
  if (goal !== undefined) return goal;
  throw new DbopsError('usage', `--until is ${goals.join(', ')}, not "${text}"`);
}

function render(lines: RunLine[]): Promise<string> {
  return renderTable(lines, [
    { title: 'partition', value: (line) => line.partition },
    { title: 'archive', value: (line) => line.archive },
    { title: 'rows', value: (line) => humanCount(line.rows), align: 'right' },
    { title: 'stored', value: (line) => humanBytes(line.storedBytes), align: 'right' },
    { title: 'in', value: (line) => line.stores.join(', ') },
    { title: 'now', value: (line) => line.reached },
  ]);
}
