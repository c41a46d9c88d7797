import { DbopsError } from '../../../errors.ts';
import { formatDuration } from '../../../config/duration.ts';
import { pickClientTools, type Tool } from '../../../process/tools.ts';
import { getServerIdentity } from '../../../sql/export.ts';
import {
  getClusterFacts,
  listDatabaseSizes,
  listTablespaces,
  type ClusterFacts,
  type DatabaseSizeRow,
  type TablespaceRow,
} from '../../../sql/physical.ts';
import type { BackupContext } from '../../context.ts';
import type { BackupPlan, BackupWish } from '../maker.ts';
import { chooseWal, type WalChoice } from './archived-wal.ts';
import { refuseManaged, refuseWish, reachWalsender } from './checks.ts';
import { refuseTooLittleSpace } from './directory.ts';
import { findParent, type Parent } from './parent.ts';

export interface PhysicalTools {
  pg_basebackup: Tool;
  zstd: Tool;
  tar: Tool;
  /** Comes with zstd on most systems; what it compresses on several threads begins anew now and then. */
  pzstd: Tool | undefined;
}

export interface PhysicalPlan extends BackupPlan {
  database: null;
  systemIdentifier: string;
  facts: ClusterFacts;
  tools: PhysicalTools;
  wal: WalChoice;
  /** The backup that an incremental one builds on. */
  parent: Parent | undefined;
  tablespaces: TablespaceRow[];
  databases: DatabaseSizeRow[];
}

/**
 * What a base backup will be. Throws usage for flags that mean nothing here, privilege_missing, refused (a managed
 * service, no line in pg_hba.conf, no walsender left, no space, a server that makes no incremental backups) or tool_failed.
 */
export async function planPhysical(context: BackupContext, wish: BackupWish): Promise<PhysicalPlan> {
  refuseWish(wish);
  const { db } = context;
  const facts = await getClusterFacts(db);
  refuseManaged(context, wish, facts);
  const { systemIdentifier } = await getServerIdentity(db);
  const walsender = await reachWalsender(context, facts);
  if (walsender.systemIdentifier !== systemIdentifier) {
    throw new DbopsError('refused', 'replication connections reach another server than others do', {
      detail: `${walsender.systemIdentifier}, and ${systemIdentifier}`,
      hint: 'Connect to the server itself, past poolers and balancers.',
    });
  }
  const major = Math.floor(db.server.versionNum / 10_000);
  const names = ['pg_basebackup', 'zstd', 'tar'] as const;
  const found = await context.findTools([...names, 'pzstd']);
  const pzstd = found.find((tool) => tool.name === 'pzstd' && tool.version !== undefined);
  const tools = { ...pickClientTools(found, major, [...names]), pzstd };
  const parent =
    wish.kind === 'incremental'
      ? await findParent(context, wish, { systemIdentifier, timeline: walsender.timeline, facts })
      : undefined;
  const [tablespaces, databases] = [await listTablespaces(db), await listDatabaseSizes(db)];
  const sourceBytes = databases.reduce((sum, item) => sum + (item.sizeBytes ?? 0), 0);
  const wal = await chooseWal(context, facts, systemIdentifier);
  if (tablespaces.length > 0) await refuseTooLittleSpace(context, sourceBytes);
  const plan = {
    database: null,
    sourceBytes,
    systemIdentifier,
    facts,
    tools,
    wal,
    parent,
    tablespaces,
    databases,
  };
  return { ...plan, steps: describe(context, plan) };
}

function describe(context: BackupContext, plan: Omit<PhysicalPlan, 'steps'>): string[] {
  const { settings } = context;
  const { tablespaces, wal, tools, parent } = plan;
  const isStreamed = tablespaces.length === 0;
  const args = basebackupArguments(plan, {
    id: '<id>',
    target: isStreamed ? '-' : '<work directory>',
    parentManifest: parent === undefined ? undefined : '<backup_manifest of the parent>',
  });
  const make = `${tools.pg_basebackup.path} ${args.map(shown).join(' ')}`;
  const compress = `${tools.zstd.path} ${zstdArguments(context).join(' ')}`;
  const compressStream =
    tools.pzstd === undefined ? compress : `${tools.pzstd.path} ${pzstdArguments(context).join(' ')}`;
  return [
    ...(parent === undefined ? [] : [`-- builds on ${parent.id}`]),
    ...(isStreamed
      ? [`${make} | ${compressStream} > base.tar.zst`]
      : [
          make,
          ...['base', ...tablespaces.map((item) => item.oid)].map(
            (n) => `${compress} < ${n}.tar > ${n}.tar.zst`,
          ),
        ]),
    wal.method === 'archive'
      ? `-- then waits up to ${formatDuration({ months: 0, seconds: settings.backup.archiveTimeoutMs / 1000 })} for the WAL from its start to its end in ${settings.wal.copies.join(', ')}`
      : `-- with the WAL that it needs in it, since ${wal.why}`,
    `-- to ${settings.backup.copies.join(', ')}, the manifest last`,
  ];
}

function shown(word: string): string {
  return /^[\w\-=/.:@]+$/.test(word) ? word : `'${word}'`;
}

/** What pg_basebackup is run with; nothing secret is in it. */
export function basebackupArguments(
  plan: Pick<PhysicalPlan, 'wal'>,
  to: { id: string; target: string; parentManifest: string | undefined },
): string[] {
  return [
    `--pgdata=${to.target}`,
    '--format=tar',
    // It can stream WAL beside a tar on stdout no more than psql can.
    `--wal-method=${plan.wal.method === 'archive' ? 'none' : 'fetch'}`,
    '--checkpoint=fast',
    '--manifest-checksums=SHA256',
    `--label=dbops ${to.id}`,
    '--no-password',
    // Node syncs what it stores; a tar in the work directory is gone soon.
    '--no-sync',
    ...(to.parentManifest === undefined ? [] : [`--incremental=${to.parentManifest}`]),
  ];
}

/** Two threads by default: the compressor is the slowest of the programs. */
export function zstdArguments(context: Pick<BackupContext, 'settings' | 'jobs'>): string[] {
  return ['-q', `-${String(context.settings.backup.compressionLevel)}`, `-T${String(context.jobs)}`, '-c'];
}

/** The same of pzstd. Its frames are independent of each other, and zstd reads them as one file. */
export function pzstdArguments(context: Pick<BackupContext, 'settings' | 'jobs'>): string[] {
  return ['-q', `-${String(context.settings.backup.compressionLevel)}`, '-p', String(context.jobs), '-c'];
}
