// What the tests need before they can run: the packages of the lock file, a PostgreSQL with client tools, an S3 server.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { findSystemBinaries } from './postgres-binaries.mjs';
import { projectRoot, run } from './run.mjs';
import { versitygw } from './versitygw.mjs';

const COMPOSE_URL = 'postgresql://postgres:postgres@127.0.0.1:54329/postgres';
const COMPOSE_S3 = {
  DBOPS_TEST_S3_ENDPOINT: 'http://127.0.0.1:57070',
  DBOPS_TEST_S3_ACCESS_KEY_ID: 'dbops-test',
  DBOPS_TEST_S3_SECRET_ACCESS_KEY: 'dbops-test-secret',
};

const POSTGRESQL_15 = ['postgresql-15', 'postgresql-client-15'];
const POSTGRESQL_OF_THE_SYSTEM = ['postgresql', 'postgresql-client'];

const HOW_TO_GET_POSTGRESQL = `The tests need PostgreSQL 14 to 18 with its client tools (psql, pg_dump). Any one of these will do:
  Debian, Ubuntu    sudo apt-get install postgresql postgresql-client
  Fedora, RHEL      sudo dnf install postgresql-server postgresql-contrib postgresql
  macOS             brew install postgresql@17
  Docker            start the Docker engine; docker-compose.yml is used then
  DBOPS_TEST_PG_BIN the bin directory of a server that you have
  DBOPS_TEST_URL    a running server that the tests may create databases in, as a superuser
The unit tests alone need none of it: npm run test:unit`;

/** Whether node_modules holds what package-lock.json asks for. */
export function packagesAreInstalled() {
  const wanted = lockedPackages('package-lock.json');
  const present = lockedPackages(path.join('node_modules', '.package-lock.json'));
  if (!wanted || !present) return false;
  // Optional packages of other platforms stand in the lock file and are rightly absent.
  const complete = Object.entries(wanted).every(
    ([name, entry]) =>
      name === '' || (present[name] ? sameVersion(entry, present[name]) : entry.optional === true),
  );
  return complete && Object.keys(present).every((name) => name in wanted);
}

/**
 * Whether dist/ was built after the last change of what it is built from. Building again for nothing would take the
 * program from under whoever runs it at the time.
 */
export function bundleIsCurrent() {
  const built = modified('dist/THIRD-PARTY-NOTICES.txt');
  const sources = fs
    .readdirSync(path.join(projectRoot, 'src'), { recursive: true, encoding: 'utf8' })
    .map((name) => path.join('src', name));
  return ['package.json', 'package-lock.json', 'scripts/build.mjs', ...sources].every(
    (file) => modified(file) < built,
  );
}

/** @param {string} file */
function modified(file) {
  return fs.statSync(path.join(projectRoot, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/**
 * Makes sure there is a PostgreSQL to test with, installing one where that is ours to do.
 * @returns {Promise<{ env: Record<string, string>, release: () => Promise<void> }>} what the tests need in
 *   their environment, and what to call after them
 */
export async function preparePostgres() {
  const nothingToRelease = { env: {}, release: async () => undefined };
  if (process.env['DBOPS_TEST_URL']) return nothingToRelease;
  if (canInstallPackages()) await installWithApt();
  if (findSystemBinaries()?.clients) return nothingToRelease;
  if (dockerWorks()) return startCompose();
  throw new Error(HOW_TO_GET_POSTGRESQL);
}

async function installWithApt() {
  if (process.env['DBOPS_TEST_PG_BIN']) return;
  const needsServer = !findSystemBinaries()?.clients;
  // What the package lists do not have is not asked for on every run.
  const listsAreThere = isKnown('postgresql-common');
  const extras = missingExtras().filter((name) => !listsAreThere || isKnown(name));
  if (!needsServer && extras.length === 0) return;

  console.log('installing what the tests need with apt-get ...');
  await withoutStartingServices(async () => {
    // Lists that cannot be fetched are no reason to stop: those that are there may be enough.
    await aptGet(['update']);
    if (needsServer) await aptInstall(isKnown('postgresql-15') ? POSTGRESQL_15 : POSTGRESQL_OF_THE_SYSTEM);
    for (const name of missingExtras()) {
      // One at a time, so that one which cannot be had does not keep the other out.
      if (!isKnown(name) || (await aptInstall([name])) !== 0) {
        console.log(`${name} could not be installed: the tests that need it are skipped`);
      } else if (name === 'pgbouncer') {
        // The tests start their own; that of the system would otherwise come up at the next boot.
        succeeds('systemctl', ['disable', 'pgbouncer']);
      }
    }
  });
}

/** What dbops runs or has to get along with; tests that need them are skipped where they are missing. */
function missingExtras() {
  const major = findSystemBinaries()?.major ?? 15;
  const programs = ['zstd', 'pgbouncer', 'pgbackrest', 'debootstrap', 'patchelf'];
  return [...programs, `postgresql-${major}-partman`].filter((name) => !isInstalled(name));
}

/**
 * Debian starts a cluster and services as soon as they are installed. The tests start their own and must
 * not leave others behind, so both are prevented, for the time of the installation only.
 * @param {() => Promise<void>} install
 */
async function withoutStartingServices(install) {
  /** @type {string[]} */
  const made = [];
  try {
    makeFile(
      '/etc/postgresql-common/createcluster.d/dbops-test.conf',
      'create_main_cluster = false\n',
      0o644,
      made,
    );
    makeFile('/usr/sbin/policy-rc.d', '#!/bin/sh\nexit 101\n', 0o755, made);
    await install();
  } finally {
    for (const place of made.reverse()) {
      if (!fs.statSync(place, { throwIfNoEntry: false })?.isDirectory()) fs.rmSync(place, { force: true });
      else if (fs.readdirSync(place).length === 0) fs.rmdirSync(place);
    }
  }
}

/**
 * Makes a file and the directories above it, unless it is there; notes what it made.
 * @param {string} file
 * @param {string} text
 * @param {number} mode
 * @param {string[]} made
 */
function makeFile(file, text, mode, made) {
  if (fs.existsSync(file)) return;
  const missing = [];
  for (let dir = path.dirname(file); !fs.existsSync(dir); dir = path.dirname(dir)) missing.unshift(dir);
  for (const dir of missing) {
    fs.mkdirSync(dir);
    made.push(dir);
  }
  fs.writeFileSync(file, text, { mode });
  made.push(file);
}

/**
 * Makes sure there is an S3 server to test with: versitygw is built where there is Go, else started by Docker. Without
 * either the tests that need one are skipped, each with the reason.
 * @returns {Promise<{ env: Record<string, string>, release: () => Promise<void> }>} as preparePostgres
 */
export async function prepareS3() {
  const nothingToRelease = { env: {}, release: async () => undefined };
  if (process.env['DBOPS_TEST_S3_ENDPOINT']) return nothingToRelease;
  if ('program' in versitygw() || !dockerWorks()) return nothingToRelease;
  const service = [...compose, '--profile', 's3'];
  const release = async () => {
    await run('docker', [...service, 'rm', '--stop', '--force', '--volumes', 's3']);
  };
  if ((await run('docker', [...service, 'up', '-d', 's3'])) !== 0) return nothingToRelease;
  return { env: COMPOSE_S3, release };
}

const compose = ['compose', '-f', path.join(projectRoot, 'docker-compose.yml')];

async function startCompose() {
  if ((await run('docker', [...compose, 'up', '-d', '--wait'])) !== 0) throw new Error(HOW_TO_GET_POSTGRESQL);
  const release = async () => {
    await run('docker', [...compose, 'down', '--volumes']);
  };
  return { env: { DBOPS_TEST_URL: COMPOSE_URL }, release };
}

/** @param {string[]} names */
function aptInstall(names) {
  return aptGet(['install', '-y', '--no-install-recommends', ...names]);
}

/** @param {string[]} args */
function aptGet(args) {
  // Without a pseudo terminal dpkg leaves its progress out of logs.
  return run('apt-get', ['-qq', '-o', 'Dpkg::Use-Pty=0', ...args], { DEBIAN_FRONTEND: 'noninteractive' });
}

function canInstallPackages() {
  return process.getuid?.() === 0 && succeeds('apt-get', ['--version']);
}

function dockerWorks() {
  return succeeds('docker', ['compose', 'version']) && succeeds('docker', ['info']);
}

/** @param {string} name of a Debian package */
function isInstalled(name) {
  const { stdout } = spawnSync('dpkg-query', ['-W', '-f=${db:Status-Status}', name], { encoding: 'utf8' });
  return stdout === 'installed';
}

/** @param {string} name of a Debian package */
function isKnown(name) {
  const { stdout } = spawnSync('apt-cache', ['policy', name], { encoding: 'utf8' });
  return /Candidate: [^(]/.test(stdout);
}

/**
 * @param {string} command
 * @param {string[]} args
 */
function succeeds(command, args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/**
 * @typedef {{ version?: string, integrity?: string, optional?: boolean }} LockedPackage
 * @param {string} file
 * @returns {Record<string, LockedPackage> | null}
 */
function lockedPackages(file) {
  try {
    return JSON.parse(fs.readFileSync(path.join(projectRoot, file), 'utf8')).packages;
  } catch {
    return null;
  }
}

/**
 * @param {LockedPackage} a
 * @param {LockedPackage} b
 */
function sameVersion(a, b) {
  return a.version === b.version && a.integrity === b.integrity;
}
