import { humanCount, humanSeconds } from '../../output/human.ts';
import { renderTable } from '../../output/table.ts';
import { defaultBatchSize } from '../../plan/batch-size.ts';
import {
  defaultLimitMs,
  drain,
  loadDrainSet,
  planDrain,
  type DrainMode,
  type PlannedPeriod,
} from '../../partition/drain/drain.ts';
import { selectTables } from '../../partition/model/select.ts';
import { DbopsError } from '../../errors.ts';
import { defineCommand, type Result } from '../command.ts';
import { addDryRun, addWait, addYes, countOption, durationOption } from '../options.ts';

interface Options {
  from: string;
  mode: string;
  limit?: string;
  batchSize?: string;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    {
      command:
        'dbops partition drain public.audit_logs --from audit_logs_default --mode transaction --dry-run',
      about: 'what would move, and how long others would wait',
    },
    {
      command: 'dbops partition drain public.audit_logs --from audit_logs_default --mode transaction --yes',
      about: 'each period at once: no READ COMMITTED query misses a row',
    },
    {
      command: 'dbops partition drain public.orders --from orders_legacy --mode batches --yes',
      about: 'large periods: bit by bit, to be gone on with after an interruption',
    },
  ],
  notes:
    'A period moves only where the whole of it lies in the drained partition. Moving a row deletes it there: what that would\n' +
    'set off is listed, and without the right to switch it off (session_replication_role) nothing is moved.',
  declare(cmd) {
    cmd.argument('<table>', 'a table of the configuration');
    cmd.requiredOption('--from <partition>', 'the default partition, or one that spans several periods');
    cmd.requiredOption(
      '--mode <mode>',
      'transaction: no READ COMMITTED query misses a row, others wait; batches: others go on, rows of one period are out of the table meanwhile',
    );
    cmd.option('--limit <duration>', 'how long one period may keep others out; default 5s');
    cmd.option(
      '--batch-size <rows>',
      'the most rows of one batch; default 50000, reached only while a batch takes under 250 ms',
    );
    addWait(cmd);
    addDryRun(cmd);
    addYes(cmd);
  },
  async run({ args, options, job, settings, dryRun }): Promise<Result> {
    const chosen = selectTables(settings, args);
    const wish = {
      from: options.from,
      mode: modeOf(options.mode),
      limitMs: options.limit === undefined ? defaultLimitMs : durationOption('--limit', options.limit),
      batchSize:
        options.batchSize === undefined ? defaultBatchSize : countOption('--batch-size', options.batchSize),
    };
    const context = { ...(await job(args.join(' '))), settings: chosen };
    if (options.dryRun === true) {
      const plan = await planDrain(context, wish);
      return dryRun(plan.changes, `partition drain: ${summary(plan.periods, options.from)}`, plan.warnings);
    }
    const result = await drain(context, wish, await loadDrainSet(context));
    const text = summary(result.periods, result.source);
    return {
      data: { source: result.source, mode: wish.mode, periods: result.periods },
      text: result.periods.length === 0 ? text : `${await render(result.periods)}\n${text}`,
      warnings: result.warnings,
    };
  },
});

function modeOf(text: string): DrainMode {
  if (text === 'transaction' || text === 'batches') return text;
  throw new DbopsError('usage', `--mode is transaction or batches, not "${text}"`);
}

function summary(periods: PlannedPeriod[], source: string): string {
  if (periods.length === 0) return `nothing to move: ${source} holds no row of a whole period`;
  const rows = periods.reduce((sum, period) => sum + period.rows, 0);
  return `${humanCount(rows)} rows of ${String(periods.length)} ${periods.length === 1 ? 'period' : 'periods'} out of ${source}`;
}

function render(periods: PlannedPeriod[]): Promise<string> {
  return renderTable(periods, [
    { title: 'partition', value: (row) => row.partition },
    { title: 'from', value: (row) => row.from },
    { title: 'to', value: (row) => row.to },
    { title: 'rows', value: (row) => humanCount(row.rows), align: 'right' },
    { title: 'others wait about', value: (row) => humanSeconds(row.keptOutMs / 1000), align: 'right' },
  ]);
}
