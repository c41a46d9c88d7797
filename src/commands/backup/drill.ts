import { mkdir } from 'node:fs/promises';
import os from 'node:os';
import { runDrill } from '../../backup/drill/drill.ts';
import { planDrill, type DrillWish } from '../../backup/drill/plan.ts';
import type { DrillContext } from '../../backup/drill/context.ts';
import { drillKinds } from '../../backup/drill/choose.ts';
import type { DrillReport } from '../../backup/drill/report.ts';
import type { BackupKind } from '../../config/backup.ts';
import { DbopsError } from '../../errors.ts';
import { humanBytes, humanSeconds } from '../../output/human.ts';
import { renderTable } from '../../output/table.ts';
import type { JobContext } from '../../partition/context.ts';
import { withAdvisoryLock } from '../../pg/advisory-lock.ts';
import { libpqEnvironment } from '../../pg/libpq.ts';
import { findTools } from '../../process/tools.ts';
import { visible } from '../../sql/quote.ts';
import { version } from '../../version.ts';
import { defineCommand, type CommandContext, type Result } from '../command.ts';
import { addWait, countOption } from '../options.ts';
import { recoveryOf } from '../restore/recovery.ts';
import { storesOf } from '../stores.ts';

interface Options {
  id?: string;
  latest?: boolean;
  kind?: string;
  to?: string;
  keep?: boolean;
  jobs?: string;
  dryRun?: boolean;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    { command: 'dbops backup drill', about: 'the newest backup, for cron: exit 6 when it fails' },
    {
      command: 'dbops backup drill --kind logical --json',
      about: 'the newest dump, the report for a program',
    },
  ],
  notes:
    'Restores a backup where nobody works: on a server that it starts itself below "backup.drill.directory", with a socket\n' +
    'that only its owner reaches and without an archive, or, for a dump, in a database of its own on the server of\n' +
    '"backup.drill.url". Of a cluster the source gets a mark, a restore point and another mark, and the recovery must have the\n' +
    'one and not the other. Every check is ok, failed or unknown; what is unknown is no failure, and never called fine. The\n' +
    'report lies beside the backup as drill.json. It works without the source, too: marks are unknown then. What a killed\n' +
    'drill left is removed by the next. Exit 6 when a check failed, or the time or the loss exceeds "backup.promise".',
  declare(cmd) {
    cmd.option('--id <id>', 'this backup; the beginning of its id is enough');
    cmd.option('--latest', 'the newest; the same as no id');
    cmd.option('--kind <kind>', `the newest of this kind: ${drillKinds.join(', ')}`);
    cmd.option('--to <target>', 'recover to this instead of a mark, as "restore pitr" takes it');
    cmd.option('--keep', 'leave what was restored, and say where');
    cmd.option('--jobs <count>', 'parallel work; default: backup.jobs of the configuration');
    addWait(cmd);
    cmd.option('--dry-run', 'print which backup would be restored, and where, and write nothing');
  },
  async run(context): Promise<Result> {
    const { options, signal } = context;
    const wish = wishOf(options);
    const jobs =
      options.jobs === undefined ? context.settings.backup.jobs : countOption('--jobs', options.jobs);
    const source = await sourceOf(context, wish);
    const stores = storesOf(context);
    try {
      const drill = await drillContext(context, stores.open, source, jobs);
      if (options.dryRun === true) {
        const { backup, steps } = await planDrill(drill, wish);
        return { data: { dryRun: true, backup: backup.id, steps }, text: steps.join('\n') };
      }
      const run = () => runDrill(drill, wish);
      const report =
        typeof source === 'string'
          ? await run()
          : await withAdvisoryLock(source.db, 'drill', { waitMs: source.waitMs, signal }, run);
      return {
        data: report,
        text: render(report),
        warnings: report.warnings,
        exitCode: report.passed ? 0 : 6,
      };
    } finally {
      await stores.closeAll();
    }
  },
});

function wishOf(options: Options): DrillWish {
  if (options.id === '') throw new DbopsError('usage', 'the id of the backup is empty');
  if (options.id !== undefined && (options.latest === true || options.kind !== undefined))
    throw new DbopsError(
      'usage',
      `--id names one backup: leave out ${options.kind === undefined ? '--latest' : '--kind'}`,
    );
  return {
    id: options.id,
    kind: options.kind === undefined ? undefined : kindOf(options.kind),
    to: options.to,
    keep: options.keep === true,
  };
}

function kindOf(text: string): BackupKind {
  const kind = drillKinds.find((item) => item === text);
  if (kind !== undefined) return kind;
  throw new DbopsError('usage', `--kind is ${drillKinds.join(', ')}, not "${text}"`);
}

/** The source where it can be asked and written to; else why not. A drill is for the day on which it cannot. */
async function sourceOf(context: CommandContext<Options>, wish: DrillWish): Promise<JobContext | string> {
  try {
    return await context.job(wish.id ?? wish.kind ?? null);
  } catch (error) {
    const isAway = error instanceof DbopsError && (error.exitCode === 3 || error.code === 'read_only');
    if (!isAway) throw error;
    context.log.warn(
      { event: 'drill_without_source', code: error.code },
      `the drill goes on without the source: ${error.message}`,
    );
    return error.message;
  }
}

async function drillContext(
  context: CommandContext<Options>,
  openStore: DrillContext['openStore'],
  source: JobContext | string,
  jobs: number,
): Promise<DrillContext> {
  const { settings, env, log, signal } = context;
  const directory = settings.backup.drill.directory ?? settings.backup.workDirectory ?? os.tmpdir();
  await mkdir(directory, { recursive: true });
  return {
    settings,
    log,
    signal,
    openStore,
    findTools: (names) => findTools(names, env['PATH'] ?? ''),
    host: os.hostname(),
    osUser: os.userInfo().username,
    version,
    directory,
    jobs,
    source,
    database: libpqEnvironment({ ...settings.connection, applicationName: 'dbops backup drill' })[
      'PGDATABASE'
    ],
    // A segment that is damaged in every store, or a store that is away, must fail the drill and not hold it up.
    ...recoveryOf(context, `${String(Math.ceil(settings.backup.archiveTimeoutMs / 1000))}s`),
  };
}

async function render(report: DrillReport): Promise<string> {
  const { backup, kind, passed, seconds, rto, rpo, reached, keptIn } = report;
  const table = await renderTable(report.proofs, [
    { title: 'check', value: (proof) => visible(proof.name) },
    { title: 'result', value: (proof) => proof.outcome },
    { title: 'what', value: (proof) => visible(proof.detail) },
  ]);
  const part = (name: string, value: number | null) =>
    `${name} ${value === null ? '-' : humanSeconds(value)}`;
  const rate =
    report.fetchedBytesPerSecond === null ? '' : `, fetched ${humanBytes(report.fetchedBytesPerSecond)}/s`;
  return [
    `drill of backup ${backup} (${kind}): ${passed ? 'passed' : 'FAILED'}`,
    '',
    table,
    '',
    `back after ${rto.seconds === null ? 'never' : humanSeconds(rto.seconds)}: ${[
      part('fetch', seconds.fetch),
      part('restore', seconds.restore),
      part('open', seconds.open),
    ].join(', ')}; ${part('verify', seconds.verify)}${rate}`,
    `recovered to ${rpo.recoveredTo ?? 'nothing'}${reached === null ? '' : ` (${visible(reached)})`}`,
    ...(keptIn === null ? [] : [`kept in ${keptIn}`]),
  ].join('\n');
}
