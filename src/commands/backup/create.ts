import os from 'node:os';
import { createBackup, planBackup } from '../../backup/create/create.ts';
import { findMaker } from '../../backup/create/makers.ts';
import type { BackupWish } from '../../backup/create/maker.ts';
import { reportFailure } from '../../backup/create/notify.ts';
import { storedBytesOf } from '../../backup/manifest.ts';
import { backupKinds, type BackupKind } from '../../config/backup.ts';
import { DbopsError } from '../../errors.ts';
import { humanBytes } from '../../output/human.ts';
import { withAdvisoryLock } from '../../pg/advisory-lock.ts';
import { defineCommand, type CommandContext, type Result } from '../command.ts';
import { addWait, countOption } from '../options.ts';
import { withBackups } from './context.ts';

interface Options {
  kind: string;
  table?: string[];
  excludeData?: string[];
  reason?: string;
  parent?: string;
  stream?: boolean;
  jobs?: string;
  type?: string;
}

/** What is read of the files of a cluster can be read of a standby's. */
const clusterKinds = new Set(['base', 'incremental', 'snapshot']);

export const command = defineCommand<Options>({
  changes: true,
  worksOnStandby: ({ kind }) => clusterKinds.has(kind),
  examples: [
    { command: 'dbops backup create --kind logical', about: 'the whole database, for cron' },
    {
      command: 'dbops backup create --kind logical --dry-run',
      about: 'what would be run, and where it would go',
    },
    {
      command: 'dbops backup create --kind table --table public.llm_calls',
      about: 'one table with its partitions and types, before it is changed',
    },
    {
      command: "dbops backup create --kind logical --stream --exclude-data 'public.audit_*'",
      about: 'without a work directory, and without the rows of some tables',
    },
    {
      command: 'dbops backup create --kind base',
      about: 'the whole cluster, for points in time; from a standby, too',
    },
    {
      command: 'dbops backup create --kind snapshot --reason "deploy 2026.11.2"',
      about: 'the same, before a deploy',
    },
  ],
  declare(cmd) {
    cmd.requiredOption('--kind <kind>', backupKinds.join(', '));
    cmd.option('--table <table...>', 'with --kind table or partition: schema.table');
    cmd.option(
      '--exclude-data <pattern...>',
      'leave out the rows of these tables, as pg_dump --exclude-table-data',
    );
    cmd.option('--type <type>', 'with --kind pgbackrest: full, diff or incr; default: full, then incr');
    cmd.option('--reason <text>', 'why it is made; kept with it');
    cmd.option(
      '--parent <id>',
      'with --kind incremental: the backup to build on; default: the newest that fits',
    );
    cmd.option('--stream', 'needs no work directory; one session');
    cmd.option('--jobs <count>', 'parallel sessions; default: backup.jobs of the configuration');
    addWait(cmd);
    cmd.option('--dry-run', 'print what would be done and write nothing');
  },
  async run(context): Promise<Result> {
    const wish = wishOf(context.options);
    const reached: Reached = { database: null };
    try {
      return await create(context, wish, reached);
    } catch (error) {
      const isTyped = error instanceof DbopsError && error.code === 'usage';
      if (context.options.dryRun !== true && !isTyped)
        await reportFailure(context, { ...reached, host: os.hostname(), kind: wish.kind }, error);
      throw error;
    }
  },
});

/** The database, once there is a session on it. */
interface Reached {
  database: string | null;
}

async function create(context: CommandContext<Options>, wish: BackupWish, reached: Reached): Promise<Result> {
  const { options, signal } = context;
  const jobs = options.jobs === undefined ? undefined : countOption('--jobs', options.jobs);
  const maker = await findMaker(wish.kind);
  const base = await context.job(wish.kind);
  reached.database = base.db.server.database;
  return await withBackups(context, base, { jobs }, async (backup): Promise<Result> => {
    if (options.dryRun === true) {
      const { database, sourceBytes, steps } = await maker.plan(backup, wish);
      return { data: { dryRun: true, database, sourceBytes, steps }, text: steps.join('\n') };
    }
    const plan = await planBackup(backup, wish, maker);
    const { id, place, manifest, stores } = await withAdvisoryLock(
      base.db,
      'backup',
      { waitMs: base.waitMs, signal },
      () => createBackup(backup, wish, maker, plan),
    );
    return {
      data: { id, place, stores, manifest },
      text: `${id}: ${humanBytes(storedBytesOf(manifest))} in ${stores.join(', ')}`,
    };
  });
}

function wishOf(options: Options): BackupWish {
  return {
    kind: kindOf(options.kind),
    tables: options.table ?? [],
    excludeData: options.excludeData ?? [],
    reason: options.reason ?? null,
    parent: options.parent ?? null,
    stream: options.stream === true,
    type: typeOf(options),
  };
}

function kindOf(text: string): BackupKind {
  const kind = backupKinds.find((item) => item === text);
  if (kind !== undefined) return kind;
  throw new DbopsError('usage', `--kind is ${backupKinds.join(', ')}, not "${text}"`);
}

const types = ['full', 'diff', 'incr'] as const;

function typeOf({ kind, type }: Options): BackupWish['type'] {
  if (type === undefined) return null;
  if (kind !== 'pgbackrest') throw new DbopsError('usage', '--type is for --kind pgbackrest alone');
  const known = types.find((item) => item === type);
  if (known !== undefined) return known;
  throw new DbopsError('usage', `--type is ${types.join(', ')}, not "${type}"`);
}
