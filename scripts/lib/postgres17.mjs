// Gets PostgreSQL 17 with all its programs for the tests of incremental backups, which older servers cannot make. Debian 12
// and Ubuntu before 25.04 have no package of it: those of Debian 13 are installed into a directory of their own in the cache.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { cacheDirectory, describeBinaries } from './postgres-binaries.mjs';

const SUITE = 'trixie';
const PACKAGES = ['postgresql-17', 'pgbackrest', 'postgresql-17-partman'];

/** Changes with what is made of the packages, so that an older tree in the cache is not taken for it. */
const LAYOUT = 1;

/** What tells that the programs are there which the prebuilt servers from npm lack. */
const NEEDED = ['pg_basebackup', 'pg_combinebackup', 'pg_verifybackup', 'psql', 'initdb', 'postgres'];

/** What is of no use in a tree that nobody logs in to. */
const SUPERFLUOUS = [
  'var/cache/apt',
  'var/lib/apt/lists',
  'usr/share/doc',
  'usr/share/man',
  'usr/share/locale',
];

/**
 * The bin directory of a PostgreSQL 17 with all its programs, or why there is none: the one that DBOPS_TEST_PG17_BIN
 * names, that of the system, or the one in the cache.
 * @returns {{ dir: string } | { missing: string }}
 */
export function findPostgres17() {
  const named = process.env['DBOPS_TEST_PG17_BIN'];
  if (named) {
    return isComplete(named)
      ? { dir: named }
      : { missing: `DBOPS_TEST_PG17_BIN=${named} holds no PostgreSQL 17` };
  }
  const dir = ['/usr/lib/postgresql/17/bin', '/usr/pgsql-17/bin', binOf(home())].find(isComplete);
  if (dir !== undefined) return { dir };
  return {
    missing: 'needs PostgreSQL 17 with its programs: "npm run test:pg17" gets it, or set DBOPS_TEST_PG17_BIN',
  };
}

/**
 * As findPostgres17, and builds the one in the cache where there is none (a minute, once). Needs root, debootstrap and
 * patchelf, on a machine whose packages come from a mirror of Debian.
 * @returns {{ dir: string, milliseconds: number } | { missing: string }}
 */
export function preparePostgres17() {
  const started = performance.now();
  const found = findPostgres17();
  if ('dir' in found) return { ...found, milliseconds: performance.now() - started };
  const reason = process.env['DBOPS_TEST_PG17_BIN'] ? found.missing : whyNotBuilt();
  if (reason !== undefined) return { missing: reason };
  const missing = build(home());
  if (missing !== undefined) return { missing };
  return { dir: binOf(home()), milliseconds: performance.now() - started };
}

/** @returns {string | undefined} */
function whyNotBuilt() {
  const needs =
    'needs PostgreSQL 17 with its programs: set DBOPS_TEST_PG17_BIN, since it cannot be installed here';
  if (process.platform !== 'linux') return `${needs} (no Linux)`;
  if (process.getuid?.() !== 0) return `${needs} (not root)`;
  for (const program of ['debootstrap', 'patchelf']) {
    if (spawnSync(program, ['--version']).status !== 0) return `${needs} (no ${program})`;
  }
  return debianMirror() === undefined ? `${needs} (apt names no mirror of Debian)` : undefined;
}

/**
 * Built aside and renamed, so that neither a kill nor a second process leaves half a tree in use. The programs bear the
 * path that they will have.
 * @param {string} target
 * @returns {string | undefined} why it could not be built
 */
function build(target) {
  const aside = fs.mkdtempSync(path.join(cacheDirectory(), '.install-'));
  try {
    console.error(`installing PostgreSQL 17 of Debian ${SUITE} into ${target}; this takes a minute, once`);
    const tree = path.join(aside, 'root');
    const include = `--include=${PACKAGES.join(',')}`;
    const failure =
      failureOf('debootstrap', ['--variant=minbase', include, SUITE, tree, debianMirror() ?? '']) ??
      patch(tree, target);
    if (failure !== undefined) return `PostgreSQL 17 could not be installed: ${failure}`;
    for (const name of SUPERFLUOUS) fs.rmSync(path.join(tree, name), { recursive: true, force: true });
    // Another process may have been faster: its tree stays, since a server may run from it.
    if (!isComplete(binOf(target))) {
      fs.rmSync(target, { recursive: true, force: true });
      fs.renameSync(tree, target);
    }
  } catch (error) {
    if (!isComplete(binOf(target))) throw error;
  } finally {
    // What was killed while it installed may have left /proc mounted in its tree.
    spawnSync('rm', ['-rf', '--one-file-system', aside]);
  }
  return isComplete(binOf(target))
    ? undefined
    : 'PostgreSQL 17 was installed, but does not run on this machine';
}

/**
 * Lets the programs take the C library of their own tree: they were built for a newer one than that of this system.
 * @param {string} tree where it lies now
 * @param {string} target where it will lie
 * @returns {string | undefined}
 */
function patch(tree, target) {
  const libraries = [
    'usr/lib/x86_64-linux-gnu',
    'usr/lib/aarch64-linux-gnu',
    'lib64',
    'usr/lib/postgresql/17/lib',
  ];
  const loader = ['lib64/ld-linux-x86-64.so.2', 'lib/ld-linux-aarch64.so.1'].find((name) =>
    fs.existsSync(path.join(tree, name)),
  );
  if (loader === undefined) return 'the tree has no loader that is known';
  const search = libraries.map((name) => path.join(target, name)).join(':');
  const bin = binOf(tree);
  const files = [
    ...fs.readdirSync(bin).map((name) => path.join(bin, name)),
    path.join(tree, 'usr/bin/pgbackrest'),
  ];
  for (const file of files.filter(isElf)) {
    const flags = ['--set-interpreter', path.join(target, loader), '--force-rpath', '--set-rpath', search];
    const failure = failureOf('patchelf', [...flags, file]);
    if (failure !== undefined) return failure;
  }
  return undefined;
}

/** @param {string} file */
function isElf(file) {
  if (!fs.lstatSync(file).isFile()) return false;
  const head = Buffer.alloc(4);
  const handle = fs.openSync(file, 'r');
  fs.readSync(handle, head);
  fs.closeSync(handle);
  return head.toString('latin1') === '\u007fELF';
}

/** The mirror that this machine takes its own packages from; undefined where it is none of Debian. */
function debianMirror() {
  const format = '$(ORIGIN)|$(SITE)|$(RELEASE)';
  const { stdout } = spawnSync('apt-get', ['indextargets', '--format', format, 'Created-By: Packages'], {
    encoding: 'utf8',
  });
  const lines = (stdout ?? '').split('\n').map((line) => line.split('|'));
  // The security updates have a place of their own, which lacks the rest.
  return lines.find(([origin, , release = '']) => origin === 'Debian' && !release.includes('-'))?.[1];
}

/**
 * @param {string} command
 * @param {string[]} args
 * @returns {string | undefined}
 */
function failureOf(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  if (status === 0) return undefined;
  return `${command}: ${error?.message ?? `${stdout}\n${stderr}`.trim().slice(-500)}`;
}

function home() {
  return path.join(cacheDirectory(), `postgresql-17-${SUITE}-${LAYOUT}`);
}

/** @param {string} tree */
function binOf(tree) {
  return path.join(tree, 'usr/lib/postgresql/17/bin');
}

/** @param {string} dir */
function isComplete(dir) {
  return NEEDED.every((name) => fs.existsSync(path.join(dir, name))) && describeBinaries(dir)?.major === 17;
}
