// A server in recovery, with the restore_command that dbops prints, while everything goes wrong in turn: it waits, it never
// opens the database early, and in the end nothing is missing.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { createServer, connect, type Server as TcpServer, type Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { absentExitCode, restoreCommand, type Installation } from '../../src/backup/wal/lines.ts';
import { pushWal } from '../../src/backup/wal/push.ts';
import { openStore } from '../../src/storage/open.ts';
import { startServer, type Server } from '../../scripts/lib/postgres-server.mjs';
import { runDbops, runProgram } from '../support/cli.ts';
import { ownDatabase, startPrivateServer, waitUntil } from '../support/database.ts';
import {
  accessDenied,
  internalError,
  startFaultProxy,
  type Fault,
  type FaultProxy,
} from '../support/fault-proxy.ts';
import { entry } from '../support/program.ts';
import { startS3, whyNoS3, type S3Server } from '../support/s3.ts';
import { privateSettings } from '../support/settings.ts';
import { archivesNothing, closeSegments, register, sharedDirectory, walContext } from '../support/wal.ts';

const noS3 = whyNoS3();

let s3: S3Server;
let proxy: FaultProxy;
let front: Front;
let primary: Server;
let base: string;
let place: string;
let system: string;
/** One row in each. */
let segments: string[];

/** A port that can be closed and opened again, in front of the proxy. */
interface Front {
  port: number;
  close: () => Promise<void>;
  open: () => Promise<void>;
}

beforeAll(async () => {
  if (noS3 !== undefined) return;
  s3 = await startS3();
  proxy = await startFaultProxy(s3.endpoint);
  front = await startFront(proxy.endpoint);
  place = sharedDirectory('recovery');
  primary = await startPrivateServer(archivesNothing);
  const { query } = ownDatabase(primary);
  await query('create table rows (segment int)');
  base = path.join(place, 'base');
  await primary.restart({ whileStopped: () => fs.cpSync(primary.dataDir, base, { recursive: true }) });
  segments = [];
  for (let made = 0; made < 10; made += 1) {
    await query(`insert into rows values (${String(made)})`);
    segments.push(...(await closeSegments(primary, 1)));
  }
  const store = await openStore(s3.settings());
  const wal = walContext([store]);
  system = await register(primary, [store]);
  const ready = fs
    .readdirSync(path.join(primary.dataDir, 'pg_wal/archive_status'))
    .flatMap((file) => (file.endsWith('.ready') ? [file.slice(0, -6)] : []))
    .sort();
  await pushWal(wal, primary.dataDir, `pg_wal/${ready[0]!}`);
  await store.close();
  fs.mkdirSync(path.join(place, 'spool'), { mode: 0o777 });
  fs.chmodSync(path.join(place, 'spool'), 0o777);
});
afterAll(async () => {
  if (noS3 !== undefined) return;
  await primary.stop();
  await front.close();
  await proxy.stop();
  await s3.stop();
});

async function startFront(target: string): Promise<Front> {
  const { hostname, port: targetPort } = new URL(target);
  const sockets = new Set<Socket>();
  let server: TcpServer;
  const front: Front = {
    port: 0,
    open: async () => {
      server = createServer((socket) => {
        const onward = connect(Number(targetPort), hostname);
        for (const [from, to] of [
          [socket, onward],
          [onward, socket],
        ] as const) {
          sockets.add(from);
          from.on('error', () => to.destroy());
          from.on('close', () => to.destroy());
          from.pipe(to);
        }
      });
      server.listen(front.port, '127.0.0.1');
      await once(server, 'listening');
      front.port = (server.address() as { port: number }).port;
    },
    close: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      if (server.listening) await once(server, 'close');
    },
  };
  await front.open();
  return front;
}

/** dbops as it is installed, with a configuration of its own; `ahead` segments are fetched in the background. */
function install(name: string, ahead: number): Installation {
  const folder = path.join(place, name);
  fs.mkdirSync(path.join(folder, 'bin'), { recursive: true });
  fs.symlinkSync(entry, path.join(folder, 'bin/dbops.js'));
  fs.writeFileSync(
    path.join(folder, 'dbops.yaml'),
    `stores:\n${s3.yaml('cold', { endpoint: `http://127.0.0.1:${String(front.port)}` })}wal: { spool: ${place}/spool, ahead: ${String(ahead)} }\n`,
  );
  return {
    node: process.execPath,
    entry: path.join(folder, 'bin/dbops.js'),
    config: path.join(folder, 'dbops.yaml'),
    spool: path.join(place, 'spool'),
    systemIdentifier: system,
  };
}

async function startRecovery(
  installation: Installation,
  settings: Record<string, string> = {},
): Promise<Server> {
  return await startServer({
    binDir: primary.binDir,
    copyOf: base,
    signalFile: 'recovery.signal',
    settings: {
      ...privateSettings,
      archive_mode: 'off',
      restore_command: restoreCommand(installation),
      ...settings,
    },
  });
}

async function rowsOf(server: Server): Promise<number> {
  const [row] = await ownDatabase(server).query<{ count: number }>('select count(*)::int as count from rows');
  return row!.count;
}

async function isInRecovery(server: Server): Promise<boolean> {
  const [row] = await ownDatabase(server).query<{ is: boolean }>('select pg_is_in_recovery() as is');
  return row!.is;
}

const asked = (name: string) => proxy.requests().filter((request) => request.key.includes(name)).length;

describe.skipIf(noS3 !== undefined)(`a server in recovery${noS3 === undefined ? '' : `: ${noS3}`}`, () => {
  it('waits through every trouble of its store, and ends up with every row', async () => {
    const faults: [number, Fault][] = [
      [2, internalError],
      [3, accessDenied],
      [4, { kind: 'answer', status: 403, code: 'InvalidAccessKeyId' }],
      [5, { kind: 'cut-response', afterBytes: 500 }],
      [6, { kind: 'alter', atByte: 500 }],
      [7, { kind: 'shorten', toBytes: 500 }],
      [8, { kind: 'hang' }],
    ];
    const lifted = new Set<string>();
    const rule = new Map(faults.map(([index, fault]) => [segments[index]!, fault]));
    proxy.decide(({ key }) => {
      const name = /([0-9A-F]{24})\.zst$/.exec(key)?.[1] ?? '';
      return lifted.has(name) ? undefined : rule.get(name);
    });
    const server = await startRecovery(install('troubles', 0));
    try {
      for (const [index, fault] of faults) {
        const name = segments[index]!;
        const wanted = fault.kind === 'hang' ? 1 : 4;
        await waitUntil(() => asked(name) >= wanted, {
          timeoutMs: 30_000,
          what: `${wanted} requests for ${name}`,
        });
        expect(await isInRecovery(server), fault.kind).toBe(true);
        // The server reads ahead of what it replays.
        expect(await rowsOf(server)).toBeLessThanOrEqual(index);
        if (fault.kind === 'hang') {
          // And then nobody listens at all.
          await front.close();
          await sleep(1000);
          expect(await isInRecovery(server)).toBe(true);
          lifted.add(name);
          await front.open();
        }
        lifted.add(name);
      }
      await waitUntil(async () => !(await isInRecovery(server)), {
        timeoutMs: 60_000,
        what: 'the end of the recovery',
      });
      expect(await rowsOf(server)).toBe(segments.length);
      expect(server.log()).toContain('is asked for again');
      // The credentials of the store are in nobody's log.
      expect(server.log()).not.toContain(s3.secretAccessKey);
    } finally {
      proxy.decide(undefined);
      await server.stop();
    }
  });

  it('gives up rather than open early when dbops is killed or gone, and goes on later', async () => {
    const installation = install('gone', 0);
    const name = segments[3]!;
    let isBroken = true;
    proxy.decide(({ key }) => (isBroken && key.includes(name) ? internalError : undefined));
    const server = await startRecovery(installation);
    const ended = (text: string) =>
      waitUntil(() => server.log().slice(seen).includes(text), { timeoutMs: 30_000, what: text });
    let seen = 0;
    try {
      proxy.forget();
      await waitUntil(() => asked(name) >= 2, { timeoutMs: 30_000, what: 'a fetch that waits' });
      process.kill(fetchProcess(installation.config!), 'SIGKILL');
      await ended('database system is shut down');
      const start = async () => {
        seen = server.log().length;
        await server.restart().catch(() => undefined);
      };
      // The bundle is missing: Node itself exits with 1.
      fs.unlinkSync(installation.entry);
      await start();
      await ended('database system is shut down');
      // It exits with 1 on its own, which is no answer either.
      fs.writeFileSync(installation.entry, 'process.exit(1)');
      await start();
      await ended('database system is shut down');
      expect(server.log()).not.toMatch(/archive recovery complete|selected new timeline/);
      fs.unlinkSync(installation.entry);
      fs.symlinkSync(entry, installation.entry);
      isBroken = false;
      await server.restart();
      await waitUntil(async () => !(await isInRecovery(server)), {
        timeoutMs: 60_000,
        what: 'the end of the recovery',
      });
      expect(await rowsOf(server)).toBe(segments.length);
    } finally {
      proxy.decide(undefined);
      await server.stop();
    }
  });

  it('ends a fetch whose server is gone, before it gets in the way of the next one', async () => {
    const installation = install('orphan', 0);
    const name = segments[4]!;
    proxy.decide(({ key }) => (key.includes(name) ? internalError : undefined));
    proxy.forget();
    const server = await startRecovery(installation);
    try {
      await waitUntil(() => asked(name) >= 2, { timeoutMs: 30_000, what: 'a fetch that waits' });
      const pid = fetchProcess(installation.config!);
      await server.kill9();
      await waitUntil(() => !fs.existsSync(`/proc/${String(pid)}`), {
        timeoutMs: 30_000,
        what: 'the end of the fetch',
      });
      proxy.decide(undefined);
      await server.restart();
      await waitUntil(async () => !(await isInRecovery(server)), {
        timeoutMs: 60_000,
        what: 'the end of the recovery',
      });
      expect(await rowsOf(server)).toBe(segments.length);
    } finally {
      proxy.decide(undefined);
      await server.stop();
    }
  });

  it('is served from what was fetched ahead, most of it without another start', async () => {
    proxy.forget();
    const server = await startRecovery(install('ahead', 64));
    try {
      await waitUntil(async () => !(await isInRecovery(server)), {
        timeoutMs: 60_000,
        what: 'the end of the recovery',
      });
      expect(await rowsOf(server)).toBe(segments.length);
    } finally {
      await server.stop();
    }
  });
});

describe.skipIf(noS3 !== undefined)('the line for restore_command', () => {
  const run = async (installation: Installation, file: string, env: Record<string, string> = {}) => {
    const target = path.join(place, 'target');
    const line = restoreCommand(installation)
      .replaceAll('%f', file)
      .replaceAll('%p', target)
      .replaceAll('%%', '%');
    return runProgram(['sh', '-c', line], { cwd: base, env });
  };

  it('says 0 for a file, 1 for one that does not exist, and 255 whatever goes wrong', async () => {
    const good = install('line', 0);
    expect((await run(good, segments[0]!)).code).toBe(0);
    const absent = await run(good, '0000000100000000000000F0');
    expect(absent.code, absent.stderr).toBe(1);
    // What the program itself says is not what PostgreSQL is told.
    expect(absentExitCode).not.toBe(1);
    expect((await run({ ...good, node: '/nonexistent/node' }, segments[0]!)).code).toBe(255);
    expect((await run({ ...good, entry: '/nonexistent/dbops.js' }, segments[0]!)).code).toBe(255);
    expect((await run({ ...good, config: '/nonexistent/dbops.yaml' }, segments[0]!)).code).toBe(255);
    expect((await run(good, 'no-such-name')).code).toBe(255);
    expect((await run(good, segments[0]!, { NODE_OPTIONS: '--no-such-option' })).code).toBe(0);
    // Without the line, too, trouble is never taken for the end of the WAL.
    const bare = async (...args: string[]) => (await runDbops(['wal', 'fetch', ...args], { cwd: base })).code;
    expect(await bare(segments[0]!)).toBe(255);
    expect(await bare(segments[0]!, 'x', '--no-such-flag')).toBe(255);
    expect(await bare(segments[0]!, 'x', '--config', '/nonexistent')).toBe(255);
  });

  it('does not believe a segment that was fetched before the server started', async () => {
    const installation = install('old', 0);
    const folder = path.join(place, 'spool', system, os.hostname(), fs.realpathSync(base), 'fetched');
    fs.mkdirSync(folder, { recursive: true });
    const file = path.join(folder, segments[1]!);
    fs.writeFileSync(path.join(base, 'postmaster.pid'), '1');
    const target = path.join(place, 'target');
    fs.writeFileSync(file, 'half');
    fs.utimesSync(file, new Date(0), new Date(0));
    expect((await run(installation, segments[1]!)).code).toBe(0);
    expect(fs.statSync(target).size).toBe(16 * 1024 ** 2);
    fs.writeFileSync(file, 'young');
    fs.utimesSync(file, new Date(Date.now() + 1000), new Date(Date.now() + 1000));
    expect((await run(installation, segments[1]!)).code).toBe(0);
    expect(fs.readFileSync(target, 'utf8')).toBe('young');
    expect(fs.existsSync(file)).toBe(false);
    fs.unlinkSync(path.join(base, 'postmaster.pid'));
  });
});

/** The dbops that runs with this configuration. */
function fetchProcess(config: string): number {
  const lines = execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' }).split('\n');
  const line = lines.find((item) => item.includes(config) && /^\s*\d+ \S*node /.test(item));
  if (line === undefined) throw new Error(`no dbops runs with ${config}`);
  return Number.parseInt(line, 10);
}
