import { splitTable } from '../../config/settings.ts';
import { renderTable } from '../../output/table.ts';
import {
  planConvert,
  planUndo,
  refuseObstacles,
  runConvert,
  type ConvertPlan,
} from '../../partition/convert/convert.ts';
import { wishOf, type ConvertFlags } from '../../partition/convert/wish.ts';
import { defineCommand, type Result } from '../command.ts';
import { addDryRun, addWait, addYes, countOption } from '../options.ts';

interface Options extends Omit<ConvertFlags, 'premake'> {
  premake?: string;
  undo?: boolean;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    {
      command: 'dbops partition convert public.events --key created_at --interval month --check',
      about: 'everything that prevents it, and what it locks',
    },
    {
      command: 'dbops partition convert public.events --key created_at --interval month --dry-run',
      about: 'the whole of it as a psql script',
    },
    { command: 'dbops partition convert public.events --undo', about: 'the way back' },
  ],
  notes:
    'Copies nothing: the table becomes the first partition of a new parent that takes its name. From the first step until\n' +
    'the swap, rows at or past the cutover are refused. A run that was interrupted goes on when it is started again.',
  declare(cmd) {
    cmd.argument('<table>', 'the table, as schema.table; mixed case is written as it is');
    cmd.option('--key <column>', 'the column to partition by');
    cmd.option('--interval <interval>', 'hour, day, week, month, quarter, year, or a number of ids');
    cmd.option('--cutover <bound>', 'where the old table ends; default: the next bound at least 2 days away');
    cmd.option('--timezone <zone>', 'where a day begins; default UTC');
    cmd.option('--epoch <unit>', 'for a bigint key that counts time: seconds or milliseconds');
    cmd.option('--naming <template>', 'names of the new partitions, e.g. {table}_y{yyyy}m{mm}');
    cmd.option('--premake <count>', 'periods to have ready after the current one');
    cmd.option('--legacy-name <name>', "the old table's new name; default <table>_legacy");
    cmd.option(
      '--drop-incoming-foreign-keys',
      'drop foreign keys that reference the table; with --undo: leave out those that cannot come back',
    );
    cmd.option('--leave-behind <object...>', 'objects that may go on reading the old table alone');
    cmd.option('--check', 'list what prevents it and what it locks; change nothing (exit 6 with findings)');
    cmd.option('--undo', 'take back what was begun, or what was done while no row lies past the cutover');
    addWait(cmd);
    addYes(cmd);
    addDryRun(cmd);
  },
  async run({ args, options, job, settings, dryRun }): Promise<Result> {
    const table = splitTable(args[0] ?? '');
    const context = await job(args[0] ?? null);
    const premake = options.premake === undefined ? undefined : countOption('--premake', options.premake, 0);
    const flags: ConvertFlags = { ...options, premake };
    const isUndo = options.undo === true;
    const plan = async (reading?: { readsRows: boolean }) =>
      isUndo
        ? await planUndo(context, {
            table,
            legacyName: options.legacyName,
            dropIncomingForeignKeys: options.dropIncomingForeignKeys === true,
          })
        : await planConvert(context, wishOf(table, flags, settings), reading);
    if (options.check === true) return report(await plan(), isUndo);
    const what = isUndo ? 'undone' : 'converted';
    if (options.dryRun === true) {
      const shown = await plan();
      refuseObstacles(shown, what);
      return dryRun(shown.changes, `partition convert ${shown.label}${isUndo ? ' --undo' : ''}`, shown.notes);
    }
    const done = await runConvert(context, plan, what);
    return {
      data: dataOf(done),
      text: summary(done, isUndo),
      warnings: done.changes.length > 0 ? done.notes : [],
    };
  },
});

function dataOf(plan: ConvertPlan) {
  const { label, isConverted, obstacles, locks, notes, cutover, legacy } = plan;
  return {
    table: label,
    isConverted,
    obstacles,
    locks,
    notes,
    cutover,
    legacy,
    changes: plan.changes.length,
  };
}

function summary(plan: ConvertPlan, isUndo: boolean): string {
  if (isUndo)
    return plan.changes.length === 0
      ? `${plan.label}: nothing to undo`
      : `${plan.label} is what it was before the convert`;
  if (plan.isConverted) return `${plan.label} is converted already; the old table is ${plan.legacy ?? ''}`;
  return `${plan.label} is partitioned now; rows before ${plan.cutover ?? ''} lie in ${plan.legacy ?? ''}`;
}

async function report(plan: ConvertPlan, isUndo: boolean): Promise<Result> {
  const found = plan.obstacles.length;
  const parts: string[] = [];
  if (found > 0) {
    parts.push(
      await renderTable(plan.obstacles, [
        { title: 'object', value: (row) => row.object },
        { title: 'problem', value: (row) => row.problem },
        { title: 'what helps', value: (row) => row.remedy },
      ]),
    );
  }
  if (plan.locks.length > 0) {
    parts.push(
      await renderTable(plan.locks, [
        { title: 'locked', value: (row) => row.table },
        { title: 'mode', value: (row) => row.mode },
        { title: 'how long', value: (row) => row.howLong },
      ]),
    );
  }
  if (plan.notes.length > 0) parts.push(plan.notes.join('\n'));
  const verdict = isUndo ? 'be undone' : 'be converted';
  parts.push(
    plan.isConverted
      ? summary(plan, false)
      : found === 0
        ? `${plan.label} can ${verdict}`
        : `${plan.label} cannot ${verdict}: ${String(found)} ${found === 1 ? 'thing prevents' : 'things prevent'} it`,
  );
  return { data: dataOf(plan), text: parts.join('\n\n'), exitCode: found === 0 ? 0 : 6 };
}
