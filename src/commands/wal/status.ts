import os from 'node:os';
import { findDataDirectory } from '../../backup/wal/data-directory.ts';
import { lastCommitIn } from '../../backup/wal/last-commit.ts';
import { listReachable, type ReachableLine } from '../../backup/wal/reachable.ts';
import {
  findingsOf,
  lagOf,
  linesOf,
  newestSegment,
  surveyStores,
  type StoreWal,
  type TimelineLine,
  type WalLag,
} from '../../backup/wal/status.ts';
import { DbopsError } from '../../errors.ts';
import { humanBytes } from '../../output/human.ts';
import { renderTable } from '../../output/table.ts';
import { findTools } from '../../process/tools.ts';
import { getWalPosition, getWalSettings, type WalPositionRow } from '../../sql/wal.ts';
import { defineCommand, type CommandContext, type Result } from '../command.ts';
import { withWal } from './context.ts';

interface Options {
  store?: string;
  system?: string;
}

interface Server extends WalPositionRow {
  systemIdentifier: string;
}

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    { command: 'dbops wal status', about: 'gaps, lag, and what can be reached; exits 6 on a gap' },
    { command: 'dbops wal status --json', about: 'for a program' },
  ],
  declare(cmd) {
    cmd.option('--store <name>', 'look into this store alone');
    cmd.option('--system <identifier>', 'of the cluster; default: that of the database');
  },
  async run(context): Promise<Result> {
    const { options, signal, settings } = context;
    const { server, reason } = await askServer(context);
    const systemIdentifier = await systemOf(context, server, reason);
    return await withWal(context, async (wal): Promise<Result> => {
      const names = options.store === undefined ? settings.wal.copies : [options.store];
      const stores = await surveyStores(
        await Promise.all(names.map(wal.openStore)),
        systemIdentifier,
        signal,
      );
      const isSame = server !== undefined && server.systemIdentifier === systemIdentifier;
      const lag = isSame ? await lagOf(stores, systemIdentifier, server, signal) : undefined;
      const backups = await listReachable(stores, systemIdentifier, signal);
      const commit = await lastCommit(context, stores, systemIdentifier);
      const findings = findingsOf(stores, new Date());
      const timelines = stores.flatMap(linesOf);
      const archiver = isSame ? archiverOf(server) : null;
      return {
        data: {
          systemIdentifier,
          timelines,
          lag: lag ?? null,
          archiver,
          lastCommit: commit,
          backups,
          findings,
        },
        text: await render({
          systemIdentifier,
          timelines,
          lag,
          server: isSame ? server : undefined,
          commit,
          backups,
          findings,
        }),
        warnings: reason === undefined ? [] : [`lag and archiver are not known: ${reason}`],
        exitCode: findings.length === 0 ? 0 : 6,
      };
    });
  },
});

/** The server, or why it could not be asked. */
async function askServer(
  context: CommandContext<Options>,
): Promise<{ server: Server; reason: undefined } | { server: undefined; reason: string }> {
  try {
    const db = await context.connect();
    const { systemIdentifier } = await getWalSettings(db);
    return { server: { ...(await getWalPosition(db)), systemIdentifier }, reason: undefined };
  } catch (error) {
    if (!(error instanceof DbopsError) || ![3, 4].includes(error.exitCode)) throw error;
    return { server: undefined, reason: error.message };
  }
}

async function systemOf(
  { options, cwd }: CommandContext<Options>,
  server: Server | undefined,
  reason: string | undefined,
): Promise<string> {
  if (options.system !== undefined) return options.system;
  if (server !== undefined) return server.systemIdentifier;
  try {
    return (await findDataDirectory(cwd)).systemIdentifier;
  } catch {
    throw new DbopsError('usage', 'which cluster is meant is not known', {
      detail: reason,
      hint: 'Name it by --system: the folders at the top of the stores are identifiers of clusters.',
    });
  }
}

function archiverOf({
  archivedCount,
  lastArchived,
  lastArchivedAt,
  failedCount,
  lastFailed,
  lastFailedAt,
}: Server) {
  return { archivedCount, lastArchived, lastArchivedAt, failedCount, lastFailed, lastFailedAt };
}

interface Commit {
  at: Date | null;
  segment: string | null;
  /** Why it is not known. */
  unknown: string | null;
}

/** A newer pg_waldump does not read the WAL of an older server, so each that is installed is tried. */
async function lastCommit(
  { env, settings, signal }: CommandContext<Options>,
  stores: StoreWal[],
  systemIdentifier: string,
): Promise<Commit> {
  const newest = newestSegment(stores);
  if (newest === undefined) return { at: null, segment: null, unknown: 'there is no segment' };
  const { name: segment } = newest;
  const tools = await findTools(['pg_waldump'], env['PATH'] ?? '');
  if (tools.length === 0) return { at: null, segment, unknown: 'pg_waldump is not installed here' };
  const workDirectory = settings.backup.workDirectory ?? os.tmpdir();
  for (const { path: pgWaldump } of tools) {
    try {
      const at = await lastCommitIn(newest, systemIdentifier, { pgWaldump, workDirectory, signal });
      if (at !== null) return { at, segment, unknown: null };
    } catch (error) {
      if (!(error instanceof DbopsError) || signal.aborted) throw error;
    }
  }
  return { at: null, segment, unknown: `${segment} holds no commit that pg_waldump can read` };
}

async function render(shown: {
  systemIdentifier: string;
  timelines: TimelineLine[];
  lag: WalLag | undefined;
  server: Server | undefined;
  commit: Commit;
  backups: ReachableLine[];
  findings: string[];
}): Promise<string> {
  const { timelines, lag, server, commit, backups, findings } = shown;
  const time = (date: Date | null) => date?.toISOString().replace(/\.\d+Z$/, 'Z') ?? 'unknown';
  const archive = await renderTable(timelines, [
    { title: 'store', value: (line) => line.store },
    { title: 'timeline', value: (line) => String(line.timeline), align: 'right' },
    { title: 'from', value: (line) => line.startLsn ?? '-' },
    { title: 'first', value: (line) => line.first ?? '-' },
    { title: 'last', value: (line) => line.last ?? '-' },
    { title: 'segments', value: (line) => String(line.segments), align: 'right' },
    { title: 'gaps', value: (line) => String(line.gaps.length), align: 'right' },
    { title: 'stored', value: (line) => humanBytes(line.storedBytes), align: 'right' },
  ]);
  const reachable = await renderTable(backups, [
    { title: 'backup', value: (line) => line.id },
    { title: 'kind', value: (line) => line.kind },
    { title: 'reaches from', value: (line) => `${time(line.from)} (${line.fromLsn})` },
    { title: 'to', value: (line) => `${time(line.to)} (${line.toLsn})` },
  ]);
  return [
    `cluster ${shown.systemIdentifier}`,
    timelines.length === 0 ? 'no WAL is archived yet' : archive,
    `last commit in the archive: ${commit.at === null ? `unknown, ${commit.unknown ?? ''}` : `${time(commit.at)}, in ${commit.segment ?? ''}`}`,
    lag === undefined
      ? 'lag: unknown'
      : `lag: ${String(lag.segments)} segments; the newest archived one was closed ${lag.seconds === null ? 'at an unknown time' : `${String(lag.seconds)} s ago`}`,
    ...(server === undefined || server.failedCount === 0
      ? []
      : [
          `archiver: ${String(server.failedCount)} failures, the last for ${server.lastFailed ?? 'a segment'} at ${time(server.lastFailedAt)}`,
        ]),
    backups.length === 0 ? 'no base backup can be recovered from here' : reachable,
    ...findings,
  ].join('\n');
}
