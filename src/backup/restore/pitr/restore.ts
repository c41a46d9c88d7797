import { chmod } from 'node:fs/promises';
import { DbopsError } from '../../../errors.ts';
import { Progress } from '../../../output/progress.ts';
import type { Account } from '../../../process/account.ts';
import { ownPid } from '../../../process/detached.ts';
import { withPin } from '../../catalogue/pin.ts';
import { makeOwnDirectory } from '../../cluster/owner.ts';
import { configureRecovery, forgetRecovery } from './configure.ts';
import type { PitrContext } from './context.ts';
import { clearDirectory, putMarker, refuseForeign, removeMarker, type Marker } from './directory.ts';
import { fillDirectory } from './fill.ts';
import type { PitrPlan } from './plan.ts';
import { recover, type Reached, type RecoverOptions } from './recover.ts';
import { describeTarget, formatTime } from './target.ts';

/** How the restored server is left. */
export interface PitrEnd {
  start: boolean;
  action: 'promote' | 'pause';
  keepsArchiving: boolean;
  port: number | undefined;
}

export interface PitrResult {
  backup: string;
  kind: string;
  asked: string;
  dataDirectory: string;
  owner: string;
  /** What PostgreSQL was told; null: the end of the archive. */
  stop: { name: string; value: string } | null;
  notes: string[];
  /** Null: it was not started. */
  reached: (Omit<Reached, 'lastCommitMicros'> & { lastCommitAt: string | null }) | null;
  server: { pid: number; socketDirectory: string; port: number; log: string } | null;
  /** Starts the server, for who does it by hand. */
  startCommand: string;
  fetchSeconds: number;
  /** From the start of the server until it took writes (or paused). */
  recoverySeconds: number | null;
}

/**
 * Restores what was planned. The directories carry a marker until all is done: a run that is killed or fails leaves what
 * the same command begins anew, as long as the cluster was never opened for writing. Throws copy_damaged, tool_failed, refused, or what the stores throw.
 */
export async function applyPitr(context: PitrContext, plan: PitrPlan, end: PitrEnd): Promise<PitrResult> {
  const { log, signal } = context;
  const { backup, account, programs, wish } = plan;
  const { dataDirectory } = wish;
  const startedAt = performance.now();
  const marker = markerOf(context, plan);
  await claim(context, plan, marker);
  const fillAll = async () => {
    const bytes = new Progress(log, `restore of ${backup.id}`, 'restore_running');
    try {
      const onBytes = (count: number) => bytes.add(count);
      const fill = { log, signal, onBytes, jobs: context.jobs, account, programs };
      await fillDirectory(fill, plan.chain, dataDirectory, plan.tablespaces);
    } finally {
      bytes.end();
    }
  };
  let fetchSeconds = 0;
  let recovered: Awaited<ReturnType<typeof recoverServer>> | undefined;
  // WAL is kept for the oldest backup that is not expired: this one must not be before its recovery has read it.
  await pinAll(context, plan, async () => {
    await fillAll();
    await configure(plan, end);
    fetchSeconds = secondsSince(startedAt);
    log.info(
      { event: 'restore_unpacked', backup: backup.id, seconds: fetchSeconds },
      `backup ${backup.id} is unpacked in ${dataDirectory}`,
    );
    if (!end.start) return;
    for (const { path } of plan.directories)
      await putMarker(path, 'unfinished', { ...marker, isStarted: true });
    const { setting, checkEnd } = plan.stop;
    const cluster = { account, programs, dataDirectory, hasStop: setting !== undefined, checkEnd };
    recovered = await recoverServer(context, cluster, end);
  });
  for (const { path } of plan.directories.toReversed()) await removeMarker(path);
  return {
    backup: backup.id,
    kind: backup.manifest.kind,
    asked: describeTarget(wish.target),
    dataDirectory,
    owner: account.name,
    stop: plan.stop.setting ?? null,
    notes: [...plan.stop.notes, ...endNotes(context, end)],
    reached: recovered?.reached ?? null,
    server: recovered?.server ?? null,
    startCommand: startCommand(programs.pgCtl, account, dataDirectory),
    fetchSeconds,
    recoverySeconds: recovered?.seconds ?? null,
  };
}

async function configure(plan: PitrPlan, end: PitrEnd): Promise<void> {
  const { account, programs, backup, wish } = plan;
  if (end.action === 'pause' && plan.stop.setting === undefined)
    throw new Error('a recovery without a target does not pause');
  await configureRecovery({ account, programs }, wish.dataDirectory, backup.physical, plan.tablespaces, {
    stop: plan.stop.setting,
    timeline: plan.history.timeline,
    action: end.action,
    restoreCommand: plan.restoreCommand,
    keepsArchiving: end.keepsArchiving,
    port: end.port,
  });
}

/** What is not as it was on the source, a sentence each. */
export function endNotes({ environment }: Pick<PitrContext, 'environment'>, end: PitrEnd): string[] {
  const names = Object.keys(environment).sort();
  return [
    ...(end.keepsArchiving
      ? []
      : [
          'It archives nothing, and neither its subscriptions nor jobs of pg_cron run: archive_mode, max_logical_replication_workers and cron.launch_active_jobs in postgresql.auto.conf say so until they are removed.',
        ]),
    ...(end.start
      ? []
      : [
          `Started by hand it listens and logs as its own configuration says${names.length === 0 ? '' : `, and its restore_command needs these variables in the environment of the server: ${names.join(', ')}`}.`,
        ]),
  ];
}

function markerOf({ host }: PitrContext, { backup, wish }: PitrPlan): Marker {
  return {
    formatVersion: 1,
    backup: backup.id,
    target: describeTarget(wish.target),
    startedAt: new Date().toISOString(),
    host,
    pid: ownPid(),
    dataDirectory: wish.dataDirectory,
    isStarted: false,
  };
}

/** Makes the directories, and throws away what an unfinished restore left in them. */
async function claim(context: PitrContext, plan: PitrPlan, marker: Marker): Promise<void> {
  const { account } = plan;
  for (const { path, state } of plan.directories) {
    try {
      await makeOwnDirectory(path, account);
      await chmod(path, 0o700);
    } catch (cause) {
      throw new DbopsError('refused', `${path} cannot be made`, { detail: (cause as Error).message, cause });
    }
    await putMarker(path, state, marker);
    context.applied.changes += 1;
    if (state === 'unfinished') await clearDirectory(path);
    else await refuseForeign(path);
  }
}

/** Keeps the backup and all that it builds on from being pruned while it is read. */
async function pinAll(context: PitrContext, plan: PitrPlan, work: () => Promise<void>): Promise<void> {
  const { host, log } = context;
  const pinned = plan.chain.reduceRight<() => Promise<void>>(
    (next, link) => () => withPin(link, { what: 'restore', host, log }, next),
    work,
  );
  await pinned();
}

/** Starts the server on a directory that is ready for its recovery, and leaves it running. Throws tool_failed. */
export async function recoverServer(
  context: Pick<PitrContext, 'log' | 'signal' | 'environment'>,
  cluster: Pick<RecoverOptions, 'account' | 'programs' | 'dataDirectory' | 'hasStop' | 'checkEnd'>,
  end: PitrEnd,
) {
  const { log, signal, environment } = context;
  const startedAt = performance.now();
  const { server, reached } = await recover({
    ...cluster,
    port: end.port,
    action: end.action,
    environment,
    log,
    signal,
  });
  // A server that waits to be looked at still needs them.
  if (!reached.isPaused) await forgetRecovery(cluster.dataDirectory, cluster.account);
  await server.release();
  const { lastCommitMicros, ...rest } = reached;
  return {
    seconds: secondsSince(startedAt),
    reached: { ...rest, lastCommitAt: lastCommitMicros === null ? null : formatTime(lastCommitMicros) },
    server: {
      pid: server.pid,
      socketDirectory: server.socketDirectory,
      port: server.port,
      log: server.logFile,
    },
  };
}

function secondsSince(at: number): number {
  return Math.round((performance.now() - at) / 10) / 100;
}

/** As its owner; pg_ctl waits until it takes connections. */
export function startCommand(pgCtl: string, account: Account, dataDirectory: string): string {
  const quoted = (word: string) => (/^[\w./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
  const log = `${dataDirectory}/dbops-recovery.log`;
  return `sudo -u ${quoted(account.name)} ${quoted(pgCtl)} -D ${quoted(dataDirectory)} -l ${quoted(log)} -w start`;
}
