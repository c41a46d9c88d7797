import fs from 'node:fs';
import { afterEach, describe, expect, inject, it } from 'vitest';
import { hasTerminal, programInTerminal, runProgram } from '../support/cli.ts';
import type { Session, TestDatabase } from '../support/database.ts';
import {
  createDatabase,
  locksOf,
  openSession,
  serverVersion,
  startPrivateServer,
  startStandby,
  waitUntil,
} from '../support/database.ts';

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function database(): Promise<TestDatabase> {
  const made = await createDatabase('support');
  cleanups.push(made.drop);
  return made;
}

async function session(url: string): Promise<Session> {
  const opened = await openSession(url);
  cleanups.push(opened.end);
  return opened;
}

describe('the server of the run', () => {
  it('answers, in a supported version and in UTC', async () => {
    const db = await database();
    const rows = await db.query<{ number: string; timezone: string }>(
      "select current_setting('server_version_num') as number, current_setting('timezone') as timezone",
    );
    expect(rows).toEqual([{ number: String(serverVersion()), timezone: 'UTC' }]);
    expect(serverVersion()).toBeGreaterThanOrEqual(140_000);
    expect(serverVersion()).toBeLessThan(190_000);
  });

  it('gives each test a database of its own', async () => {
    const [one, other] = await Promise.all([database(), database()]);
    await one.query('create table only_here (id int)');
    const exists = "select to_regclass('only_here') is not null as found";
    expect(await one.query(exists)).toEqual([{ found: true }]);
    expect(await other.query(exists)).toEqual([{ found: false }]);
  });

  it('drops a database that is in use', async () => {
    const db = await createDatabase();
    const user = await openSession(db.url);
    await db.drop();
    await expect(user.query('select 1')).rejects.toThrow();
    await expect(openSession(db.url)).rejects.toMatchObject({ code: '3D000' });
  });
});

describe('two sessions', () => {
  it('see the locks of each other, held and waited for', async () => {
    const db = await database();
    await db.query('create table held (id int)');
    const [holder, waiter] = [await session(db.url), await session(db.url)];
    await holder.begin();
    await holder.query('lock table held in share mode');
    expect(await locksOf(db, holder.pid)).toEqual([{ relation: 'held', mode: 'ShareLock', granted: true }]);

    await waiter.begin();
    const waiting = waiter.query('lock table held in access exclusive mode');
    // While a fresh session reads the catalog it holds locks there as well, hence only what it waits for.
    const queued = await waitUntil(
      async () => (await locksOf(db, waiter.pid)).find(({ granted }) => !granted),
      { what: 'the second session in the queue' },
    );
    expect(queued).toEqual({ relation: 'held', mode: 'AccessExclusiveLock', granted: false });
    await holder.query('rollback');
    await waiting;
  });

  it('waitUntil names what did not come', async () => {
    const never = waitUntil(() => false, { timeoutMs: 50, what: 'godot' });
    await expect(never).rejects.toThrow('waited 50 ms in vain for godot');
  });
});

describe('a private server', () => {
  it('takes settings, survives a crash, and leaves nothing when it is stopped', async () => {
    const server = await startPrivateServer({ work_mem: '5MB' });
    cleanups.push(server.stop);
    const { pid, dir } = server;
    expect(server.url).not.toBe(inject('postgres').url);
    const before = await session(server.url);
    expect(await before.query('show work_mem')).toEqual([{ work_mem: '5MB' }]);
    await before.query('create table kept as select 1 as id');

    await server.kill9();
    await expect(before.query('select 1')).rejects.toThrow();
    await server.restart();
    const after = await session(server.url);
    expect(await after.query('select id from kept')).toEqual([{ id: 1 }]);
    expect(server.pid).not.toBe(pid);
    expect(server.log()).toContain('database system was not properly shut down');

    const last = server.pid;
    await server.stop();
    expect(fs.existsSync(dir)).toBe(false);
    expect(() => process.kill(last, 0)).toThrow('ESRCH');
  });

  it('runs as another user when the tests run as root', async ({ skip }) => {
    skip(process.getuid?.() !== 0, 'the tests do not run as root');
    const server = await startPrivateServer();
    cleanups.push(server.stop);
    expect(fs.statSync(server.dataDir).uid).not.toBe(0);
  });

  it('says what the server log says when it cannot start', async () => {
    await expect(startPrivateServer({ no_such_setting: '1' })).rejects.toThrow('no_such_setting');
  });

  it('can have a standby that follows it', async () => {
    const primary = await startPrivateServer();
    cleanups.push(primary.stop);
    const standby = await startStandby(primary);
    cleanups.push(standby.stop);
    const [writer, reader] = [await session(primary.url), await session(standby.url)];
    await writer.query('create table followed as select 7 as id');
    expect(await reader.query('select pg_is_in_recovery() as standby')).toEqual([{ standby: true }]);
    const arrived = async (): Promise<boolean> =>
      (await reader.query("select from pg_class where relname = 'followed'")).length > 0;
    await waitUntil(arrived, { what: 'the table on the standby' });
    expect(await reader.query('select id from followed')).toEqual([{ id: 7 }]);
  });
});

describe('a program', () => {
  const environment = [process.execPath, '-p', 'Object.keys(process.env).sort().join()'];

  it('inherits nothing but what is passed', async () => {
    process.env['PGHOST'] = 'elsewhere';
    cleanups.push(async () => {
      delete process.env['PGHOST'];
      await Promise.resolve();
    });
    const { code, stdout } = await runProgram(environment, { env: { PGPORT: '1' } });
    expect(code).toBe(0);
    expect(stdout.trim().split(',')).toEqual(expect.arrayContaining(['HOME', 'PATH', 'PGPORT', 'TZ']));
    expect(stdout).not.toContain('PGHOST');
  });

  it('gets its input, and a signal when its output says so', async () => {
    const echo = "process.stdin.on('data', (d) => process.stdout.write(d)); setInterval(() => {}, 1000)";
    const signalAfter = { signal: 'SIGTERM', output: /ready/ } as const;
    const result = await runProgram([process.execPath, '-e', echo], { input: 'ready\n', signalAfter });
    expect(result).toEqual({ code: null, signal: 'SIGTERM', stdout: 'ready\n', stderr: '' });
  });

  it('is ended when it takes too long', async () => {
    const forever = [process.execPath, '-e', "console.log('still here'); setInterval(() => {}, 1000)"];
    await expect(runProgram(forever, { timeoutMs: 500 })).rejects.toThrow('did not end within 500 ms');
  });

  it('can be answered on a terminal', async ({ skip }) => {
    skip(!hasTerminal(), 'needs script from util-linux');
    const ask = `
      const { createInterface } = require('node:readline');
      const terminal = createInterface({ input: process.stdin, output: process.stdout });
      terminal.question('really? ', (answer) => {
        terminal.close();
        console.log("columns", String(process.stdout.columns), String(process.stdin.isTTY), answer);
        process.exitCode = 4;
      });`;
    const answers = [{ when: /really\?/, type: 'yes\r' }];
    const { code, output } = await programInTerminal([process.execPath, '-e', ask], { answers });
    expect(output).toContain('columns 110 true yes\n');
    expect(code).toBe(4);
  });

  it('is interrupted by Ctrl-C on a terminal', async ({ skip }) => {
    skip(!hasTerminal(), 'needs script from util-linux');
    const wait =
      "process.on('SIGINT', () => process.exit(130)); console.log('on'); setInterval(() => {}, 1000)";
    const answers = [{ when: /on/, type: '\x03' }];
    const { code } = await programInTerminal([process.execPath, '-e', wait], { answers });
    expect(code).toBe(130);
  });
});
