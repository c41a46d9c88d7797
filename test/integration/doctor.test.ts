import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { runDbops } from '../support/cli.ts';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../support/database.ts';

interface Finding {
  check: string;
  status: string;
  text: string;
  hint?: string;
}

const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function database(): Promise<TestDatabase> {
  const made = await createDatabase('doctor');
  cleanups.push(made.drop);
  return made;
}

function folder(): string {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-doctor-'));
  cleanups.push(() => fs.rmSync(made, { recursive: true, force: true }));
  return made;
}

async function doctor(
  url: string,
  yaml = '',
): Promise<{ code: number | null; findings: Finding[]; text: string }> {
  const cwd = folder();
  fs.writeFileSync(path.join(cwd, 'dbops.yaml'), yaml);
  const { code, stdout, stderr } = await runDbops(['doctor', '--json'], { cwd, env: { DATABASE_URL: url } });
  expect(stdout, stderr).not.toBe('');
  const { data } = JSON.parse(stdout) as { data: { findings: Finding[] } };
  return { code, findings: data.findings, text: JSON.stringify(data.findings, null, 1) };
}

const status = (findings: Finding[], check: string) => findings.find((item) => item.check === check)?.status;

const twoTables = `partitions:
  - { table: app.a, key: at, interval: month }
  - { table: app.b, key: at, interval: month }
`;

async function withTables(): Promise<TestDatabase> {
  const made = await database();
  await made.query('create schema app');
  await made.query('create table app.target (id int primary key)');
  for (const name of ['a', 'b']) {
    await made.query(
      `create table app.${name} (at date not null, target int references app.target) partition by range (at)`,
    );
  }
  return made;
}

describe('doctor', () => {
  it('finds nothing critical for a superuser, and prints a line for each thing', async () => {
    const made = await withTables();
    const { code, findings, text } = await doctor(made.url, twoTables);
    expect(code, text).toBe(0);
    for (const check of [
      'host.node',
      'server.version',
      'server.writable',
      'server.pooler',
      'server.clock',
      'server.wal_level',
      'privilege.state',
      'privilege.partitions',
    ])
      expect(status(findings, check), check).toBe('ok');
    expect(['ok', 'warn', 'unknown']).toContain(status(findings, 'server.disk'));
    const people = await runDbops(['doctor'], { env: { DATABASE_URL: made.url } });
    expect(people.code).toBe(0);
    expect(people.stdout).toMatch(/^ok {6} host\.node +Node \d/m);
    expect(people.stdout).toMatch(/\d+ ok, \d+ warn, 0 crit, \d+ unknown\n$/);
  });

  it('names for a role without privileges the GRANTs that help, and they do', async () => {
    const made = await withTables();
    const suffix = randomBytes(4).toString('hex');
    const [owner, role] = [`Owner ${suffix}`, `dbops_plain_${suffix}`];
    await made.query(`create role "${owner}"`);
    await made.query(`create role ${role} login`);
    cleanups.push(async () => {
      await made.query(`drop owned by "${owner}", ${role} cascade`);
      await made.query(`drop role "${owner}"`);
      await made.query(`drop role ${role}`);
    });
    for (const name of ['a', 'b']) await made.query(`alter table app.${name} owner to "${owner}"`);
    await made.query(`grant usage on schema app to ${role}`);
    const url = new URL(made.url);
    url.username = role;
    const first = await doctor(url.href, twoTables);
    expect(first.code).toBe(6);
    expect(first.findings.filter((item) => item.status === 'crit')).toEqual([
      {
        check: 'privilege.owner',
        status: 'crit',
        text: `app.a, app.b: owned by "${owner}", and only an owner attaches and detaches`,
        hint: `grant "${owner}" to ${role};`,
      },
      {
        check: 'privilege.create',
        status: 'crit',
        text: 'app.a, app.b: no table may be created in the schema "app"',
        hint: `grant create on schema app to ${role};`,
      },
      {
        check: 'privilege.references',
        status: 'crit',
        text: 'foreign keys point at app.target, which this role may not reference',
        hint: `grant references on app.target to ${role};`,
      },
    ]);
    expect(status(first.findings, 'privilege.state')).toBe('warn');
    expect(status(first.findings, 'privilege.statistics')).toBe('warn');
    for (const item of first.findings) {
      if (item.check.startsWith('privilege.') && item.hint !== undefined) await made.query(item.hint);
    }
    const second = await doctor(url.href, twoTables);
    expect(second.code, second.text).toBe(0);
    for (const check of ['privilege.partitions', 'privilege.state', 'privilege.statistics'])
      expect(status(second.findings, check), check).toBe('ok');

    await made.query(`alter role ${role} in database "${made.name}" set default_transaction_read_only = on`);
    const third = await doctor(url.href, twoTables);
    expect(third.code).toBe(6);
    expect(status(third.findings, 'server.writable')).toBe('crit');
  });

  it('tells what is wrong with configured tables, and a time zone that is another', async () => {
    const made = await withTables();
    const { code, findings } = await doctor(
      made.url,
      'defaults: { timezone: Asia/Seoul }\npartitions:\n  - { table: app.c, key: at, interval: month }\n  - { table: app.target, key: id, interval: 10 }\n',
    );
    expect(code).toBe(6);
    const wrong = findings.filter((item) => item.check === 'sets.configured').map((item) => item.text);
    expect(wrong[0]).toMatch(/^table app\.c does not exist/);
    expect(wrong[1]).toBe('table app.target is not partitioned');
    expect(status(findings, 'server.timezone')).toBe('warn');
  });

  it('warns of pg_partman on the same tables', async () => {
    const made = await withTables();
    await made.query('create schema partman');
    await made.query(`create table partman.part_config as select 'app.a' as parent_table, 'at' as control,
      '1 mon' as partition_interval, 'range' as partition_type, 4 as premake, 'on' as automatic_maintenance`);
    // An extension row without its files: only the catalog is read.
    await made.query(`insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
      values (99999, 'pg_partman', 10, 'partman'::regnamespace, false, '5.2')`);
    const before = (await doctor(made.url, twoTables)).findings.find(
      (item) => item.check === 'extension.pg_partman',
    );
    expect(before).toMatchObject({ status: 'warn' });
    await made.query(before!.hint!);
    expect(status((await doctor(made.url, twoTables)).findings, 'extension.pg_partman')).toBe('ok');
  });

  it('looks at what backups need where they are configured, and says nothing of them where not', async () => {
    const made = await database();
    const of = (findings: Finding[]) => findings.filter((item) => /^(backup|wal)\./.test(item.check));
    expect(of((await doctor(made.url)).findings)).toEqual([]);
    const store = folder();
    const yaml = `stores: { near: { url: "file://${store}" } }\nbackup: { workDirectory: "${store}/work" }\nwal: { spool: "/proc/spool" }\n`;
    const { findings, text } = await doctor(made.url, yaml);
    expect(
      of(findings)
        .map((item) => item.check)
        .sort(),
      text,
    ).toEqual([
      'backup.cluster',
      'backup.copies',
      'backup.directory',
      'backup.dumps',
      'backup.recovery',
      'backup.replication',
      'wal.archive',
      'wal.spool',
    ]);
    expect(status(findings, 'backup.copies')).toBe('warn');
    expect(status(findings, 'backup.directory')).toBe('ok');
    expect(findings.find((item) => item.check === 'backup.directory')?.text).toContain('to be made');
    expect(status(findings, 'backup.replication')).toBe('ok');
    expect(status(findings, 'wal.archive')).toBe('warn');
    expect(fs.existsSync(path.join(store, 'work'))).toBe(false);

    const role = `dbops_plain_${randomBytes(4).toString('hex')}`;
    await made.query(`create role ${role} login`);
    cleanups.push(() => made.query(`drop role ${role}`).then(() => undefined));
    const url = new URL(made.url);
    url.username = role;
    const plain = (await doctor(url.href, yaml)).findings.find((item) => item.check === 'backup.replication');
    expect(plain).toMatchObject({
      status: 'warn',
      hint: expect.stringContaining(`alter role ${role} with replication`) as string,
    });
  });

  it('reports the host when the server cannot be reached: exit 3', async () => {
    const { code, findings } = await doctor('postgresql://me:hunter2@127.0.0.1:1/x');
    expect(code).toBe(3);
    expect(status(findings, 'host.node')).toBe('ok');
    expect(findings.at(-1)).toMatchObject({ check: 'server.connection', status: 'crit' });
    expect(JSON.stringify(findings)).not.toContain('hunter2');
  });

  it('knows PgBouncer in transaction mode from session mode', async ({ skip }) => {
    const program = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer'].find((file) => fs.existsSync(file));
    skip(program === undefined, 'pgbouncer is not installed');
    const made = await database();
    for (const [mode, expected, code] of [
      ['transaction', 'crit', 6],
      ['session', 'ok', 0],
    ] as const) {
      const url = await startPgbouncer(program!, made, mode);
      const result = await doctor(url);
      expect(status(result.findings, 'server.pooler'), `${mode}\n${result.text}`).toBe(expected);
      expect(result.code).toBe(code);
    }
  });
});

/** A pooler in front of one database, stopped by the test's cleanup. It refuses root, so it runs as another user. */
async function startPgbouncer(program: string, made: TestDatabase, mode: string): Promise<string> {
  const server = new URL(made.url);
  const dir = folder();
  fs.chmodSync(dir, 0o777);
  const port = await freePort();
  const file = path.join(dir, 'pgbouncer.ini');
  fs.writeFileSync(
    file,
    `[databases]
x = host=${server.hostname} port=${server.port} dbname=${made.name} user=${server.username}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${String(port)}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
default_pool_size = 3
ignore_startup_parameters = extra_float_digits
`,
  );
  const asOther =
    process.getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : [];
  const [command, ...args] = [...asOther, program, file];
  const child = spawn(command, args, { stdio: 'ignore' });
  cleanups.push(() => void child.kill('SIGKILL'));
  const url = `postgresql://any@127.0.0.1:${String(port)}/x`;
  await waitUntil(
    async () => {
      const session = await openSession(url).catch(() => undefined);
      await session?.end();
      return session !== undefined;
    },
    { what: 'pgbouncer', timeoutMs: 20_000 },
  );
  return url;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
