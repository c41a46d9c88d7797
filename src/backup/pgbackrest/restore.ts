import { readdir } from 'node:fs/promises';
import { DbopsError } from '../../errors.ts';
import type { PgbackrestPart } from '../manifest.ts';
import { parseLsn } from '../wal/segment.ts';
import { pgbackrestArguments, runPgbackrest } from './run.ts';
import type { PgbackrestSite } from './site.ts';

/** Where a recovery stops. */
export type PgbackrestTarget =
  { kind: 'time' | 'lsn' | 'name'; value: string } | { kind: 'immediate' | 'latest' };

export interface PgbackrestRestore {
  part: PgbackrestPart;
  /** Empty, or not there. */
  dataDirectory: string;
  target: PgbackrestTarget;
  /** What the server does when it is there. */
  action: 'pause' | 'promote' | 'shutdown';
  /** A clone must not push its WAL into the archive that it came from. */
  archiving: 'off' | 'preserve';
  /** latest, current or a number; undefined: its own default, latest. */
  timeline: string | undefined;
  /** Directories for tablespaces by their oid or name; the others go to where they were. */
  tablespaces: Record<string, string>;
  /** A directory for those that are not named, below it; undefined: where they were. */
  otherTablespaces?: string;
}

/**
 * Lets pgBackRest restore one backup of ours, with the settings of the recovery written, ready to be started. Throws
 * refused before anything is written where the target lies before the end of the backup, or the directory is not empty.
 */
export async function restorePgbackrest(
  site: PgbackrestSite,
  wish: PgbackrestRestore,
  signal: AbortSignal,
): Promise<void> {
  checkPgbackrestTarget(wish);
  const there = await readdir(wish.dataDirectory).catch(() => []);
  if (there.length > 0) {
    throw new DbopsError('refused', `${wish.dataDirectory} is not empty`, {
      hint: 'Name an empty directory, or one that is not there, with --data-dir.',
    });
  }
  await runPgbackrest(site, 'restore', restoreOptions(site, wish), signal);
}

/** pgBackRest takes another backup than the one that was meant where the target lies before its end. Throws refused. */
export function checkPgbackrestTarget({ part, target }: PgbackrestRestore): void {
  const isBefore =
    (target.kind === 'time' && Date.parse(target.value) <= Date.parse(part.stoppedAt)) ||
    (target.kind === 'lsn' && part.stopLsn !== null && parseLsn(target.value) < parseLsn(part.stopLsn));
  if (!isBefore) return;
  throw new DbopsError('refused', `backup ${part.label} ended at ${part.stopLsn ?? ''} (${part.stoppedAt})`, {
    detail: `asked for: ${target.value}`,
    hint: 'Take an earlier backup: "dbops backup list" shows them, "dbops backup show --to" finds the right one.',
  });
}

/** The command as it is run, for a dry run. */
export function pgbackrestRestoreLine(site: PgbackrestSite, wish: PgbackrestRestore): string {
  return ['pgbackrest', ...pgbackrestArguments(site, 'restore', restoreOptions(site, wish))]
    .map(quote)
    .join(' ');
}

function restoreOptions(site: PgbackrestSite, wish: PgbackrestRestore): string[] {
  const { part, target } = wish;
  const value = 'value' in target ? [`--target=${target.value}`] : [];
  // An action is for a target; without one the recovery ends with the WAL, and the server opens.
  const action = target.kind === 'latest' ? [] : [`--target-action=${wish.action}`];
  return [
    `--pg1-path=${wish.dataDirectory}`,
    `--repo=${String(part.repositories[0] ?? 1)}`,
    `--set=${part.label}`,
    `--type=${target.kind === 'latest' ? 'default' : target.kind}`,
    ...value,
    ...action,
    ...(wish.timeline === undefined ? [] : [`--target-timeline=${wish.timeline}`]),
    `--archive-mode=${wish.archiving}`,
    `--recovery-option=restore_command=${restoreCommand(site, wish.dataDirectory)}`,
    ...(wish.otherTablespaces === undefined ? [] : [`--tablespace-map-all=${wish.otherTablespaces}`]),
    ...Object.entries(wish.tablespaces).map(([name, path]) => `--tablespace-map=${name}=${path}`),
  ];
}

/**
 * PostgreSQL takes an exit code up to 125 for the end of the WAL, and opens; archive-get ends so for any trouble. Only its 1
 * says that a segment is not there.
 */
function restoreCommand(site: PgbackrestSite, dataDirectory: string): string {
  const words = pgbackrestArguments(site, 'archive-get', [`--pg1-path=${dataDirectory}`]);
  const line = [site.path, ...words].map(quote).join(' ');
  return `${line} %f "%p"; case $? in 0) exit 0;; 1) exit 1;; *) exit 255;; esac`;
}

/** For a shell; a percent sign would be a placeholder of PostgreSQL's. */
function quote(word: string): string {
  return /^[\w./:=-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`.replaceAll('%', '%%');
}
