import { mkdir } from 'node:fs/promises';
import os from 'node:os';
import type { PitrContext } from '../../backup/restore/pitr/context.ts';
import type { TimelineWish } from '../../backup/restore/pitr/choose.ts';
import { describePlan, planPitr, type PitrWish } from '../../backup/restore/pitr/plan.ts';
import {
  applyPgbackrestPitr,
  findOfPgbackrest,
  planPgbackrestPitr,
} from '../../backup/restore/pitr/pgbackrest.ts';
import { applyPitr, type PitrEnd, type PitrResult } from '../../backup/restore/pitr/restore.ts';
import { parseMapping } from '../../backup/restore/pitr/tablespaces.ts';
import { parseTarget } from '../../backup/restore/pitr/target.ts';
import { DbopsError } from '../../errors.ts';
import { confirm } from '../../output/confirm.ts';
import { humanSeconds } from '../../output/human.ts';
import { findTools } from '../../process/tools.ts';
import { defineCommand, type CommandContext, type Result } from '../command.ts';
import { addYes, countOption } from '../options.ts';
import { storesOf } from '../stores.ts';
import { recoveryOf } from './recovery.ts';

interface Options {
  to: string;
  dataDir: string;
  latest?: boolean;
  system?: string;
  clamp?: boolean;
  port?: string;
  start?: boolean;
  pause?: boolean;
  archive: string;
  tablespaceMapping?: string[];
  timeline?: string;
  owner?: string;
  jobs?: string;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    {
      command: 'dbops restore pitr --to "time:2026-11-20 14:30+09" --data-dir /srv/pg/restored --dry-run',
      about: 'whether it can be reached, and from what',
    },
    {
      command: 'dbops restore pitr --to latest --data-dir /srv/pg/restored --start --yes',
      about: 'everything that is archived, and a server on it',
    },
  ],
  notes:
    'Only the stores are needed, no database. Everything is checked before anything is written: that the newest backup\n' +
    'before the target is on the way to its timeline, that no WAL is missing, and that the directory is empty. A time after\n' +
    'the last commit is reached where the archive proves that nothing was committed in between: where its last segment was\n' +
    'closed more than 5 s after that time. Otherwise the restore is refused, and --clamp takes what is archived.\n' +
    'The server opens for writing on a new timeline when it is there; with --pause it stays readable at the target until\n' +
    '"select pg_wal_replay_resume()". Its archive_mode is off: with --archive keep it continues the archive of its source,\n' +
    'which must be gone for good by then. With --start it has a socket in the data directory; with --port it listens on\n' +
    '127.0.0.1 too. A backup of pgBackRest is named by its id, and comes from its repository with its WAL. A\n' +
    'restore that was interrupted is begun anew by the same command, unless its server was opened for writing; after an\n' +
    'interrupted one of pgBackRest the directory is to be emptied first. Unless --archive keep is given, subscriptions and\n' +
    'jobs of pg_cron do not run on the restored server.',
  declare(cmd) {
    cmd.argument('[id]', 'begin with this backup; otherwise the newest that reaches the target');
    cmd.requiredOption(
      '--to <target>',
      'time:<time with zone>, lsn:<x/y>, name:<restore point>, immediate or latest',
    );
    cmd.requiredOption('--data-dir <directory>', 'an empty directory, or one to make; an absolute path');
    cmd.option('--latest', 'the newest backup; the same as no id');
    cmd.option('--system <identifier>', 'which cluster, where the stores have several');
    cmd.option('--clamp', 'take what is archived where the target is not');
    cmd.option('--timeline <timeline>', 'latest, current (that of the backup), or a number');
    cmd.option('--start', 'start the server, wait until it has recovered, and leave it running');
    cmd.option('--pause', 'stop the recovery at the target without opening for writing');
    cmd.option('--port <port>', 'the port of the restored server');
    cmd.option('--archive <how>', 'off or keep: whether the restored server may archive its own WAL', 'off');
    cmd.option('--tablespace-mapping <old=new...>', 'put the tablespace of one directory into another');
    cmd.option('--owner <user>', 'the user of the server, when run as root; default: postgres');
    cmd.option('--jobs <count>', 'parallel work; default: backup.jobs of the configuration');
    addYes(cmd);
    cmd.option('--dry-run', 'check everything, print what would be done, and write nothing');
  },
  async run(context): Promise<Result> {
    const { options, signal } = context;
    const wish = wishOf(context);
    const end = endOf(options);
    const stores = storesOf(context);
    try {
      const pitr = await contextOf(context, stores.open);
      const { shown, lines, apply } = await planned(pitr, wish, end);
      if (options.dryRun === true) {
        return { data: { dryRun: true, ...shown, steps: lines }, text: lines.join('\n') };
      }
      await confirm(lines.join('\n'), `Restore into ${wish.dataDirectory}?`, {
        yes: options.yes === true,
        signal,
      });
      const result = await apply();
      return { data: result, text: describe(result) };
    } finally {
      await stores.closeAll();
    }
  },
});

/** A restore that was found possible, from our own stores or from the repository of pgBackRest. */
async function planned(
  pitr: PitrContext,
  wish: PitrWish,
  end: PitrEnd,
): Promise<{ shown: object; lines: string[]; apply: () => Promise<PitrResult> }> {
  const other = await findOfPgbackrest(pitr, wish.id);
  if (other !== undefined) {
    const plan = await planPgbackrestPitr(pitr, other, wish, end);
    return {
      shown: { backup: other.id },
      lines: plan.steps,
      apply: () => applyPgbackrestPitr(pitr, plan, wish, end),
    };
  }
  const plan = await planPitr(pitr, wish);
  const { backup, stop, history } = plan;
  return {
    shown: {
      backup: backup.id,
      stop: stop.setting ?? null,
      timeline: history.timeline,
      notes: stop.notes,
    },
    lines: describePlan(plan),
    apply: () => applyPitr(pitr, plan, end),
  };
}

function wishOf({ args, options }: CommandContext<Options>): PitrWish {
  const [id] = args;
  if (id === '') throw new DbopsError('usage', 'the id of the backup is empty');
  if (id !== undefined && options.latest === true)
    throw new DbopsError('usage', `--latest and the backup "${id}" exclude each other`);
  return {
    id,
    system: options.system,
    target: parseTarget(options.to),
    clamp: options.clamp === true,
    pause: options.pause === true,
    timeline: timelineOf(options.timeline),
    dataDirectory: options.dataDir,
    mappings: (options.tablespaceMapping ?? []).map(parseMapping),
    owner: options.owner,
  };
}

function endOf(options: Options): PitrEnd {
  if (options.archive !== 'off' && options.archive !== 'keep')
    throw new DbopsError('usage', `--archive is off or keep, not "${options.archive}"`);
  return {
    start: options.start === true,
    action: options.pause === true ? 'pause' : 'promote',
    keepsArchiving: options.archive === 'keep',
    port: options.port === undefined ? undefined : countOption('--port', options.port),
  };
}

function timelineOf(text: string | undefined): TimelineWish {
  if (text === undefined || text === 'latest' || text === 'current') return text;
  return countOption('--timeline', text);
}

async function contextOf(
  context: CommandContext<Options>,
  openStore: PitrContext['openStore'],
): Promise<PitrContext> {
  const { settings, env, log, signal, applied, options } = context;
  const workDirectory = settings.backup.workDirectory ?? os.tmpdir();
  await mkdir(workDirectory, { recursive: true });
  return {
    settings,
    log,
    signal,
    applied,
    openStore,
    findTools: (names) => findTools(names, env['PATH'] ?? ''),
    workDirectory,
    jobs: options.jobs === undefined ? settings.backup.jobs : countOption('--jobs', options.jobs),
    host: os.hostname(),
    ...recoveryOf(context),
  };
}

function describe(result: PitrResult): string {
  const { reached, server, dataDirectory } = result;
  const lines = [...result.notes];
  if (reached === null || server === null) {
    lines.push(
      `${dataDirectory} is ready to recover to ${result.asked}, from backup ${result.backup} (${humanSeconds(result.fetchSeconds)})`,
      `start it with: ${result.startCommand}`,
    );
    return lines.join('\n');
  }
  lines.push(
    `asked for ${result.asked}; reached: ${reached.stoppedBy ?? 'the end of the archive'}`,
    `last transaction ${reached.lastCommitAt ?? 'before the end of the backup'}, last record at LSN ${reached.lsn ?? 'unknown'}, ${
      reached.timeline === null ? 'paused' : `timeline ${String(reached.timeline)}`
    }`,
    `backup ${result.backup} unpacked in ${humanSeconds(result.fetchSeconds)}, recovered in ${humanSeconds(result.recoverySeconds ?? 0)}`,
    `the server runs as ${result.owner} (process ${String(server.pid)}): host=${server.socketDirectory} port=${String(server.port)}, log ${server.log}`,
  );
  if (reached.isPaused)
    lines.push('it is paused: look, then "select pg_wal_replay_resume()" opens it for writing');
  return lines.join('\n');
}
