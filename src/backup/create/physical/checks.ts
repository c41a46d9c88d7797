import { DbopsError } from '../../../errors.ts';
import { identifySystem, type SystemIdentity } from '../../../pg/replication.ts';
import { sqlStateOf } from '../../../pg/sqlstate.ts';
import { ident } from '../../../sql/quote.ts';
import type { ClusterFacts } from '../../../sql/physical.ts';
import type { BackupContext } from '../../context.ts';
import type { BackupWish } from '../maker.ts';

/** Refuses flags that mean nothing to a backup of the whole cluster. */
export function refuseWish(wish: BackupWish): void {
  const flag =
    wish.tables.length > 0 ? '--table' : wish.excludeData.length > 0 ? '--exclude-data' : undefined;
  if (flag !== undefined) {
    throw new DbopsError(
      'usage',
      `${flag} means nothing to --kind ${wish.kind}, which takes the whole cluster`,
      {
        hint: 'Use --kind table or logical for a part of a database.',
      },
    );
  }
  if (wish.parent !== null && wish.kind !== 'incremental') {
    throw new DbopsError('usage', `--parent means nothing to --kind ${wish.kind}`, {
      hint: 'Only --kind incremental builds on another backup.',
    });
  }
  if (wish.kind === 'snapshot' && (wish.reason ?? '').trim() === '') {
    throw new DbopsError('usage', 'a snapshot needs a reason', {
      hint: 'Say what it is made before: --reason "deploy 2026.11.2".',
    });
  }
}

/** Refuses a service that gives the files of the cluster to nobody, with what to use there. */
export function refuseManaged(context: BackupContext, wish: BackupWish, facts: ClusterFacts): void {
  if (facts.managedBy === null) return;
  const message = `the files of this cluster cannot be copied: it belongs to a managed service (role ${facts.managedBy})`;
  const logical = '"dbops backup create --kind logical" takes a copy that lies with you.';
  if (facts.managedBy !== 'rds_superuser') {
    throw new DbopsError('refused', message, {
      hint: `Make a snapshot with the service's own tools; ${logical}`,
    });
  }
  const command = rdsSnapshotCommand(context.connection['PGHOST'] ?? '', wish, context.now);
  throw new DbopsError('refused', message, {
    hint: `Make a snapshot there: ${command}. Points in time are restored there, too; ${logical}`,
  });
}

/**
 * The command that makes a snapshot of the instance behind a name such as db-1.c9akciq32.eu-west-1.rds.amazonaws.com, or
 * of the Aurora cluster behind db-1.cluster-c9akciq32.... Pure.
 */
export function rdsSnapshotCommand(host: string, wish: Pick<BackupWish, 'reason'>, now: Date): string {
  const match = /^([a-z0-9-]+)\.(cluster-)?[a-z0-9-]+\.([a-z0-9-]+)\.rds\.amazonaws\.com(\.cn)?$/i.exec(host);
  const [, name = '<instance>', aurora, region] = match ?? [];
  const words = (wish.reason ?? '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '');
  const stamp = now.toISOString().slice(0, 16).replaceAll(/[-:]/g, '').replace('T', '-');
  // Letters, digits and single hyphens, a letter first: the rule for the identifiers of snapshots.
  const snapshot = ['dbops', stamp, words.slice(0, 40).replace(/-+$/, '')]
    .filter((part) => part !== '')
    .join('-');
  const kind = aurora === undefined ? 'db' : 'db-cluster';
  const of = aurora === undefined ? 'db-instance' : 'db-cluster';
  return [
    `aws rds create-${kind}-snapshot --${of}-identifier ${name} --${kind}-snapshot-identifier ${snapshot}`,
    ...(region === undefined ? [] : [`--region ${region}`]),
  ].join(' ');
}

/** Opens a replication connection as pg_basebackup will. Throws privilege_missing or refused, with what helps. */
export async function reachWalsender(
  context: {
    db: Pick<BackupContext['db'], 'server'>;
    settings: Pick<BackupContext['settings'], 'connection'>;
  },
  facts: Pick<ClusterFacts, 'canReplicate' | 'maxWalSenders'>,
): Promise<SystemIdentity> {
  const { user } = context.db.server;
  if (!facts.canReplicate) {
    throw new DbopsError('privilege_missing', `role "${user}" may not copy the cluster`, {
      hint: `Run as a superuser: alter role ${ident(user)} with replication;`,
    });
  }
  try {
    return await identifySystem({ ...context.settings.connection, applicationName: 'dbops backup' });
  } catch (error) {
    if (!(error instanceof DbopsError)) throw error;
    const state = sqlStateOf(error);
    if (state === '28000') throw missingLine(error, user);
    if (state !== '53300') throw error;
    throw new DbopsError('refused', 'the server has no walsender left for a base backup', {
      detail: error.message,
      hint: `max_wal_senders is ${String(facts.maxWalSenders)}: look in pg_stat_replication for who uses them, or raise it and restart the server.`,
      cause: error,
    });
  }
}

/** pg_hba.conf has lines of their own for replication: "all" in the column of databases leaves it out. */
function missingLine(error: DbopsError, user: string): DbopsError {
  const host = /from host "([^"]+)"/.exec(error.message)?.[1];
  const isSocket = host === undefined || host === '[local]';
  const address = isSocket ? '' : ` ${host}/${host.includes(':') ? '128' : '32'}`;
  const line = `${isSocket ? 'local' : 'host'} replication ${user}${address} scram-sha-256`;
  return new DbopsError('refused', `pg_hba.conf does not let role "${user}" open a replication connection`, {
    detail: error.message,
    hint: `Add the line "${line}" to pg_hba.conf, then run: select pg_reload_conf();`,
    cause: error,
  });
}
