import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { initScratchCluster, scratchUser } from '../../../src/backup/cluster/init.ts';
import { clusterOwner, makeOwnDirectory } from '../../../src/backup/cluster/owner.ts';
import { findClusterPrograms } from '../../../src/backup/cluster/programs.ts';
import { isRunning, startServer, type RunningServer } from '../../../src/backup/cluster/server.ts';
import type { Account } from '../../../src/process/account.ts';
import { isAlive } from '../../../src/process/daemon.ts';
import { findTools } from '../../../src/process/tools.ts';
import { serverBinaries, serverVersion, waitUntil } from '../../support/database.ts';

const major = Math.floor(serverVersion() / 10_000);
const never = new AbortController().signal;

let dir: string;
let dataDirectory: string;
let account: Account;
let postgres: string;

beforeAll(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-cluster-'));
  fs.chmodSync(dir, 0o755);
  dataDirectory = path.join(dir, 'data');
  account = await clusterOwner(dataDirectory, undefined);
  const find = (names: string[]) => findTools(names, serverBinaries());
  const programs = await findClusterPrograms(find, major, ['postgres', 'initdb']);
  postgres = programs.postgres;
  await initScratchCluster({ initdb: programs.initdb, dataDirectory, account, signal: never });
});
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

function start(signal: AbortSignal, over: Partial<Parameters<typeof startServer>[0]> = {}) {
  return startServer({ postgres, dataDirectory, account, signal, ...over });
}

async function ask(server: RunningServer, host = server.socketDirectory): Promise<string> {
  const client = new pg.Client({ host, port: server.port, user: scratchUser, database: 'postgres' });
  await client.connect();
  try {
    const { rows } = await client.query<{ answer: string }>(
      "select current_setting('listen_addresses') as answer",
    );
    return rows[0]!.answer;
  } finally {
    await client.end();
  }
}

describe('a server on a data directory of ours', () => {
  it('runs as its owner, is reached by its private socket alone, and is gone when it is stopped', async () => {
    const lines: string[] = [];
    const server = await start(never, { onLine: (line) => lines.push(line) });
    await server.ready({ isWritable: true });
    expect(await isRunning(dataDirectory)).toBe(true);
    expect(await ask(server)).toBe('');
    expect(fs.statSync(dataDirectory).uid).toBe(account.uid);
    expect(account.uid).not.toBe(0);
    expect(fs.statSync(server.socketDirectory).mode & 0o077).toBe(0);
    const owner = /^Uid:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1];
    expect(Number(owner)).toBe(account.uid);
    await server.stop();
    expect(isAlive(server.pid)).toBe(false);
    expect(await isRunning(dataDirectory)).toBe(false);
    expect(lines.join('\n')).toContain('database system is ready to accept connections');
    expect(lines.join('\n')).toContain('database system is shut down');
  });

  it('listens on loopback when it is told to', async () => {
    const server = await start(never, { loopback: { port: undefined } });
    await server.ready();
    expect(await ask(server, '127.0.0.1')).toBe('127.0.0.1');
    await server.stop();
  });

  it('ends when the run is interrupted, and says so to who waits for it', async () => {
    const abort = new AbortController();
    const server = await start(abort.signal);
    await server.ready();
    abort.abort('SIGTERM');
    await server.ended;
    expect(isAlive(server.pid)).toBe(false);
    await expect(start(abort.signal)).rejects.toMatchObject({ code: 'terminated' });
  });

  it('goes on when it was released, and an interruption does not end it then', async () => {
    const abort = new AbortController();
    const server = await start(abort.signal);
    await server.ready();
    await server.release();
    abort.abort('SIGINT');
    expect(await ask(server)).toBe('');
    process.kill(server.pid, 'SIGQUIT');
    await waitUntil(() => !isAlive(server.pid), { what: 'the end of the server' });
  });

  it('says what the server said when it does not start', async () => {
    const server = await start(never, { settings: { shared_preload_libraries: 'not_there' } });
    await expect(server.ready()).rejects.toMatchObject({
      code: 'tool_failed',
      detail: expect.stringContaining('not_there') as unknown,
    });
  });

  it('uses a socket elsewhere where the path is too long, and removes it', async () => {
    const long = path.join(dir, 'l'.repeat(120));
    fs.mkdirSync(long);
    if (process.getuid?.() === 0) fs.chownSync(long, account.uid, account.gid);
    const moved = path.join(long, 'data');
    fs.renameSync(dataDirectory, moved);
    try {
      const server = await start(never, { dataDirectory: moved });
      await server.ready();
      expect(await ask(server)).toBe('');
      await server.stop();
      expect(fs.existsSync(server.socketDirectory)).toBe(false);
    } finally {
      fs.renameSync(moved, dataDirectory);
    }
  });
});

describe('the owner of a data directory', () => {
  it('is never root, and must be a user of this host', async () => {
    await expect(clusterOwner(dataDirectory, 'root')).rejects.toMatchObject({ code: 'refused' });
    await expect(clusterOwner(dataDirectory, 'nobody_of_that_name')).rejects.toMatchObject({
      code: 'refused',
      message: expect.stringContaining('nobody_of_that_name') as unknown,
    });
  });

  it('is whoever owns it already', async () => {
    const theirs = path.join(dir, 'theirs');
    await makeOwnDirectory(theirs, account);
    expect((await clusterOwner(theirs, undefined)).uid).toBe(account.uid);
  });
});

it('names the programs of a major that is not installed', async () => {
  const find = (names: string[]) => findTools(names, serverBinaries());
  await expect(findClusterPrograms(find, 9, ['postgres', 'initdb'])).rejects.toMatchObject({
    code: 'tool_failed',
    message: 'postgres, initdb of PostgreSQL 9 is not installed on this host',
    detail: expect.stringContaining('found:') as unknown,
  });
});
