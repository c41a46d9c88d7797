import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { DbopsError } from '../../../errors.ts';
import { humanBytes } from '../../../output/human.ts';
import { runPipeline } from '../../../process/pipeline.ts';
import { freeBytesOf } from '../../../process/work-directory.ts';
import { fetchFiles, withPlain, type FetchContext, type FetchedBackup } from '../../fetch.ts';
import type { BackupManifest, LogicalPart } from '../../manifest.ts';
import { aboutDatabase, entriesIn, statementsIn, type DumpEntry } from './script.ts';
import { databaseSetting, tablespacesIn } from './roles.ts';

/** What the files of a dump are called in a backup. */
export const schemaName = 'schema.sql.zst';
const customName = 'dump.custom.zst';
const folderName = 'dump/';
export const tocName = 'dump/toc.dat.zst';

export type DumpBackup = FetchedBackup & { manifest: BackupManifest & { logical: LogicalPart } };

export interface DumpContext extends FetchContext {
  zstd: string;
  pgRestore: string;
  jobs: number;
}

/** A dump on disk, decompressed. */
export interface Dump {
  format: LogicalPart['format'];
  /** What pg_restore takes, a directory or a file; of a plain one, what psql takes. */
  path: string;
}

/**
 * Writes a dump into a work directory, checked and decompressed. Throws refused where it would not fit, copy_damaged, or
 * what the stores throw. `wanted`: only files of the directory format for which it says so.
 */
export async function fetchDump(
  context: DumpContext,
  backup: DumpBackup,
  directory: string,
  wanted: (name: string) => boolean = () => true,
): Promise<Dump> {
  const { format } = backup.manifest.logical;
  const names = backup.manifest.files.map((file) => file.name);
  const chosen =
    format === 'directory'
      ? names.filter((name) => name.startsWith(folderName) && wanted(name))
      : [format === 'custom' ? customName : schemaName];
  const targets = chosen.map((name) => ({ name, path: localPath(directory, name), plain: true }));
  await refuseSmallWorkDirectory(backup, directory, chosen);
  await mkdir(join(directory, folderName), { recursive: true });
  await fetchFiles(context, backup, targets);
  return {
    format,
    path: format === 'directory' ? join(directory, folderName) : (targets[0]?.path ?? directory),
  };
}

/** The manifest came from a store: a name with another folder in it would be written elsewhere. */
function localPath(directory: string, name: string): string {
  const path = join(directory, name.replace(/\.zst$/, ''));
  const isOurs = [directory, join(directory, folderName)].some(
    (folder) => dirname(path) === folder.replace(/\/$/, ''),
  );
  if (isOurs && name.endsWith('.zst')) return path;
  throw new DbopsError('copy_damaged', `the manifest names a file that no dump has: ${name}`);
}

/** Rows as text are about as large as in the table; a dump says nothing of its size before it is read. */
async function refuseSmallWorkDirectory(
  backup: DumpBackup,
  directory: string,
  chosen: string[],
): Promise<void> {
  const files = backup.manifest.files.filter((file) => chosen.includes(file.name));
  const share = files.reduce((sum, file) => sum + file.sizeBytes, 0) / Math.max(1, allBytes(backup));
  const inTables = backup.manifest.logical.tables.reduce(
    (sum, table) => sum + (table.dataExcluded ? 0 : table.sizeBytes),
    0,
  );
  const neededBytes = Math.ceil(inTables * share);
  const freeBytes = await freeBytesOf(directory);
  if (freeBytes >= neededBytes) return;
  throw new DbopsError(
    'refused',
    `the work directory has ${humanBytes(freeBytes)} free, and the dump needs about ${humanBytes(neededBytes)}`,
    { detail: directory, hint: 'Name a larger place under "backup.workDirectory" of the configuration.' },
  );
}

function allBytes(backup: DumpBackup): number {
  return backup.manifest.files.reduce((sum, file) => sum + file.sizeBytes, 0);
}

/** The script with roles and tablespaces; undefined where the backup has none. */
export async function readGlobals(context: DumpContext, backup: DumpBackup): Promise<string | undefined> {
  const { globals } = backup.manifest.logical;
  return globals === null ? undefined : await withPlain(context, backup, globals, text);
}

/** What is in a dump. */
export async function listEntries(context: DumpContext, dump: Dump): Promise<DumpEntry[]> {
  return entriesIn(await runRestoreTool(context, ['-l', dump.path]));
}

/** What makes the database itself, under another name. */
export interface DatabaseStatements {
  create: string;
  /** Owner, settings, grants. */
  properties: string[];
  comment: string | undefined;
  tablespaces: string[];
}

/**
 * How the database was made, from the dump, which knows more of it than the manifest: its locale in full, its grants, the
 * settings of roles in it. `name` is quoted.
 */
export async function readDatabaseStatements(
  context: DumpContext,
  dump: Dump,
  logical: LogicalPart,
  name: string,
): Promise<DatabaseStatements> {
  if (dump.format === 'plain') return fromManifest(logical, name);
  // Without -C what belongs to the database itself is not listed.
  const entries = entriesIn(await runRestoreTool(context, ['-C', '-l', dump.path]));
  const own = entries.filter((entry) =>
    /^(DATABASE|(ACL|COMMENT|SECURITY LABEL) - DATABASE )/.test(entry.rest),
  );
  const list = join(dirname(dump.path.replace(/\/$/, '')), 'database.list');
  await writeFile(list, own.map((entry) => `${entry.line}\n`).join(''));
  const about = statementsIn(await runRestoreTool(context, ['-C', '-f', '-', '-L', list, dump.path]))
    .map((statement) => aboutDatabase(statement, name))
    .filter((statement) => statement !== undefined);
  const create = about.find((statement) => statement.startsWith('CREATE DATABASE '));
  const schema = await runRestoreTool(context, ['-s', '-f', '-', dump.path]);
  return {
    create: create ?? fromManifest(logical, name).create,
    properties: about.filter((item) => item !== create && !item.startsWith('COMMENT ON ')),
    comment: about.find((item) => item.startsWith('COMMENT ON ')),
    tablespaces: tablespacesIn(schema),
  };
}

/** CREATE DATABASE without a tablespace that is not there. */
export function withoutTablespace(create: string, there: string[]): string {
  const match = / TABLESPACE = ("(?:[^"]|"")+"|\S+)/.exec(create);
  const name = match?.[1]?.replace(/^"(.*)"$/, '$1').replaceAll('""', '"');
  return match === null || name === undefined || there.includes(name) ? create : create.replace(match[0], '');
}

function fromManifest({ databaseSettings }: LogicalPart, name: string): DatabaseStatements {
  const { encoding, collate, ctype, localeProvider, settings } = databaseSettings;
  const text = (value: string) => `'${value.replaceAll("'", "''")}'`;
  const provider = localeProvider === 'libc' ? '' : ` LOCALE_PROVIDER = ${localeProvider}`;
  return {
    create: `CREATE DATABASE ${name} WITH TEMPLATE = template0 ENCODING = ${text(encoding)}${provider} LC_COLLATE = ${text(collate)} LC_CTYPE = ${text(ctype)}`,
    properties: settings.flatMap((setting) => databaseSetting(name, setting) ?? []),
    comment: undefined,
    tablespaces: [],
  };
}

/** Runs pg_restore for what it prints. */
export async function runRestoreTool(context: DumpContext, args: string[]): Promise<string> {
  const output = await runPipeline([{ path: context.pgRestore, args }], { signal: context.signal });
  return output.toString('utf8');
}
