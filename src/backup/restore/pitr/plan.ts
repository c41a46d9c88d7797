import { realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DbopsError } from '../../../errors.ts';
import type { Account } from '../../../process/account.ts';
import { humanBytes } from '../../../output/human.ts';
import type { Store } from '../../../storage/store.ts';
import { clusterOwner } from '../../cluster/owner.ts';
import { findClusterPrograms } from '../../cluster/programs.ts';
import { historyOf, newestTimeline } from '../../wal/coverage.ts';
import { formatLsn, parseLsn } from '../../wal/segment.ts';
import type { TimelineHistory } from '../../wal/timeline.ts';
import { chainOf, listPhysicalBackups, type PhysicalBackup } from './candidates.ts';
import { chooseBackup, type Choice, type TimelineWish } from './choose.ts';
import type { PitrContext, PitrPrograms } from './context.ts';
import { inspectDirectory, refuseWithoutSpace, usedBytes, type DirectoryState } from './directory.ts';
import { planStop, searchReach, type Stop } from './reach.ts';
import { tryRestoreCommand } from './restore-command.ts';
import { findRestorePoint, type ScanContext } from './scan.ts';
import { mapTablespaces, type MappedTablespace } from './tablespaces.ts';
import { describeTarget, type Target } from './target.ts';
import { viewWal, type WalView } from './wal.ts';

/** What was asked for. */
export interface PitrWish {
  /** The backup, or the beginning of its id; undefined: the newest that reaches the target. */
  id: string | undefined;
  /** System identifier; undefined: the only cluster in the stores. */
  system: string | undefined;
  target: Target;
  clamp: boolean;
  /** The recovery is to wait at its target. */
  pause: boolean;
  timeline: TimelineWish;
  dataDirectory: string;
  mappings: { from: string; to: string }[];
  owner: string | undefined;
}

/** A restore that was found possible; nothing is written yet. */
export interface PitrPlan {
  wish: PitrWish;
  backup: PhysicalBackup;
  /** The backup behind all that it builds on. */
  chain: PhysicalBackup[];
  history: TimelineHistory;
  stop: Stop;
  tablespaces: MappedTablespace[];
  /** The data directory and each tablespace, with what was found there. */
  directories: { path: string; state: DirectoryState }[];
  account: Account;
  programs: PitrPrograms;
  restoreCommand: string;
  neededBytes: number;
}

/**
 * Validates a restore in all that can be known before anything is written: the directories, the programs, the backup, the
 * way to the target. Throws refused with the reason and what is reachable, backup_not_found, tool_failed, or what the
 * stores throw.
 */
export async function planPitr(context: PitrContext, asked: PitrWish): Promise<PitrPlan> {
  const wish = { ...asked, dataDirectory: await canonical(asked.dataDirectory) };
  const state = await inspectDirectory(wish.dataDirectory, context.host);
  const account = await clusterOwner(wish.dataDirectory, wish.owner);
  const { all, given } = await findCandidates(context, wish);
  const [first] = given === undefined ? all : [given];
  if (first === undefined) throw new Error('a plan without a backup');
  const system = first.manifest.server.systemIdentifier;
  const zstd = await findProgram(context, 'zstd', 'zstd');
  const view = await viewWal(await walStores(context), system, first.physical.walSegmentBytes, {
    zstd,
    signal: context.signal,
  });
  warnOfStores(context, view);
  const { backup, history, pointLsn } = await choose(context, wish, all, given, view, zstd);
  const chain = chainOf(backup, all);
  const programs = await findPrograms(context, backup, chain.length > 1, zstd);
  const hasArchive = newestTimeline(view.survey) !== undefined;
  const stop = await planStop(scanOf(context, view, programs), {
    backup,
    history,
    target: wish.target,
    clamp: wish.clamp,
    pause: wish.pause,
    hasArchive,
    closedAt: (segment) => view.closedAt(segment, context.signal),
    pointLsn,
  });
  const tablespaces = mapTablespaces(backup.physical.tablespaces, wish.mappings, wish.dataDirectory);
  const directories = [{ path: wish.dataDirectory, state }];
  for (const { to } of tablespaces)
    directories.push({ path: to, state: await inspectDirectory(to, context.host) });
  const neededBytes = chain.reduce((sum, item) => sum + item.manifest.sourceBytes, 0);
  const freed = state === 'unfinished' ? await usedBytes(wish.dataDirectory) : 0;
  if (tablespaces.length === 0) await refuseWithoutSpace(wish.dataDirectory, neededBytes, freed);
  // Without an archive every segment is absent, and no store has to be asked for it.
  const restoreCommand = hasArchive ? context.restoreCommand(system, view.asked) : '/bin/false';
  if (hasArchive) await tryRestoreCommand(context, account, backup, view.asked);
  return {
    wish,
    backup,
    chain,
    history,
    stop,
    tablespaces,
    directories,
    account,
    programs,
    restoreCommand,
    neededBytes,
  };
}

/** A link on the way would make the same directory look like two. */
async function canonical(path: string): Promise<string> {
  return await realpath(path).catch(() => path.replace(/(?<=.)\/+$/, ''));
}

async function findCandidates(context: PitrContext, wish: PitrWish) {
  const { settings, signal, log, jobs } = context;
  const names =
    settings.backup.copies.length > 0 ? settings.backup.copies : settings.stores.map((store) => store.name);
  const stores = await Promise.all(names.map(context.openStore));
  if (stores.length === 0) {
    throw new DbopsError('store_unknown', 'the configuration has no stores to restore from', {
      hint: 'Name one under "stores:", with its url (file:///path or s3://bucket/prefix).',
    });
  }
  const onProblem = (store: Store, error: DbopsError) => {
    log.warn(
      { event: 'store_not_asked', store: store.name, code: error.code },
      `store "${store.name}": ${error.message}`,
    );
  };
  return await listPhysicalBackups(stores, { system: wish.system, id: wish.id, signal, jobs, onProblem });
}

async function walStores({ settings, openStore }: PitrContext): Promise<Store[]> {
  return await Promise.all(settings.wal.copies.map(openStore));
}

function warnOfStores({ log }: PitrContext, view: WalView): void {
  for (const { store, error } of view.unasked) {
    log.warn(
      { event: 'store_not_asked', store, code: error.code },
      `store "${store}" was not asked for WAL: ${error.message}`,
    );
  }
}

/** A restore point has no time and no LSN that is known in advance: it is looked for behind each backup, the newest first. */
async function choose(
  context: PitrContext,
  wish: PitrWish,
  all: PhysicalBackup[],
  given: PhysicalBackup | undefined,
  view: WalView,
  zstd: string,
): Promise<{ backup: PhysicalBackup; history: TimelineHistory; pointLsn: bigint | undefined }> {
  const { target, timeline } = wish;
  if (target.kind !== 'name')
    return { ...chooseBackup(all, view.survey, { given, target, timeline }), pointLsn: undefined };
  const newest = chooseBackup(all, view.survey, { given, target, timeline });
  const programs = await findPrograms(context, newest.backup, false, zstd);
  const scan = scanOf(context, view, programs);
  const candidates = given === undefined ? all : [given];
  let searchedFrom: bigint | undefined;
  for (const backup of candidates.toReversed()) {
    const start = parseLsn(backup.physical.startLsn);
    if (searchedFrom !== undefined && start >= searchedFrom) continue;
    const history = historyOf(view.survey, newest.history.timeline);
    const reach = searchReach(view.survey, { backup, history });
    const pointLsn = await findRestorePoint(scan, reach, target.name, searchedFrom);
    searchedFrom = start;
    if (pointLsn === undefined) continue;
    const fits = chooseBackup(candidates, view.survey, {
      given,
      target: { kind: 'lsn', lsn: pointLsn },
      timeline,
    });
    if (fits.backup !== backup) await refuseTwice(scan, fits, target.name, pointLsn);
    return { ...fits, pointLsn };
  }
  throw new DbopsError('refused', `there is no restore point "${target.name}" in the archived WAL`, {
    detail: `searched from LSN ${formatLsn(searchedFrom ?? 0n)} on, timeline ${String(newest.history.timeline)}`,
    hint: 'Is its WAL archived yet, and is it written as in pg_create_restore_point()? Choose a time or an LSN otherwise.',
  });
}

/** The server stops at the first one of the name: from an earlier backup that may be another one than was found. */
async function refuseTwice(scan: ScanContext, choice: Choice, name: string, found: bigint): Promise<void> {
  const first = await findRestorePoint(scan, searchReach(scan.view.survey, choice), name);
  if (first === found) return;
  const places = [first, found].flatMap((lsn) => (lsn === undefined ? [] : [formatLsn(lsn)]));
  throw new DbopsError('refused', `there are several restore points "${name}" in the archived WAL`, {
    detail: `behind the start of backup ${choice.backup.id}: at LSN ${places.join(' and ')}`,
    hint: 'Say which one is meant, with --to lsn: and its position.',
  });
}

function scanOf(context: PitrContext, view: WalView, programs: PitrPrograms): ScanContext {
  const { workDirectory, jobs, log, signal } = context;
  return { view, pgWaldump: programs.pgWaldump, workDirectory, jobs, log, signal };
}

async function findPrograms(
  context: PitrContext,
  backup: PhysicalBackup,
  isChain: boolean,
  zstd: string,
): Promise<PitrPrograms> {
  const major = Math.floor(backup.manifest.server.versionNum / 10_000);
  const find = context.findTools;
  const server = await findClusterPrograms(find, major, ['postgres', 'pg_ctl']);
  const folder = dirname(server.postgres);
  const beside = (await find(['pg_waldump'])).find((tool) => dirname(tool.path) === folder);
  const links = isChain
    ? await findClusterPrograms(find, major, ['postgres', 'pg_verifybackup', 'pg_combinebackup'])
    : undefined;
  return {
    postgres: server.postgres,
    pgCtl: server.pg_ctl,
    pgWaldump: beside?.path,
    pgVerifybackup: links?.pg_verifybackup,
    pgCombinebackup: links?.pg_combinebackup,
    zstd,
    tar: await findProgram(context, 'tar', 'tar'),
    version: server.version,
  };
}

async function findProgram(context: PitrContext, name: string, debianPackage: string): Promise<string> {
  const found = (await context.findTools([name])).find((tool) => tool.version !== undefined);
  if (found !== undefined) return found.path;
  throw new DbopsError('tool_failed', `${name} is not installed on this host, and a restore needs it`, {
    hint: `Install it (Debian and Ubuntu: apt-get install ${debianPackage}), then run it again.`,
  });
}

/** The plan for people, a line each. */
export function describePlan(plan: PitrPlan): string[] {
  const { wish, backup, chain, history, stop, tablespaces, account, programs } = plan;
  const unfinished = plan.directories.filter((item) => item.state === 'unfinished').map((item) => item.path);
  return [
    `restore to ${describeTarget(wish.target)} into ${wish.dataDirectory}, as ${account.name}`,
    ...unfinished.map((path) => `remove what an unfinished restore left in ${path}`),
    ...chain.map(
      (link) =>
        `unpack ${link.manifest.kind} backup ${link.id} (${humanBytes(link.manifest.sourceBytes)}, ended ${link.physical.stoppedAt}, LSN ${link.physical.stopLsn}) from ${link.stores.map((store) => store.name).join(' or ')}`,
    ),
    ...tablespaces.map(({ name, to }) => `unpack tablespace "${name}" into ${to}`),
    `replay WAL from ${backup.physical.startWal} on timeline ${String(history.timeline)}, with PostgreSQL ${programs.version}, to ${
      stop.setting === undefined ? 'the end of the archive' : `${stop.setting.name} = '${stop.setting.value}'`
    }`,
    ...stop.notes,
  ];
}
