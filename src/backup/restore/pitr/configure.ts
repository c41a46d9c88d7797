import { constants } from 'node:fs';
import { open, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import type { Readable } from 'node:stream';
import { DbopsError } from '../../../errors.ts';
import { ownAccount, type Account } from '../../../process/account.ts';
import { startChild } from '../../../process/child.ts';
import type { PhysicalPart } from '../../manifest.ts';
import type { Runner } from './context.ts';
import { rewriteTablespaceMap, type MappedTablespace } from './tablespaces.ts';

/** How the restored server is to recover. */
export interface RecoverySettings {
  /** One of recovery_target, _time, _lsn, _name; undefined: the end of the archive. */
  stop: { name: string; value: string } | undefined;
  timeline: number;
  action: 'promote' | 'pause';
  restoreCommand: string;
  /** Keeps archive_mode as it was; otherwise it is off: a clone must not push into the archive of its source. */
  keepsArchiving: boolean;
  port: number | undefined;
}

/** Settings that ALTER SYSTEM may have left: of a recovery from before, and files of the source. */
const recoveryName =
  /^(recovery_\w+|restore_command|archive_cleanup_command|primary_conninfo|primary_slot_name|external_pid_file|data_directory|hba_file|ident_file)$/;
/**
 * What connects to other servers by itself: a subscription would take the changes of its publisher away from the source,
 * and jobs would run twice. The second one means nothing where pg_cron is not loaded.
 */
const quietSettings: [string, string][] = [
  ['max_logical_replication_workers', '0'],
  ['cron.launch_active_jobs', 'off'],
];
/** As long as hot_standby is on, a recovery needs these at least as large as its source had them. */
const atLeastSource = [
  'max_connections',
  'max_worker_processes',
  'max_wal_senders',
  'max_prepared_transactions',
  'max_locks_per_transaction',
];
/** Two targets of a recovery are refused by the server, and the file of another server's process id is not ours to write. */
const ofSource = [
  'external_pid_file',
  ...['recovery_target', 'recovery_target_time', 'recovery_target_lsn', 'recovery_target_name'],
  'recovery_target_xid',
];
const autoFile = 'postgresql.auto.conf';

/**
 * Makes a data directory that was unpacked ready for its recovery: recovery.signal, exactly one target, tablespaces where
 * they are now, and the files of a configuration that lies elsewhere on its source (Debian). backup_label stays as it is.
 * Throws tool_failed when the server cannot read its configuration.
 */
export async function configureRecovery(
  runner: Runner,
  dataDirectory: string,
  physical: PhysicalPart,
  tablespaces: MappedTablespace[],
  recovery: RecoverySettings,
): Promise<void> {
  const { account } = runner;
  const at = (name: string) => join(dataDirectory, name);
  // A backup of a standby would become one again, and recovery.conf keeps a server from starting.
  for (const name of ['standby.signal', 'recovery.conf', 'postmaster.pid', 'postmaster.opts'])
    await rm(at(name), { force: true });
  if (tablespaces.length > 0)
    await writeOwn(at('tablespace_map'), rewriteTablespaceMap(tablespaces), account);
  await completeFiles(dataDirectory, physical, account);
  // What stands there wins over postgresql.conf: it goes before anything is looked at.
  const auto = withoutRecovery(await readFile(at(autoFile), 'utf8').catch(() => ''));
  await writeOwn(at(autoFile), auto, account);
  await keepInside(runner, dataDirectory);
  await writeOwn(at(autoFile), auto + render(recoveryLines(recovery)), account);
  const larger: [string, string][] = [];
  for (const name of atLeastSource) {
    const source = Number(physical.settings[name] ?? 0);
    if (source > Number(await configured(runner, dataDirectory, name))) larger.push([name, String(source)]);
  }
  await writeOwn(at(autoFile), render(larger), account, constants.O_APPEND);
  await writeOwn(at('recovery.signal'), '', account);
}

/** Lets a cluster that something else has restored connect to no other server by itself. */
export async function quietCluster(dataDirectory: string, account: Account): Promise<void> {
  await writeOwn(join(dataDirectory, autoFile), render(quietSettings), account, constants.O_APPEND);
}

/** Takes the settings of a recovery that is over out again: a later standby would stop at its target. */
export async function forgetRecovery(dataDirectory: string, account: Account): Promise<void> {
  const file = join(dataDirectory, autoFile);
  await writeOwn(file, withoutRecovery(await readFile(file, 'utf8')), account);
}

/** On Debian the configuration lies in /etc/postgresql, and is not in the backup. */
async function completeFiles(dataDirectory: string, physical: PhysicalPart, account: Account): Promise<void> {
  const files: Record<string, string> = {
    'postgresql.conf': `# This cluster came without its configuration: what its recovery needs is in ${autoFile}.\n${render(
      Object.entries(physical.settings).filter(([name]) => [...atLeastSource, 'wal_level'].includes(name)),
    )}`,
    'pg_hba.conf':
      '# This cluster came without its pg_hba.conf: users of the operating system are let in as themselves.\nlocal all all peer\n',
    'pg_ident.conf': '',
  };
  for (const [name, content] of Object.entries(files)) {
    const file = join(dataDirectory, name);
    const isThere = await stat(file).then(
      () => true,
      () => false,
    );
    if (!isThere) await writeOwn(file, content, account);
  }
}

/** A configuration may name its source's own files and directory: a server started on them would be the source. */
async function keepInside(runner: Runner, dataDirectory: string): Promise<void> {
  const own: [string, string][] = [
    ['data_directory', dataDirectory],
    ['hba_file', join(dataDirectory, 'pg_hba.conf')],
    ['ident_file', join(dataDirectory, 'pg_ident.conf')],
  ];
  const wrong: [string, string][] = [];
  for (const [name, path] of own) {
    if ((await configured(runner, dataDirectory, name)) !== path) wrong.push([name, path]);
  }
  for (const name of ofSource) {
    if ((await configured(runner, dataDirectory, name)) !== '') wrong.push([name, '']);
  }
  if (wrong.length === 0) return;
  const file = join(dataDirectory, 'postgresql.conf');
  const lines = `\n# Of the restore: they named what belongs to the source of this cluster.\n${render(wrong)}`;
  await writeOwn(file, lines, runner.account, constants.O_APPEND);
}

/** What the server would take for a setting. Throws tool_failed with its words when it cannot read its configuration. */
async function configured(runner: Runner, dataDirectory: string, name: string): Promise<string> {
  const child = startChild(runner.programs.postgres, ['-D', dataDirectory, '-C', name], {
    account: runner.account,
    cwd: dataDirectory,
    env: { LC_ALL: 'C' },
  });
  const words = readText(child.process.stdout as Readable);
  words.catch(() => undefined);
  await child.finished.catch((error: unknown) => {
    if (!(error instanceof DbopsError)) throw error;
    throw new DbopsError('tool_failed', `the server cannot read its configuration in ${dataDirectory}`, {
      detail: error.detail ?? error.message,
      hint: 'Where a file is missing that it includes by an absolute path, put that file there on this host, then run the same command again. It unpacks anew: what is changed in the data directory itself is lost by that.',
      cause: error,
    });
  });
  return (await words).replace(/\n$/, '');
}

function recoveryLines(recovery: RecoverySettings): [string, string][] {
  return [
    ['restore_command', recovery.restoreCommand],
    ...(recovery.stop === undefined ? [] : [[recovery.stop.name, recovery.stop.value] as [string, string]]),
    ['recovery_target_timeline', String(recovery.timeline)],
    ['recovery_target_action', recovery.action],
    ['recovery_target_inclusive', 'on'],
    ['recovery_min_apply_delay', '0'],
    ['recovery_end_command', ''],
    ['archive_cleanup_command', ''],
    // Only a server that can be looked at can wait to be looked at.
    ...(recovery.action === 'pause' ? [['hot_standby', 'on'] as [string, string]] : []),
    ...(recovery.keepsArchiving ? [] : [['archive_mode', 'off'] as [string, string], ...quietSettings]),
    ...(recovery.port === undefined ? [] : [['port', String(recovery.port)] as [string, string]]),
  ];
}

/** Lines of a configuration file. Pure. */
function render(settings: [string, string][]): string {
  return settings
    .map(([name, value]) => `${name} = '${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'\n`)
    .join('');
}

/** The lines of a configuration file that say nothing of a recovery. Pure. */
export function withoutRecovery(text: string): string {
  const lines = text.split('\n').filter((line) => {
    const name = /^\s*([A-Za-z_]+)\s*[= ]/.exec(line)?.[1]?.toLowerCase();
    return name === undefined || !recoveryName.test(name);
  });
  const kept = lines.join('\n');
  return kept === '' || kept.endsWith('\n') ? kept : `${kept}\n`;
}

/** Through no link: the user of the server may have laid one, and we may be root. */
async function writeOwn(
  file: string,
  content: string,
  account: Account,
  how: number = constants.O_TRUNC,
): Promise<void> {
  const { O_WRONLY, O_CREAT, O_NOFOLLOW } = constants;
  const handle = await open(file, O_WRONLY | O_CREAT | O_NOFOLLOW | how, 0o600);
  try {
    await handle.writeFile(content);
    if (ownAccount().uid !== account.uid) await handle.chown(account.uid, account.gid);
  } finally {
    await handle.close();
  }
}
