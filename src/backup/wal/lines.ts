import { join } from 'node:path';

/** What the settings of a server need to call dbops, all of it absolute. */
export interface Installation {
  /** The program of Node. */
  node: string;
  /** bin/dbops.js */
  entry: string;
  /** Undefined: what is found without --config. */
  config: string | undefined;
  /** wal.spool */
  spool: string;
  systemIdentifier: string;
}

/** Says "not there" to restore_command, by `wal fetch` alone. */
export const absentExitCode = 44;

/**
 * archive_command. A mark that is younger than the segment answers without starting anything, and is used up by that.
 * Whatever goes wrong, Node missing or killed, ends in 1: the archiver asks again. Pure.
 */
export function archiveCommand(installation: Installation): string {
  return [
    `f=${marked(installation, 'pushed', '%f.ok')};`,
    'if [ "$f" -nt "%p" ] && rm "$f"; then exit 0; fi;',
    'unset NODE_OPTIONS;',
    `${program(installation)} wal push "%p"${flags(installation)} && exit 0;`,
    'exit 1',
  ].join(' ');
}

/**
 * restore_command. PostgreSQL takes 1 to 125 for "there is no such file", which ends a recovery, and gives up above that:
 * only the positive answer of every store becomes 1, and everything else, Node missing or killed, 255. A segment that was
 * fetched ahead since the server started is moved into place without starting anything; an older one may be half on disk
 * after a crash of the host. `stores`: these alone are asked. With a `deadline` (60s) trouble ends the recovery: for one
 * that nobody depends on. Pure.
 */
export function restoreCommand(installation: Installation, stores: string[] = [], deadline?: string): string {
  const until = deadline === undefined ? '' : ` --deadline ${quoted(deadline)}`;
  const chosen = stores.map((store) => ` --store ${quoted(store)}`).join('');
  return [
    `f=${marked(installation, 'fetched', '%f')};`,
    'if [ "$f" -nt postmaster.pid ] && mv -f "$f" "%p"; then exit 0; fi;',
    'unset NODE_OPTIONS;',
    `${program(installation)} wal fetch %f "%p"${chosen}${until}${flags(installation)};`,
    `case $? in 0) exit 0;; ${String(absentExitCode)}) exit 1;; *) exit 255;; esac`,
  ].join(' ');
}

function marked({ spool, systemIdentifier }: Installation, part: 'pushed' | 'fetched', file: string): string {
  // The host and the data directory are in it, so that the same line in a clone looks elsewhere.
  return `"${escaped(join(spool, systemIdentifier))}/$(uname -n)$(pwd -P)/${part}/${file}"`;
}

function program({ node, entry }: Installation): string {
  return `${quoted(node)} ${quoted(entry)}`;
}

function flags({ config }: Installation): string {
  return config === undefined ? '' : ` --config ${quoted(config)}`;
}

function quoted(text: string): string {
  return `"${escaped(text)}"`;
}

/** Within double quotes of a shell, in a setting in which PostgreSQL replaces what follows a percent sign. */
function escaped(text: string): string {
  return text.replaceAll(/[\\"$`]/g, '\\$&').replaceAll('%', '%%');
}

/** A line of postgresql.conf, in whose strings a backslash begins an escape. Pure. */
export function settingLine(name: string, value: string): string {
  return `${name} = '${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}
