import type { Command } from 'commander';
import { DbopsError } from '../../errors.ts';
import { humanBytes, humanCount, humanSeconds } from '../../output/human.ts';
import { paint } from '../../output/style.ts';
import { renderTable } from '../../output/table.ts';
import { describeLooked } from '../../maintenance/looked.ts';
import { exitCodeOf, runMaintenance } from '../../maintenance/run.ts';
import type { LeftOut, MaintenancePlan, Task, TaskResult } from '../../maintenance/task.ts';
import { checkUntil, openWindow } from '../../maintenance/window.ts';
import type { JobContext } from '../../partition/context.ts';
import { displayName, visible } from '../../sql/quote.ts';
import type { CommandContext, Result, SharedOptions } from '../command.ts';
import { addDryRun, addWait, countOption } from '../options.ts';

/** Flags of all commands of maintenance. */
export interface MaintenanceOptions {
  plan?: boolean;
  until?: string;
  jobs?: string;
}

/** Flags that name tables. */
export interface ScopeOptions {
  table?: string[];
  schema?: string[];
  all?: boolean;
}

export function repeatable(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}

export function addMaintenance(cmd: Command, options: { hasJobs: boolean }): void {
  cmd.option('--plan', 'show what would be done and why, and what is left out');
  cmd.option('--until <HH:MM>', 'begin nothing after this time, and end what runs then');
  if (options.hasJobs)
    cmd.option('--jobs <count>', 'work on so many tables at once; default: maintenance.jobs, or 1');
  addWait(cmd);
  addDryRun(cmd);
}

export function addScope(cmd: Command): void {
  cmd.option('--table <table>', 'schema.table, whether it needs it or not; repeatable', repeatable);
  cmd.option('--schema <schema>', 'all tables of a schema; repeatable', repeatable);
  cmd.option('--all', 'all tables of the database');
}

/** Whether a command of maintenance changes something: a plan does not. */
export function changesSomething(options: MaintenanceOptions & SharedOptions): boolean {
  return options.plan !== true;
}

/** A standby counts neither what changed nor what is dead: a plan made there would find nothing to do. */
function refuseStandby({ isStandby, database }: JobContext['db']['server']): void {
  if (!isStandby) return;
  throw new DbopsError(
    'read_only',
    `database "${database}" is on a standby, which counts nothing that needs it`,
    {
      hint: 'Connect to the primary.',
    },
  );
}

/** Plans, prints or does what a command is asked for. */
export async function maintain(
  context: CommandContext<MaintenanceOptions>,
  title: string,
  makePlan: (job: JobContext) => Promise<MaintenancePlan>,
): Promise<Result> {
  const { options, settings } = context;
  const until = options.until ?? settings.maintenance.until;
  const jobs = options.jobs === undefined ? settings.maintenance.jobs : countOption('--jobs', options.jobs);
  const job = await context.job(null);
  checkUntil(until);
  refuseStandby(job.db.server);
  if (options.dryRun === true || options.plan === true) {
    const plan = await makePlan(job);
    return options.dryRun === true
      ? context.dryRun(
          plan.tasks.map(({ change }) => change),
          title,
          plan.warnings,
        )
      : shownPlan(plan);
  }
  const window = await openWindow(job, until);
  const { plan, results } = await runMaintenance(job, { jobs, window }, () => makePlan(job));
  return {
    data: { tasks: results, leftOut: plan.leftOut, looked: plan.looked ?? [], warnings: plan.warnings },
    text: results.length === 0 ? nothingToDo(plan) : renderResults(results),
    warnings: leftOutWarnings(plan),
    exitCode: exitCodeOf(results, plan.leftOut),
  };
}

function shownPlan(plan: MaintenancePlan): Result {
  const { tasks, leftOut, looked = [], warnings } = plan;
  return {
    data: { tasks: tasks.map(toShown), leftOut, looked },
    text: tasks.length + leftOut.length === 0 ? nothingToDo(plan) : renderPlan(tasks, leftOut),
    warnings,
  };
}

function toShown({ verb, target, why, change }: Task) {
  return { verb, object: displayName(target), why, sql: change.steps.map(({ sql }) => sql) };
}

/** That nothing needs it is believed sooner with what was looked at. */
function nothingToDo({ leftOut, looked = [] }: Pick<MaintenancePlan, 'leftOut' | 'looked'>): string {
  if (leftOut.length > 0) return 'nothing is done';
  return ['nothing needs it', ...looked.map(describeLooked)].join('\n');
}

/** What needs it and is not done must not look done. */
function leftOutWarnings({ leftOut }: MaintenancePlan): string[] {
  return leftOut
    .filter(({ isExpected }) => isExpected !== true)
    .map(({ object, why }) => `${object} is left out: ${why}`);
}

function renderPlan(tasks: Task[], leftOut: LeftOut[]): Promise<string> {
  const rows = [
    ...tasks.map(toShown),
    ...leftOut.map(({ object, why }) => ({ verb: 'left out', object, why })),
  ];
  return renderTable(rows, [
    { title: 'what', value: (row) => row.verb },
    { title: 'object', value: (row) => visible(row.object) },
    { title: 'why', value: (row) => visible(row.why) },
  ]);
}

const colours = {
  done: 'green',
  skipped: 'yellow',
  vanished: 'yellow',
  left: 'yellow',
  failed: 'red',
} as const;

function renderResults(results: TaskResult[]): Promise<string> {
  const change = (
    { before, after }: TaskResult,
    name: keyof NonNullable<TaskResult['before']>,
    human: (value: number) => string,
  ) => {
    const was = before?.[name] ?? null;
    const is = after?.[name] ?? null;
    if (was === null) return '';
    return is === null || human(is) === human(was) ? human(was) : `${human(was)} -> ${human(is)}`;
  };
  return renderTable(results, [
    { title: 'what', value: (row) => row.verb },
    { title: 'object', value: (row) => visible(row.object) },
    { title: 'outcome', value: (row) => paint(colours[row.outcome], row.outcome) },
    { title: 'took', value: (row) => humanSeconds(row.seconds), align: 'right' },
    { title: 'size', value: (row) => change(row, 'sizeBytes', humanBytes) },
    { title: 'dead rows', value: (row) => change(row, 'deadRows', humanCount) },
    { title: 'age', value: (row) => change(row, 'xidAge', humanCount) },
    { title: 'why', value: (row) => visible(row.reason ?? row.why) },
  ]);
}
