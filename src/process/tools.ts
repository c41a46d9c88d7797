import { constants } from 'node:fs';
import { access, readdir, realpath } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { execa } from 'execa';
import { DbopsError } from '../errors.ts';
import type { CopyPrograms } from './copy.ts';

/** A program of PostgreSQL's clients, or a compressor, as it was found on this host. */
export interface Tool {
  name: string;
  path: string;
  /** "15.18", as the program says; undefined when it said nothing that is a version, or could not run. */
  version: string | undefined;
  major: number | undefined;
}

const timeoutMs = 5000;

/**
 * Every place where these programs are installed: on the PATH, and in the directories of Debian and Red Hat packages,
 * which are not on it. Each is asked for its version. Nothing is thrown: what cannot be run has no version.
 */
export async function findTools(names: string[], searchPath: string): Promise<Tool[]> {
  const folders = [
    ...searchPath.split(delimiter).filter((folder) => folder !== ''),
    ...(await packagedFolders()),
  ];
  const tools = await Promise.all(
    [...new Set(await Promise.all(folders.map(realFolder)))].flatMap((folder) =>
      names.map(async (name): Promise<Tool | undefined> => {
        const path = join(folder, name);
        if (!(await isExecutable(path)) || (await isWrapper(path))) return undefined;
        const version = await versionOf(path);
        return {
          name,
          path,
          version,
          major: version === undefined ? undefined : Number.parseInt(version, 10),
        };
      }),
    ),
  );
  return tools.filter((tool) => tool !== undefined);
}

/** /bin is a link to /usr/bin on most systems. Only folders are followed: Debian's psql is a link to a wrapper. */
async function realFolder(folder: string): Promise<string> {
  return await realpath(folder).catch(() => folder);
}

/**
 * Debian's wrapper chooses a version by the cluster that it is told, at each call anew; what it would run lies in a
 * directory of its own, which is looked into anyway.
 */
async function isWrapper(path: string): Promise<boolean> {
  return (await realpath(path)).endsWith('/pg_wrapper');
}

async function packagedFolders(): Promise<string[]> {
  const debian = '/usr/lib/postgresql';
  const versions = await readdir(debian).catch(() => []);
  const redHat = (await readdir('/usr').catch(() => [])).filter((name) => /^pgsql-\d+$/.test(name));
  return [
    ...versions.map((version) => join(debian, version, 'bin')),
    ...redHat.map((name) => join('/usr', name, 'bin')),
  ];
}

async function isExecutable(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** The first number with a dot in what `--version` prints: "psql (PostgreSQL) 15.18", "*** Zstandard CLI v1.5.4". */
async function versionOf(path: string): Promise<string | undefined> {
  const result = await execa(path, ['--version'], {
    reject: false,
    timeout: timeoutMs,
    stdin: 'ignore',
  });
  // pzstd tells it on stderr; what cannot run has other numbers to tell there.
  const said = result.stdout || (result.failed ? '' : result.stderr);
  return /(\d+(?:\.\d+)+|\b\d+(?:devel|beta\d|rc\d))/.exec(said ?? '')?.[1];
}

/**
 * psql and zstd for the data plane: the newest psql that is installed, and the first zstd. Throws tool_failed naming what
 * is missing.
 */
export async function findCopyPrograms(searchPath: string): Promise<CopyPrograms> {
  const tools = (await findTools(['psql', 'zstd'], searchPath)).filter((tool) => tool.version !== undefined);
  const [psql] = tools.filter((tool) => tool.name === 'psql').sort((a, b) => (b.major ?? 0) - (a.major ?? 0));
  const zstd = tools.find((tool) => tool.name === 'zstd');
  if (psql === undefined) throw missing('psql', 'postgresql-client');
  if (zstd === undefined) throw missing('zstd', 'zstd');
  return { psql: psql.path, zstd: zstd.path };
}

/** zstd alone, for what needs no server. Throws tool_failed when it is missing. */
export async function findZstd(searchPath: string): Promise<string> {
  const found = (await findTools(['zstd'], searchPath)).find((tool) => tool.version !== undefined);
  if (found === undefined) throw missing('zstd', 'zstd');
  return found.path;
}

function missing(name: string, debianPackage: string): DbopsError {
  return new DbopsError('tool_failed', `${name} is not installed on this host, and it is needed`, {
    hint: `Install it (Debian and Ubuntu: apt-get install ${debianPackage}), then run it again; "dbops doctor" lists what is missing.`,
  });
}

/** Programs that speak with every version of the server. */
const anyMajor = new Set(['psql', 'zstd', 'tar']);

/**
 * The programs of these names that belong to a server. What dumps, loads or copies a server has to be of the server's own
 * major: an older one refuses, and a newer one writes settings that the server does not know. Of psql the newest is taken.
 * Throws tool_failed, naming the package that has what is missing.
 */
export function pickClientTools<Name extends string>(
  tools: Tool[],
  serverMajor: number,
  names: Name[],
): Record<Name, Tool> {
  const picked = names.map((name): [Name, Tool] => {
    const there = tools
      .filter((tool) => tool.name === name && tool.version !== undefined)
      .sort((a, b) => (b.major ?? 0) - (a.major ?? 0));
    // Of those on the PATH the first one counts, also where two are of one version: the sort keeps their order.
    const tool = there.find((item) => anyMajor.has(name) || item.major === serverMajor);
    if (tool === undefined) throw missingForServer(name, serverMajor, there);
    return [name, tool];
  });
  return Object.fromEntries(picked) as Record<Name, Tool>;
}

function missingForServer(name: string, serverMajor: number, there: Tool[]): DbopsError {
  if (anyMajor.has(name)) return missing(name, name === 'psql' ? 'postgresql-client' : name);
  const major = String(serverMajor);
  const found = there.map((tool) => `${tool.path} is of version ${String(tool.version)}`);
  return new DbopsError('tool_failed', `${name} of PostgreSQL ${major} is not installed on this host`, {
    detail: found.length === 0 ? undefined : found.join('\n'),
    hint: `Install it (Debian and Ubuntu: apt-get install postgresql-client-${major}, where needed from apt.postgresql.org): it has to be of the server's own major version. "dbops doctor" lists what is found.`,
  });
}
