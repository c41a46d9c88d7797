// Starts and stops private PostgreSQL servers, for the tests, the quickstart and the benchmark.
// Every server lives in a temporary directory, listens on a free loopback port and is stopped by its own pid.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeBinaries, othersCanEnter } from './postgres-binaries.mjs';

export {
  SUPPORTED_MAJORS,
  embeddedBinaries,
  embeddedVersion,
  findSystemBinaries,
} from './postgres-binaries.mjs';

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;

/** vitest kills a worker 500 ms after asking it to end: what is done at exit has to fit into that. */
const EXIT_TIMEOUT_MS = 300;

/** The longest path of a unix socket, less `/.s.PGSQL.65535`, on the system that allows the least. */
const SOCKET_DIR_MAX = 103 - 15;

/**
 * @typedef {object} StartOptions
 * @property {string} binDir directory of `postgres` and `initdb`
 * @property {Record<string, string>} [settings] written to postgresql.conf, so ALTER SYSTEM can override them
 * @property {number} [port] a fixed port; otherwise a free one
 * @property {string} [hba] the whole text of pg_hba.conf; otherwise everything local is trusted
 * @property {string[]} [initdbArgs] further arguments of initdb
 * @property {string} [copyOf] a stopped server's data directory, or a base backup, to copy instead of initdb
 * @property {'standby.signal' | 'recovery.signal'} [signalFile] for a copy: start it as a standby or in recovery
 */

/**
 * @typedef {object} Server
 * @property {string} url of the database `postgres`, as the superuser
 * @property {string} host
 * @property {number} port
 * @property {string} user
 * @property {string} dir everything of this server, removed by stop()
 * @property {string} dataDir
 * @property {string} socketDir
 * @property {string} binDir
 * @property {string} version such as `15.18`
 * @property {number} major
 * @property {number} pid of the postmaster; changes with restart()
 * @property {() => string} log the server's log so far
 * @property {(options?: { immediate?: boolean }) => Promise<void>} stop ends the server and removes its directory
 * @property {() => Promise<void>} kill9 ends the postmaster as a crash would; restart() recovers
 * @property {(options?: { whileStopped?: () => unknown }) => Promise<void>} restart
 * @property {() => void} leaveRunning lets the server and its directory outlive this process
 */

/**
 * What is stopped when this process ends; the value ends one server without waiting for events.
 * @type {Map<string, () => void>}
 */
const running = new Map();

/**
 * Starts a server and resolves when it accepts connections. As root it runs as the user `postgres`, or
 * `nobody`, because PostgreSQL refuses root.
 * @param {StartOptions} options
 * @returns {Promise<Server>}
 */
export async function startServer(options) {
  const binaries = describeBinaries(options.binDir);
  if (!binaries) throw new Error(`no postgres and initdb that run here in ${options.binDir}`);
  const account = serverAccount();
  if (account && !othersCanEnter(options.binDir)) {
    throw new Error(`PostgreSQL cannot run as root, and other users cannot enter ${options.binDir}`);
  }
  const dir = makeDirectory(account);
  const dataDir = path.join(dir, 'data');
  const logFile = path.join(dir, 'log');
  const post = new Postmaster(options.binDir, dir, dataDir, logFile, account);
  registerForExit(dir, () => post.endNow());
  try {
    fs.writeFileSync(logFile, '');
    if (options.copyOf) copyData(options.copyOf, dataDir, account);
    else initialise(options, dir, dataDir, account);
    configure(options, dataDir);
    await post.start(options.port);
  } catch (error) {
    await post.end('SIGQUIT').finally(() => removeDirectory(dir));
    throw error;
  }

  const host = '127.0.0.1';
  const user = 'postgres';
  return {
    url: `postgresql://${user}@${host}:${post.port}/postgres`,
    host,
    port: post.port,
    user,
    dir,
    dataDir,
    socketDir: dir,
    binDir: options.binDir,
    version: binaries.version,
    major: binaries.major,
    get pid() {
      return post.pid;
    },
    log: () => fs.readFileSync(logFile, 'utf8'),
    async stop({ immediate = false } = {}) {
      await post.end(immediate ? 'SIGQUIT' : 'SIGINT');
      removeDirectory(dir);
    },
    kill9: () => post.end('SIGKILL'),
    async restart({ whileStopped } = {}) {
      await post.end('SIGINT');
      await whileStopped?.();
      await post.start(post.port);
    },
    leaveRunning: () => void running.delete(dir),
  };
}

/** The one process of a server that we start and signal: PostgreSQL sees to its own children. */
class Postmaster {
  /** @type {import('node:child_process').ChildProcess | null} */
  #child = null;
  port = 0;

  /**
   * @param {string} binDir
   * @param {string} dir
   * @param {string} dataDir
   * @param {string} logFile
   * @param {Account | null} account
   */
  constructor(binDir, dir, dataDir, logFile, account) {
    this.program = path.join(binDir, 'postgres');
    this.dir = dir;
    this.dataDir = dataDir;
    this.logFile = logFile;
    this.account = account;
  }

  get pid() {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('this server is not running');
    return pid;
  }

  /** @param {number} [port] */
  async start(port) {
    const deadline = Date.now() + START_TIMEOUT_MS;
    for (;;) {
      this.port = port ?? (await freePort());
      const from = fs.statSync(this.logFile).size;
      if (await this.#tryStart(deadline)) return;
      const log = fs.readFileSync(this.logFile, 'utf8').slice(from);
      // Between looking for a free port and binding it somebody else may have taken it.
      const portTaken = port === undefined && log.includes('Address already in use');
      // After kill9 the orphaned backends need a moment to notice and let go of the shared memory.
      const orphans = log.includes('pre-existing shared memory block');
      if ((!portTaken && !orphans) || Date.now() > deadline) {
        throw new Error(`PostgreSQL did not start; its log ends with:\n${lastLines(log, 20)}`);
      }
      await sleep(100);
    }
  }

  /**
   * @param {number} deadline
   * @returns {Promise<boolean>} false when the server ended instead of becoming ready
   */
  async #tryStart(deadline) {
    const log = fs.openSync(this.logFile, 'a');
    const listen = ['-c', 'listen_addresses=127.0.0.1', '-c', `unix_socket_directories=${this.dir}`];
    const child = spawn(this.program, ['-D', this.dataDir, '-p', String(this.port), ...listen], {
      ...processOptions(this.dir, this.account),
      stdio: ['ignore', log, log],
      // Ctrl-C reaches the whole foreground group: the server has to outlive it until its owner decides.
      detached: true,
    });
    fs.closeSync(log);
    const failed = new Promise((_, reject) => child.once('error', reject));
    failed.catch(() => undefined);
    this.#child = child;
    child.unref();
    while (child.exitCode === null && child.signalCode === null && Date.now() < deadline) {
      if (this.#isReady()) return true;
      await Promise.race([sleep(20), failed]);
    }
    await this.end('SIGQUIT');
    return false;
  }

  /** Reads what pg_ctl reads; the pid tells a file that a crash left behind from ours. */
  #isReady() {
    const [pid, , , , , , , status = ''] = readIfThere(path.join(this.dataDir, 'postmaster.pid')).split('\n');
    return Number(pid) === this.#child?.pid && ['ready', 'standby'].includes(status.trim());
  }

  /** @param {'SIGINT' | 'SIGQUIT' | 'SIGKILL'} signal fast, immediate, crash */
  async end(signal) {
    const child = this.#child;
    if (child && child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      child.ref();
      const exited = once(child, 'exit');
      child.kill(signal);
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      await exited;
      clearTimeout(timer);
    }
    this.#child = null;
  }

  /** For the end of this process, where nothing asynchronous runs any more. */
  endNow() {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGQUIT');
    const lock = path.join(this.dataDir, 'postmaster.pid');
    for (let waitedMs = 0; fs.existsSync(lock) && waitedMs < EXIT_TIMEOUT_MS; waitedMs += 10) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
    child.kill('SIGKILL');
  }
}

/**
 * @param {StartOptions} options
 * @param {string} dir
 * @param {string} dataDir
 * @param {Account | null} account
 */
function initialise({ binDir, initdbArgs = [] }, dir, dataDir, account) {
  // The C locale is there on every system, so sort order is the same on each.
  const args = ['-D', dataDir, '-U', 'postgres', '--auth=trust', '-E', 'UTF8', '--no-locale', '--no-sync'];
  const result = spawnSync(path.join(binDir, 'initdb'), [...args, ...initdbArgs], {
    ...processOptions(dir, account),
    encoding: 'utf8',
  });
  if (result.error) throw result.error;
  if (result.status !== 0) {
    throw new Error(`initdb failed (${result.status ?? result.signal}):\n${lastLines(result.stderr, 20)}`);
  }
}

/**
 * @param {StartOptions} options
 * @param {string} dataDir
 */
function configure({ settings = {}, hba, signalFile }, dataDir) {
  const all = { timezone: 'UTC', log_timezone: 'UTC', max_connections: '100', ...settings };
  const lines = Object.entries(all).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'`);
  fs.appendFileSync(path.join(dataDir, 'postgresql.conf'), `\n${lines.join('\n')}\n`);
  if (hba !== undefined) fs.writeFileSync(path.join(dataDir, 'pg_hba.conf'), hba);
  if (signalFile) fs.writeFileSync(path.join(dataDir, signalFile), '');
}

/**
 * @param {string} from
 * @param {string} to
 * @param {Account | null} account
 */
function copyData(from, to, account) {
  fs.cpSync(from, to, { recursive: true, verbatimSymlinks: true });
  // Of the original, and would make the copy believe that it is running already.
  for (const name of ['postmaster.pid', 'postmaster.opts']) fs.rmSync(path.join(to, name), { force: true });
  fs.chmodSync(to, 0o700);
  if (!account) return;
  const { status, stderr } = spawnSync('chown', ['-R', `${account.uid}:${account.gid}`, to], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`cannot give ${to} to the server's user: ${stderr.trim()}`);
}

/** @param {Account | null} account */
function makeDirectory(account) {
  const base = [os.tmpdir(), '/tmp'].find(
    (dir) => path.join(dir, 'dbops-pg-XXXXXX').length <= SOCKET_DIR_MAX && (!account || othersCanEnter(dir)),
  );
  if (!base) throw new Error('no temporary directory that the server can use; set TMPDIR');
  const dir = fs.mkdtempSync(path.join(base, 'dbops-pg-'));
  if (account) fs.chownSync(dir, account.uid, account.gid);
  return dir;
}

/** @param {string} dir */
function removeDirectory(dir) {
  running.delete(dir);
  // Retried, because backends that outlived a crash may still write.
  fs.rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}

/**
 * The user that a server of root runs as.
 * @typedef {{ uid: number, gid: number }} Account
 * @returns {Account | null} null when this process is not root
 */
function serverAccount() {
  if (process.getuid?.() !== 0) return null;
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((flag) => {
      const { status, stdout } = spawnSync('id', [flag, name], { encoding: 'utf8' });
      return status === 0 ? Number(stdout) : Number.NaN;
    });
    if (uid && gid) return { uid, gid };
  }
  throw new Error('PostgreSQL cannot run as root, and neither the user postgres nor nobody exists');
}

/**
 * @param {string} dir
 * @param {Account | null} account
 */
function processOptions(dir, account) {
  // Somebody's PGDATA or PGPORT must not reach a private server, nor a locale change its messages.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name)),
  );
  return { cwd: dir, env: { ...env, LC_ALL: 'C', HOME: dir }, ...account };
}

/**
 * A port that nobody listens on.
 * @returns {Promise<number>}
 */
export async function freePort() {
  const listener = net.createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  listener.close();
  await once(listener, 'close');
  if (address === null || typeof address === 'string') throw new Error('the system gave no port');
  return address.port;
}

/**
 * @param {string} dir
 * @param {() => void} endNow
 */
function registerForExit(dir, endNow) {
  if (running.size === 0 && !exitRegistered) {
    exitRegistered = true;
    process.on('exit', endAll);
    for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.on(signal, onSignal);
  }
  running.set(dir, endNow);
}

let exitRegistered = false;

function endAll() {
  for (const [dir, endNow] of running) {
    endNow();
    removeDirectory(dir);
  }
}

/** @param {NodeJS.Signals} signal */
function onSignal(signal) {
  // A program with a handler of its own decides when to end; our turn is then the exit event.
  if (process.listenerCount(signal) > 1) return;
  endAll();
  process.removeListener(signal, onSignal);
  process.kill(process.pid, signal);
}

/** @param {string} file */
function readIfThere(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/**
 * @param {string} text
 * @param {number} count
 */
function lastLines(text, count) {
  return text.trim().split('\n').slice(-count).join('\n');
}
