import { DbopsError } from '../../errors.ts';
import { humanBytes } from '../../output/human.ts';
import { getClusterBytes } from '../../sql/backups.ts';
import { getServerIdentity } from '../../sql/export.ts';
import type { BackupContext } from '../context.ts';
import type { PgbackrestPart } from '../manifest.ts';
import { expirePgbackrest } from '../pgbackrest/expire.ts';
import {
  goodBackups,
  idAnnotation,
  pgbackrestPart,
  readPgbackrestInfo,
  repositoryFor,
  type PgbackrestBackup,
} from '../pgbackrest/info.ts';
import { pgbackrestArguments, runPgbackrest } from '../pgbackrest/run.ts';
import { findPgbackrest, type PgbackrestSite } from '../pgbackrest/site.ts';
import type { BackupPlan, BackupWish, Made, Maker, Making } from './maker.ts';

interface Plan extends BackupPlan {
  site: PgbackrestSite;
  type: PgbackrestPart['type'];
  repository: number;
}

/**
 * Lets an installed pgBackRest take a backup into its own repository. Our stores get the manifest alone, so that one
 * catalogue shows it; the annotation ties the two together where one of them is lost.
 */
export const pgbackrestMaker: Maker<Plan> = {
  plan,
  make,
  hold: async ({ context, id }, { site, repository }, work) => {
    try {
      return await work(() => Promise.resolve());
    } catch (error) {
      await takeBack(context, id, site, repository);
      throw error;
    }
  },
};

/** What has no manifest in the end is in no catalogue, and would lie in the repository for ever. */
async function takeBack(
  { log }: BackupContext,
  id: string,
  site: PgbackrestSite,
  repository: number,
): Promise<void> {
  // An interruption is why it goes, and does not keep it.
  const { signal } = new AbortController();
  try {
    const info = await readPgbackrestInfo(site, signal);
    const labels = info.backup
      .filter((item) => item.annotation?.[idAnnotation] === id)
      .map((item) => item.label);
    await expirePgbackrest(site, repository, labels, signal);
  } catch (error) {
    log.warn(
      { event: 'backup_remains', backup: id },
      `what pgBackRest made of backup ${id} stays in its repository: ${(error as Error).message}`,
    );
  }
}

async function plan(context: BackupContext, wish: BackupWish): Promise<Plan> {
  if (wish.tables.length > 0 || wish.excludeData.length > 0) {
    throw new DbopsError('usage', 'pgBackRest backs up the whole cluster: no --table, no --exclude-data');
  }
  const site = await findPgbackrest(context);
  const { systemIdentifier } = await getServerIdentity(context.db);
  const info = await readPgbackrestInfo(site, context.signal);
  const repository = repositoryFor(info, systemIdentifier);
  const type = chooseType(context, wish, goodBackups(info, repository));
  return {
    database: null,
    sourceBytes: await getClusterBytes(context.db),
    steps: [`pgbackrest ${pgbackrestArguments(site, 'backup', backupOptions(type, repository)).join(' ')}`],
    site,
    type,
    repository,
  };
}

function chooseType(
  context: BackupContext,
  wish: BackupWish,
  backups: PgbackrestBackup[],
): PgbackrestPart['type'] {
  if (backups.some((item) => item.type === 'full')) return wish.type ?? 'incr';
  if (wish.type !== null && wish.type !== 'full') {
    context.log.warn(
      { event: 'backup_type_changed', asked: wish.type, made: 'full' },
      `there is no full backup to build on, so this one is full and not ${wish.type}`,
    );
  }
  return 'full';
}

/** What is removed is for our own plan to say, so no expire of its own follows. */
function backupOptions(type: PgbackrestPart['type'], repository: number): string[] {
  return [`--type=${type}`, `--repo=${String(repository)}`, '--no-expire-auto'];
}

async function make({ context, id }: Making, plan: Plan): Promise<Made> {
  const { log, signal } = context;
  const { site, type, repository } = plan;
  const { warnings } = await runPgbackrest(
    site,
    'backup',
    [...backupOptions(type, repository), `--annotation=${idAnnotation}=${id}`],
    signal,
  );
  for (const warning of warnings) log.warn({ event: 'pgbackrest_warning' }, `pgbackrest: ${warning}`);
  const info = await readPgbackrestInfo(site, signal);
  const made = info.backup.find((item) => item.annotation?.[idAnnotation] === id);
  if (made === undefined) {
    throw new DbopsError(
      'tool_failed',
      `pgBackRest ended well, but stanza "${site.stanza}" has no new backup`,
    );
  }
  await check(context, site, made);
  return {
    tools: { pgbackrest: site.version },
    logical: null,
    physical: null,
    pgbackrest: pgbackrestPart(info, made),
    sourceBytes: made.info.size,
  };
}

/** pgBackRest counts a backup with broken pages, and one of next to nothing, as good. */
async function check(context: BackupContext, site: PgbackrestSite, made: PgbackrestBackup): Promise<void> {
  if (made.error === true) {
    const info = await readPgbackrestInfo(site, context.signal, made.label);
    const files = info.backup.find((item) => item.label === made.label)?.['error-list'] ?? [];
    throw new DbopsError('tool_failed', `pgBackRest found pages with wrong checksums in ${made.label}`, {
      detail: files.slice(0, 20).join('\n'),
      hint: 'The table is damaged on the server: find it by pg_filenode_relation(), and look for a good one in older backups.',
    });
  }
  const least = context.settings.backup.minimumBytes;
  if (made.info.size < least) {
    throw new DbopsError(
      'tool_failed',
      `${made.label} holds ${humanBytes(made.info.size)}, less than "backup.minimumSize" (${humanBytes(least)})`,
    );
  }
}
