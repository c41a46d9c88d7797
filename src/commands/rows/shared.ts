import type { Command } from 'commander';
import { parseOlderThan } from '../../config/older-than.ts';
import type { RowsDefinition, RowsLimits, RowsVerb } from '../../config/rows.ts';
import { parseSize } from '../../config/size.ts';
import { DbopsError } from '../../errors.ts';
import { humanCount } from '../../output/human.ts';
import { renderTable } from '../../output/table.ts';
import {
  notBegun,
  past,
  planJob,
  runJob,
  asOneCommand,
  type RowsRequest,
  type RowsResult,
} from '../../rows/job.ts';
import { describeRequest } from '../../rows/jobs.ts';
import { defaultName } from '../../rows/spec.ts';
import { visible } from '../../sql/quote.ts';
import type { CommandContext, Result } from '../command.ts';
import { addDryRun, addWait, addYes, countOption, durationOption } from '../options.ts';

/** Flags by which a run ends. */
export interface LimitOptions {
  maxTime?: string;
  until?: string;
  maxReplicaLag?: string;
  maxSlotBacklog?: string;
  maxArchiveBacklog?: string;
  maxWaiters?: string;
  maxPause?: string;
  batchSize?: string;
  gentle?: boolean;
}

/** Flags that say which rows, of commands typed by hand. */
export interface WhichOptions extends LimitOptions {
  olderThan?: string;
  where?: string;
  timezone?: string;
  cascade?: boolean;
  name?: string;
}

export function addLimits(cmd: Command): void {
  cmd.option('--max-time <duration>', 'end after this time, all jobs together; the next run goes on');
  cmd.option('--until <HH:MM>', 'end at this time of day, all jobs together');
  cmd.option('--max-replica-lag <duration>', 'stop while a standby is further behind; default 30s');
  cmd.option('--max-slot-backlog <size>', 'stop while a standby or slot holds back more WAL; default 10GB');
  cmd.option('--max-archive-backlog <size>', 'stop while more WAL waits for the archive; default 10GB');
  cmd.option(
    '--max-waiters <batches>',
    'stop after so many batches in a row that others waited for; default 5',
  );
  cmd.option('--max-pause <duration>', 'wait this long for that to get better before ending; default 5min');
  cmd.option('--batch-size <rows>', 'the most rows that one batch looks at; default 50000');
  cmd.option('--gentle', 'rest after each batch for as long as it took');
}

/** What purge, move and mask have in common. */
export function addWhich(cmd: Command): void {
  cmd.argument('<table>', 'schema.table');
  cmd.option(
    '--older-than <age>',
    'a column and an age, such as "created_at 30 days"; frozen when the job begins',
  );
  cmd.option('--where <sql>', 'a condition on the row alone; both must hold where both are given');
  cmd.option(
    '--timezone <zone>',
    'for columns without a zone: where a day begins; default: defaults.timezone of the configuration',
  );
  cmd.option('--cascade', 'let foreign keys change other tables as well');
  cmd.option('--name <job>', 'what the job is called; else made from the command');
  addLimits(cmd);
  addWait(cmd);
  addYes(cmd);
  addDryRun(cmd);
}

/** Limits of the configuration, with what the flags say. */
export function limitsOf(base: RowsLimits, options: LimitOptions): RowsLimits {
  const { maxTime, until, maxReplicaLag, maxSlotBacklog, maxArchiveBacklog } = options;
  if (until !== undefined && !/^([01]\d|2[0-3]):[0-5]\d$/.test(until)) {
    throw new DbopsError('usage', `--until is a time of day such as 05:00, not "${until}"`);
  }
  return {
    maxTimeMs: maxTime === undefined ? base.maxTimeMs : durationOption('--max-time', maxTime),
    until: until ?? base.until,
    replicaLagMs:
      maxReplicaLag === undefined ? base.replicaLagMs : durationOption('--max-replica-lag', maxReplicaLag),
    slotBacklogBytes: sizeOption('--max-slot-backlog', maxSlotBacklog, base.slotBacklogBytes),
    archiveBacklogBytes: sizeOption('--max-archive-backlog', maxArchiveBacklog, base.archiveBacklogBytes),
    waiters:
      options.maxWaiters === undefined ? base.waiters : countOption('--max-waiters', options.maxWaiters),
    pauseMs: options.maxPause === undefined ? base.pauseMs : durationOption('--max-pause', options.maxPause),
    batchSize:
      options.batchSize === undefined ? base.batchSize : countOption('--batch-size', options.batchSize, 10),
    gentle: options.gentle === true || base.gentle,
  };
}

function sizeOption(flag: string, text: string | undefined, base: number): number {
  if (text === undefined) return base;
  const bytes = parseSize(text);
  if (bytes === undefined) {
    throw new DbopsError('usage', `${flag} is a size, not "${text}"`, { hint: 'Write it as 512MB or 10GB.' });
  }
  return bytes;
}

/** The job that a command typed by hand asks for. */
export function requestOf(
  verb: RowsVerb,
  context: Pick<CommandContext<WhichOptions>, 'args' | 'options' | 'settings'>,
  own: Partial<Pick<RowsDefinition, 'to' | 'create' | 'set'>>,
): RowsRequest {
  const { args, options, settings } = context;
  const olderThan = options.olderThan === undefined ? undefined : parseOlderThan(options.olderThan);
  if (options.olderThan !== undefined && olderThan === undefined) {
    throw new DbopsError('usage', `--older-than is a column and an age, not "${options.olderThan}"`, {
      hint: 'Write it as --older-than "created_at 30 days".',
    });
  }
  const definition: RowsDefinition = {
    verb,
    table: args[0] ?? '',
    olderThan,
    where: options.where,
    to: own.to,
    create: own.create ?? false,
    set: own.set ?? {},
    cascade: options.cascade === true,
    timezone: options.timezone ?? settings.rows.timezone,
  };
  const name = options.name ?? defaultName(definition);
  return { name, definition, limits: limitsOf(settings.rows.limits, options), byHand: true };
}

/** Plans or runs jobs one after the other, and says what became of them. */
export async function runRequests(
  context: CommandContext<object>,
  command: string,
  requests: RowsRequest[],
): Promise<Result> {
  const job = await context.job(requests.map((request) => request.name).join(' '));
  if (context.options.dryRun === true) {
    const planned = [];
    for (const request of requests) planned.push(await planJob(job, request));
    return context.dryRun(
      planned.flatMap(({ plan }) => plan.changes),
      `${command}: ${requests.map(describeRequest).join('; ')}`,
      planned.flatMap(({ plan }) => plan.warnings),
    );
  }
  const results: RowsResult[] = [];
  const failures: { request: RowsRequest; error: DbopsError }[] = [];
  for (const [index, request] of (await asOneCommand(job, requests)).entries()) {
    try {
      const late = index > 0 ? notBegun(request) : undefined;
      if (late !== undefined) throw late;
      results.push(await runJob(job, request));
    } catch (error) {
      // What one job is refused does not stop the others; a lost connection or Ctrl-C does.
      if (!(error instanceof DbopsError) || ![2, 4, 5].includes(error.exitCode)) throw error;
      failures.push({ request, error });
    }
  }
  if (failures.length > 0) throw combine(failures, results.length);
  return {
    data: { jobs: results },
    text: renderResults(results),
    warnings: results.flatMap((result) => result.warnings),
    exitCode: results.some((result) => result.left > 0) ? 5 : 0,
  };
}

function combine(failures: { request: RowsRequest; error: DbopsError }[], done: number): DbopsError {
  const [first] = failures;
  if (first === undefined) throw new Error('no failure to combine');
  if (failures.length === 1 && done === 0) return first.error;
  const code =
    failures.some(({ error }) => error.exitCode === 5) || done > 0 ? 'partly_done' : first.error.code;
  return new DbopsError(
    code,
    `${String(failures.length)} of ${String(failures.length + done)} jobs did not end`,
    {
      detail: failures
        .map(({ request, error }) =>
          [`${visible(request.name)}: ${error.message}`, error.detail, error.hint]
            .filter((text) => text !== undefined)
            .join('\n  '),
        )
        .join('\n'),
      hint: 'The others are done; "dbops rows jobs" shows where these stand.',
    },
  );
}

function renderResults(results: RowsResult[]): Promise<string> {
  return renderTable(results, [
    { title: 'job', value: (row) => visible(row.job) },
    { title: 'table', value: (row) => row.table },
    { title: 'rows', value: (row) => `${humanCount(row.rows)} ${past[row.verb]}`, align: 'right' },
    { title: 'older than', value: (row) => row.cutoff ?? '' },
    { title: 'left, locked', value: (row) => (row.left === 0 ? '' : humanCount(row.left)), align: 'right' },
  ]);
}
