import { maxNameBytes } from '../../../partition/model/naming.ts';
import { DbopsError } from '../../../errors.ts';
import { ident, visible } from '../../../sql/quote.ts';
import {
  getRestoreServer,
  listAvailableExtensions,
  listDatabases,
  type DatabaseRow,
  type RestoreServerRow,
} from '../../../sql/restore-database.ts';
import type { FetchedBackup } from '../../fetch.ts';
import type { BackupManifest } from '../../manifest.ts';
import type { VerifyLevel } from './check.ts';
import type { RestoreContext, RestoreFiles } from './context.ts';
import { readGlobals, type DumpBackup } from './dump.ts';
import { chooseRestorePrograms, type RestorePrograms } from './programs.ts';
import { largeFilesOf } from './rows.ts';
import { missingRoles, type MissingRoles } from './roles.ts';
import { listAbandoned, newWorking, type Working } from './working.ts';

export interface DatabaseWish {
  /** Name of the database to make. */
  into: string | undefined;
  /** Name of the database to replace, typed once more. */
  confirm: string | undefined;
  verify: VerifyLevel;
  /** Goes on without what the server lacks. */
  partial: boolean;
}

export interface DatabasePlan {
  backup: DumpBackup;
  wish: DatabaseWish;
  programs: RestorePrograms;
  server: RestoreServerRow;
  /** The name that it has at the end. */
  target: string;
  /** What the database that has this name now is called afterwards; undefined: there is none. */
  kept: string | undefined;
  /** Sessions that are ended for that. */
  sessions: number;
  working: Working;
  roles: MissingRoles;
  /** What is done, one line each. */
  steps: string[];
  warnings: string[];
}

/**
 * Looks at the server and at the backup, and says what a restore would do. Nothing is written. Throws refused,
 * unsupported_version, privilege_missing, tool_failed.
 */
export async function planDatabase(
  context: RestoreContext,
  found: FetchedBackup & { manifest: BackupManifest },
  wish: DatabaseWish,
): Promise<DatabasePlan> {
  const backup = dumpOf(found);
  const serverMajor = refuseOlderServer(context, backup);
  const programs = await findPrograms(context, backup, serverMajor);
  const server = await getRestoreServer(context.db);
  if (!server.mayCreateDatabases) throw mayNotCreate(context);
  const databases = await listDatabases(context.db);
  const { target, kept, sessions } = placeOf(backup, wish, databases);
  const globals = await readGlobals(fetchContext(context, programs), backup);
  const roles = missingRoles(globals ?? '', server.roles);
  const warnings = [
    ...programs.warnings,
    ...(await lackOfExtensions(context, backup, wish)),
    ...lackOfRoles(backup, server, roles, wish),
  ];
  const working = newWorking('restoring');
  const abandoned = await listAbandoned(context.db, databases);
  const plan = { backup, wish, programs, server, target, kept, sessions, working, roles, warnings };
  return { ...plan, steps: describe(plan, abandoned, context.jobs) };
}

/** What fetching needs of a restore. */
export function fetchContext(context: RestoreFiles, programs: RestorePrograms) {
  const { log, signal, jobs } = context;
  return { log, signal, jobs, zstd: programs.zstd, pgRestore: programs.pgRestore };
}

/** Throws refused for a backup that is no dump of a whole database, naming the command that restores it. */
function dumpOf(found: FetchedBackup & { manifest: BackupManifest }): DumpBackup {
  const { manifest, id } = found;
  const { logical, kind } = manifest;
  if (logical !== null && (kind === 'logical' || kind === 'schema'))
    return { ...found, manifest: { ...manifest, logical } };
  const isPart = kind === 'table' || kind === 'partition';
  throw new DbopsError('refused', `backup ${id} is of kind "${kind}" and holds no whole database`, {
    hint: isPart
      ? `Restore its tables with "dbops restore table ${id} --table <schema.table> --into <schema.table>".`
      : 'Restore the cluster into a directory with "dbops restore pitr", start it, and take the database from there.',
  });
}

/** Returns the major of the server. A dump may hold what an older server does not know. */
export function refuseOlderServer(context: Pick<RestoreContext, 'db'>, backup: DumpBackup): number {
  const { versionNum, version } = context.db.server;
  const serverMajor = Math.floor(versionNum / 10_000);
  const dumpMajor = Math.floor(backup.manifest.server.versionNum / 10_000);
  if (serverMajor >= dumpMajor) return serverMajor;
  throw new DbopsError(
    'unsupported_version',
    `the backup is of PostgreSQL ${backup.manifest.server.version}, and the server is PostgreSQL ${version}, which is older`,
    { hint: 'Restore into a server of the same major or a newer one: --url names it.' },
  );
}

/** The programs that this host has for this dump and this server. Throws tool_failed. */
export async function findPrograms(
  context: Pick<RestoreFiles, 'findTools'>,
  backup: DumpBackup,
  serverMajor: number,
): Promise<RestorePrograms> {
  const { tools } = backup.manifest;
  const written = Number.parseInt(tools['pg_dump'] ?? '', 10);
  const dumpMajor = Number.isNaN(written) ? 0 : written;
  return chooseRestorePrograms(
    await context.findTools(['pg_restore', 'psql', 'zstd']),
    serverMajor,
    dumpMajor,
  );
}

function mayNotCreate(context: RestoreContext): DbopsError {
  const { user } = context.db.server;
  return new DbopsError('privilege_missing', `role "${user}" may not create databases`, {
    hint: `ALTER ROLE ${ident(user)} CREATEDB; roles and tablespaces of others need more: a superuser restores everything.`,
  });
}

/** Decides on the names, and refuses those that are taken. */
function placeOf(
  backup: DumpBackup,
  wish: DatabaseWish,
  databases: DatabaseRow[],
): Pick<DatabasePlan, 'target' | 'kept' | 'sessions'> {
  const source = backup.manifest.database ?? 'database';
  const stamp = backup.id.slice(0, 15).toLowerCase();
  const target = wish.into ?? wish.confirm ?? suffixed(source, `_restored_${stamp}`);
  const there = databases.find((row) => row.name === target);
  if (there === undefined) {
    if (wish.confirm !== undefined && wish.confirm !== target) throw otherName(wish.confirm, target);
    return { target, kept: undefined, sessions: 0 };
  }
  if (wish.confirm === undefined) {
    throw new DbopsError('refused', `database "${visible(target)}" is there already`, {
      hint: `Give another name with --into, or replace it with --confirm ${target}: it is kept under another name.`,
    });
  }
  if (wish.confirm !== target) throw otherName(wish.confirm, target);
  if (!there.isOwn) {
    throw new DbopsError('privilege_missing', `database "${visible(target)}" belongs to somebody else`, {
      hint: 'Only its owner or a superuser may rename it: connect as one of them.',
    });
  }
  if (there.prepared > 0) {
    throw new DbopsError('refused', `database "${visible(target)}" has prepared transactions`, {
      hint: 'Look at pg_prepared_xacts, then COMMIT PREPARED or ROLLBACK PREPARED: a database with one cannot be renamed.',
    });
  }
  const taken = new Set(databases.map((row) => row.name));
  let kept = suffixed(target, `_before_${stamp}`);
  for (let number = 2; taken.has(kept); number += 1)
    kept = suffixed(target, `_before_${stamp}_${String(number)}`);
  return { target, kept, sessions: there.sessions };
}

function otherName(confirm: string, target: string): DbopsError {
  return new DbopsError(
    'usage',
    `--confirm is "${visible(confirm)}", and the database to replace is "${visible(target)}"`,
    {
      hint: 'Give the name of the database that is replaced, exactly.',
    },
  );
}

/** A name with something behind it, cut where it would be too long. */
export function suffixed(name: string, suffix: string): string {
  let base = name;
  while (Buffer.byteLength(base + suffix) > maxNameBytes) {
    // Half of a character in two units is none.
    base = base.slice(0, -1).replace(/[\uD800-\uDBFF]$/, '');
  }
  return base + suffix;
}

/** Extensions that cannot be made here are refused; those of another version are told. */
async function lackOfExtensions(
  context: RestoreContext,
  backup: DumpBackup,
  wish: DatabaseWish,
): Promise<string[]> {
  const needed = backup.manifest.logical.extensions;
  const there = await listAvailableExtensions(
    context.db,
    needed.map((item) => item.name),
  );
  const missing = needed.filter((item) => !there.some((row) => row.name === item.name));
  const names = missing.map((item) => visible(item.name)).join(', ');
  if (missing.length > 0 && !wish.partial) {
    throw new DbopsError(
      'refused',
      `the server does not have the extensions that the database uses: ${names}`,
      {
        hint: 'Install their packages on the host of the server, or go on without them by --partial: what needs them is left out.',
      },
    );
  }
  return [
    ...(missing.length === 0 ? [] : [`left out, with all that needs them: extensions ${names}`]),
    ...needed.flatMap((item) => {
      const row = there.find((found) => found.name === item.name);
      return row === undefined || row.version === item.version
        ? []
        : [`extension ${visible(item.name)} will have version ${row.version}, and had ${item.version}`];
    }),
  ];
}

/** Roles that nobody can make: the backup has no globals, or they were dropped before it. */
function lackOfRoles(
  backup: DumpBackup,
  server: RestoreServerRow,
  roles: MissingRoles,
  wish: DatabaseWish,
): string[] {
  const known = new Set([...server.roles, ...roles.names, 'public', 'PUBLIC']);
  const missing = backup.manifest.logical.roles.filter((name) => !known.has(name));
  const names = missing.map((name) => `"${visible(name)}"`).join(', ');
  if (missing.length > 0 && !wish.partial) {
    throw new DbopsError('refused', `roles are missing here, and the backup cannot make them: ${names}`, {
      hint: 'Create them first, or go on without them by --partial: what they own will be yours, their grants are left out.',
    });
  }
  const { rolePasswords } = backup.manifest.logical;
  return [
    ...(missing.length === 0 ? [] : [`roles are missing: ${names}`]),
    ...(roles.names.length > 0 && !rolePasswords
      ? [`the backup has no passwords of roles: set those of ${roles.names.map(visible).join(', ')}`]
      : []),
  ];
}

function describe(plan: Omit<DatabasePlan, 'steps'>, abandoned: string[], jobs: number): string[] {
  const { backup, target, kept, working, roles, wish } = plan;
  return [
    `-- restore backup ${backup.id} of database "${visible(backup.manifest.database ?? '')}" from ${backup.stores.map((store) => store.name).join(', ')}`,
    ...abandoned.map((name) => `drop database ${ident(name)};  -- left by an interrupted restore`),
    ...roles.names.map((name) => `create role ${ident(name)};  -- with what the backup says of it`),
    `create database ${ident(working.name)} template template0;  -- encoding and locale as in the backup`,
    ...loading(plan, jobs),
    'analyze;',
    ...(wish.verify === 'none'
      ? []
      : [`-- compare ${String(backup.manifest.logical.tables.length)} tables with the backup`]),
    ...(kept === undefined
      ? [`alter database ${ident(working.name)} rename to ${ident(target)};`]
      : [
          `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${target.replaceAll("'", "''")}';  -- ${String(plan.sessions)} at the moment`,
          'begin;',
          `alter database ${ident(target)} rename to ${ident(kept)};`,
          `alter database ${ident(working.name)} rename to ${ident(target)};`,
          'commit;',
        ]),
  ];
}

function loading(
  { backup, working, programs }: Pick<DatabasePlan, 'backup' | 'working' | 'programs'>,
  jobs: number,
): string[] {
  const { format } = backup.manifest.logical;
  if (format === 'plain') return [`psql -X -f schema.sql -d ${working.name}`];
  const restore = (rest: string) => `${programs.pgRestore} -j ${String(jobs)} -d ${working.name} ${rest}`;
  if (format === 'custom') return [restore('dump.custom')];
  const large = largeFilesOf(backup).length;
  if (large === 0) return [restore('dump')];
  return [
    restore('--section=pre-data dump'),
    `zstd -d < ... | ${programs.psql} -c "copy ... from stdin with (freeze)"  -- ${String(large)} large tables, ${String(jobs)} at a time`,
    restore('--section=data --section=post-data dump  -- what is left'),
  ];
}
