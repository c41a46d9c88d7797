// Servers that cannot be worked with, and output that nobody reads: one clear message, the right exit code.
import fs from 'node:fs';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runProgram, type CliResult } from '../support/cli.ts';
import {
  createDatabase,
  openSession,
  startPrivateServer,
  startStandby,
  type TestDatabase,
} from '../support/database.ts';
import { catalogOf, invocation, runEnsure, type EnsureRun, type TableEntry } from '../support/ensure.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase('ensure_servers');
  await db.query(`create table orders (at timestamptz) partition by range (at);
    create table orders_a partition of orders for values from ('2026-11-01') to ('2026-12-01')`);
});

afterAll(() => db.drop());

async function refused(
  tables: TableEntry[],
  code: number,
  words: string[],
  run: EnsureRun = {},
): Promise<CliResult> {
  const before = await catalogOf(db);
  const result = await runEnsure(db, tables, run);
  for (const word of words) expect(result.stderr).toContain(word);
  expect(result.stderr.match(/^dbops: /gm)).toHaveLength(1);
  expect(result.stderr).not.toMatch(/\n {4}at /);
  expect(result.stdout).toBe('');
  expect(result.code).toBe(code);
  expect(await catalogOf(db)).toEqual(before);
  return result;
}

describe('servers', () => {
  const entry = { table: 'orders', key: 'at', interval: 'month' };

  it('that are read-only', async () => {
    await db.query(`alter database "${db.name}" set default_transaction_read_only = on`);
    try {
      await refused([entry], 4, ['read-only', 'default_transaction_read_only']);
    } finally {
      await db.query('set transaction_read_only = off').catch(() => undefined);
      const other = await db.connect();
      await other.query('set session characteristics as transaction read write');
      await other.query(`alter database "${db.name}" reset default_transaction_read_only`);
    }
  });

  it('that refuse the connection, or never answer, or do not exist', async () => {
    const free = net.createServer();
    await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve));
    const { port } = free.address() as net.AddressInfo;
    free.close();
    const refusedRun = await runEnsure({ url: `postgresql://me@127.0.0.1:${String(port)}/x` }, [entry]);
    expect(refusedRun.code).toBe(3);
    expect(refusedRun.stderr).toContain(`cannot connect to 127.0.0.1:${String(port)}/x`);
    expect(refusedRun.stderr).toContain('Is the server running');

    const silent = net.createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const silentPort = (silent.address() as net.AddressInfo).port;
    const timed = await runEnsure({ url: `postgresql://me@127.0.0.1:${String(silentPort)}/x` }, [entry], {
      env: { PGCONNECT_TIMEOUT: '1' },
    });
    silent.close();
    expect(timed.code).toBe(3);
    expect(timed.stderr).toContain(`cannot connect to 127.0.0.1:${String(silentPort)}/x`);

    const unknown = await runEnsure({ url: 'postgresql://me@no-such-host.invalid/x' }, [entry]);
    expect(unknown.code).toBe(3);
    expect(unknown.stderr).toContain('no-such-host.invalid');
  });

  it('that have no such database', async () => {
    const url = new URL(db.url);
    url.pathname = '/no_such_database';
    const run = await runEnsure({ url: url.href }, [entry]);
    expect(run.code).toBe(3);
    expect(run.stderr).toContain('no_such_database');
  });

  /**
   * PostgreSQL 13 and 19 cannot be had here. The one stand-in of these tests: a relay in front of the real server that
   * changes the version in the answer to the first statement, digits for digits.
   */
  it.each([
    ['13.22', '130022'],
    ['19.0', '190000'],
  ])('of version %s', async (_, number) => {
    const { hostname, port } = new URL(db.url);
    const [real] = await db.query<{ n: string }>("select current_setting('server_version_num') as n");
    const relay = net.createServer((client) => {
      const server = net.connect(Number(port), hostname);
      client.pipe(server);
      server.on('data', (data) => {
        client.write(Buffer.from(data.toString('latin1').replaceAll(real!.n, number), 'latin1'));
      });
      for (const socket of [client, server]) socket.on('error', () => undefined);
      server.on('close', () => client.destroy());
      client.on('close', () => server.destroy());
    });
    await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
    const url = new URL(db.url);
    url.hostname = '127.0.0.1';
    url.port = String((relay.address() as net.AddressInfo).port);
    await refused([entry], 4, ['dbops works with 14 to 18'], { env: { DATABASE_URL: url.href } });
    relay.close();
  });

  it('that are a standby, or want another password', async () => {
    const primary = await startPrivateServer();
    try {
      const admin = await openSession(primary.url);
      await admin.query('create table orders (at timestamptz) partition by range (at)');
      await admin.query("set password_encryption = 'scram-sha-256'");
      await admin.query("create role locked login password 'right'");
      const standby = await startStandby(primary);
      const onStandby = await runEnsure({ url: standby.url }, [entry]);
      const planned = await runEnsure({ url: standby.url }, [entry], { args: ['--dry-run'] });
      await standby.stop({ immediate: true });
      expect(onStandby.code).toBe(4);
      expect(onStandby.stderr).toContain('is on a standby, where nothing can be changed');
      expect(planned.code).toBe(0);

      fs.writeFileSync(`${primary.dataDir}/pg_hba.conf`, 'host all all all scram-sha-256\n');
      await primary.restart();
      const url = new URL(primary.url);
      url.username = 'locked';
      url.password = 'wrong secret';
      const wrong = await runEnsure({ url: url.href }, [entry]);
      expect(wrong.code).toBe(3);
      expect(wrong.stderr).toContain('password authentication failed');
      expect(wrong.stderr).not.toMatch(/wrong.{1,3}secret/);
      url.password = '';
      const none = await runEnsure({ url: url.href }, [entry]);
      expect(none.code).toBe(3);
      expect(none.stderr).toContain('PGPASSWORD');
    } finally {
      await primary.stop({ immediate: true });
    }
  });
});

const entryPoint = fileURLToPath(new URL('../../bin/dbops.js', import.meta.url));

describe('output that nobody reads', () => {
  it('with the pipe closed at once ends with 0 and without a stack', async () => {
    const { cwd, env } = invocation(db.url, [
      { table: 'orders', key: 'at', interval: 'month', premake: 600 },
    ]);
    const shell = `set -o pipefail; "${process.execPath}" "${entryPoint}" partition ensure --dry-run --json | head -c1`;
    const run = await runProgram(['bash', '-c', shell], { cwd, env });
    expect(run.stdout).toBe('{');
    expect(run.stderr).not.toMatch(/\n {4}at |EPIPE/);
    expect(run.code).toBe(0);
  });

  it('read slowly is written whole; a reader that leaves ends the wait', async () => {
    const { cwd, env } = invocation(db.url, [
      { table: 'orders', key: 'at', interval: 'month', premake: 600 },
    ]);
    const command = `"${process.execPath}" "${entryPoint}" partition ensure --dry-run --json`;
    const slow = await runProgram(['bash', '-c', `set -o pipefail; ${command} | (sleep 2; cat)`], {
      cwd,
      env,
    });
    expect(slow.code).toBe(0);
    const document = JSON.parse(slow.stdout) as { data: { changes: unknown[] } };
    expect(document.data.changes).toHaveLength(1200);
    expect(slow.stdout.length).toBeGreaterThan(200_000);
    const gone = await runProgram(
      ['bash', '-c', `${command} | (sleep 2; exec true); echo "$\{PIPESTATUS[0]}"`],
      { cwd, env },
    );
    expect(gone.stdout).toBe('0\n');
  });
});
