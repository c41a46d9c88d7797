import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import os from 'node:os';
import { dirname } from 'node:path';
import { reachWalsender } from '../backup/create/physical/checks.ts';
import type { Settings } from '../config/settings.ts';
import { DbopsError } from '../errors.ts';
import { humanBytes } from '../output/human.ts';
import type { Db } from '../pg/connection.ts';
import type { Tool } from '../process/tools.ts';
import { freeBytesOf } from '../process/work-directory.ts';
import { getArchiver, getClusterFacts, type ArchiverRow, type ClusterFacts } from '../sql/physical.ts';
import { getWalSettings, type WalSettingsRow } from '../sql/wal.ts';
import { visible } from '../sql/quote.ts';
import { finding, ok, type Finding } from './finding.ts';

/** What each part of backups runs, on the host where it is made. */
const groups = [
  { check: 'backup.dumps', of: 'dumps', names: ['pg_dump', 'pg_dumpall', 'pg_restore'] },
  { check: 'backup.cluster', of: 'base backups', names: ['pg_basebackup', 'pg_verifybackup'] },
  { check: 'backup.recovery', of: 'recoveries and drills', names: ['postgres', 'initdb', 'pg_waldump'] },
];
const compressors = ['zstd', 'tar'];

/** The programs that are looked for where backups are configured. */
export const backupTools = [...groups.flatMap((group) => group.names), ...compressors, 'pgbackrest'];

/** Whether any file says something of backups or of WAL: whoever makes none is told nothing of them. Pure. */
export function wantsBackups({ files }: Pick<Settings, 'files'>): boolean {
  return files.some(({ settings }) => settings.backup !== undefined || settings.wal !== undefined);
}

/** The programs of backups on this host, of the server's own major version. Pure. */
export function judgeBackupTools(
  tools: Tool[],
  serverMajor: number | undefined,
  needsPgbackrest: boolean,
): Finding[] {
  const isThere = (name: string, anyMajor = false) =>
    tools.some(
      (tool) =>
        tool.name === name &&
        tool.version !== undefined &&
        (anyMajor || serverMajor === undefined || tool.major === serverMajor),
    );
  const wanted = serverMajor === undefined ? 'PostgreSQL' : `PostgreSQL ${String(serverMajor)}`;
  const missingCompressors = compressors.filter((name) => !isThere(name, true));
  const found = groups.map(({ check, of, names }) => {
    const missing = names.filter((name) => !isThere(name));
    if (missing.length === 0) return ok(check, `${names.join(', ')} of ${wanted} for ${of}`);
    const packaged = check === 'backup.recovery' ? 'postgresql' : 'postgresql-client';
    return finding(
      check,
      'warn',
      `${missing.join(', ')} of ${wanted} not found: no ${of} on this host`,
      `apt-get install ${packaged}-${String(serverMajor ?? 18)} (from apt.postgresql.org where the system has another major)`,
    );
  });
  if (missingCompressors.length > 0)
    found.push(
      finding(
        'backup.compressor',
        'crit',
        `${missingCompressors.join(', ')} not found: no backup can be made`,
        `apt-get install ${missingCompressors.join(' ')}`,
      ),
    );
  if (needsPgbackrest && !isThere('pgbackrest', true))
    found.push(
      finding(
        'backup.pgbackrest',
        'crit',
        'pgbackrest not found, and "backup.pgbackrest" is configured',
        'apt-get install pgbackrest',
      ),
    );
  return found;
}

/** Where backups and WAL go: how many stores, and the two directories of this host. */
export async function checkPlaces(settings: Settings): Promise<Finding[]> {
  const { backup, wal } = settings;
  const usesSpool = settings.files.some((file) => file.settings.wal !== undefined);
  return [
    judgeCopies(backup.copies, backup.required),
    await checkDirectory('backup.directory', backup.workDirectory ?? os.tmpdir(), 'backup.workDirectory'),
    ...(usesSpool ? [await checkDirectory('wal.spool', wal.spool, 'wal.spool')] : []),
  ];
}

/** Pure. */
export function judgeCopies(copies: string[], required: number): Finding {
  const check = 'backup.copies';
  if (copies.length === 0)
    return finding(check, 'crit', 'there is no store for backups', 'Name one below "stores:".');
  const text = `backups go to ${copies.join(', ')}; ${String(required)} of ${String(copies.length)} must have them`;
  return copies.length > 1
    ? ok(check, text)
    : finding(
        check,
        'warn',
        `${text}: one copy alone`,
        'Add a store in another place: docs/backup.md, 3-2-1.',
      );
}

async function checkDirectory(check: string, directory: string, setting: string): Promise<Finding> {
  const may = async (path: string, mode: number) =>
    await access(path, mode).then(
      () => true,
      () => false,
    );
  const isThere = await may(directory, constants.F_OK);
  // It is made when it is needed, where its parent allows that.
  const place = isThere ? directory : dirname(directory);
  if (!(await may(place, constants.W_OK | constants.X_OK)))
    return finding(
      check,
      'warn',
      `${directory} ${isThere ? 'may not be written by this user' : 'is not there and may not be made by this user'}`,
      `Make it for the user that runs dbops (for WAL: that of the server), or set ${setting}.`,
    );
  return ok(
    check,
    `${humanBytes(await freeBytesOf(place))} free in ${directory}${isThere ? '' : ', to be made'}`,
  );
}

/** Whether the cluster can be copied, and whether its WAL is archived by us. Opens a replication connection. */
export async function checkCluster(db: Db, settings: Settings): Promise<Finding[]> {
  const facts = await getClusterFacts(db);
  if (facts.managedBy !== null)
    return [
      ok(
        'backup.replication',
        `a managed service (role ${facts.managedBy}): dumps alone, its own snapshots for the cluster`,
      ),
    ];
  return [
    await checkReplication(db, settings, facts),
    judgeArchiving(await getWalSettings(db), await getArchiver(db), settings.backup.pgbackrest !== undefined),
  ];
}

async function checkReplication(db: Db, settings: Settings, facts: ClusterFacts): Promise<Finding> {
  const check = 'backup.replication';
  try {
    await reachWalsender({ db, settings }, facts);
    return ok(check, `role "${visible(db.server.user)}" may copy the cluster`);
  } catch (error) {
    if (!(error instanceof DbopsError)) throw error;
    return finding(check, 'warn', `${error.message}: no base backups`, error.hint);
  }
}

/** What becomes of the WAL of this server. Pure. */
export function judgeArchiving(
  server: Pick<WalSettingsRow, 'archiveMode' | 'archiveCommand' | 'archiveLibrary' | 'archiveTimeoutSeconds'>,
  archiver: ArchiverRow,
  isPgbackrest: boolean,
): Finding {
  const check = 'wal.archive';
  const lines = '"dbops wal commands" prints the lines for postgresql.conf.';
  const { archiveMode, archiveCommand, archiveLibrary, archiveTimeoutSeconds } = server;
  if (archiveMode === 'off')
    return finding(
      check,
      'warn',
      'archive_mode is off: a backup brings back its own moment and no later one',
      lines,
    );
  if (archiveLibrary !== '')
    return finding(
      check,
      'warn',
      `archive_library is "${visible(archiveLibrary)}", which takes the place of archive_command`,
      lines,
    );
  const isOurs = /\bwal push\b/.test(archiveCommand);
  if (!isOurs && !(isPgbackrest && archiveCommand.includes('pgbackrest')))
    return archiveCommand === ''
      ? finding(check, 'warn', 'archive_command is empty, or may not be read', lines)
      : finding(check, 'warn', 'archive_command is not that of dbops: its WAL is not in these stores', lines);
  const { lastFailed, lastFailedAt, lastArchivedAt } = archiver;
  if (lastFailedAt !== null && (lastArchivedAt === null || lastFailedAt > lastArchivedAt))
    return finding(
      check,
      'crit',
      `${visible(lastFailed ?? '')} could not be archived at ${lastFailedAt.toISOString()}, and nothing since: pg_wal grows`,
      "The server's log has the reason: a store, the configuration or the spool that the server's user cannot reach.",
    );
  if (archiveTimeoutSeconds === 0)
    return finding(check, 'warn', 'archive_timeout is 0: a quiet server archives nothing for hours', lines);
  return ok(
    check,
    `archived by ${isOurs ? 'dbops' : 'pgBackRest'}, ${lastArchivedAt === null ? 'nothing so far' : `last at ${lastArchivedAt.toISOString()}`}`,
  );
}
