// Runs of scheduled jobs: alone, recorded, ended at their limit, told of, and late.
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, waitUntil, type TestDatabase } from '../../support/database.ts';
import { createRole, findingsOf } from '../../support/health.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';

/** What a webhook and a healthcheck are told. */
interface Told {
  path: string;
  body: string;
}

let told: Told[] = [];
let answer = 200;
const listener = http.createServer((request, response) => {
  let body = '';
  request.on('data', (chunk: Buffer) => (body += chunk.toString()));
  request.on('end', () => {
    told.push({ path: request.url ?? '', body });
    response.writeHead(answer).end();
  });
});
let origin = '';
let database: TestDatabase;
let workspace: Workspace;

beforeAll(async () => {
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  database = await createDatabase('schedule');
  await database.query('create table public.cases as select 1 as id');
  origin = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;
});
afterAll(async () => {
  listener.close();
  await database.drop();
});

beforeEach(async () => {
  told = [];
  answer = 200;
  await database.query('drop schema if exists dbops cascade');
  const notify = `notify: { webhook: "${origin}/hook/secret", healthcheck: "${origin}/check/secret?a=b" }`;
  workspace = createWorkspace(
    database,
    `
schedule:
  - { name: good, cron: '0 3 * * *', run: "history --limit 1", ${notify} }
  - { name: bad, cron: '0 3 * * *', run: "partition list public.nothing", ${notify} }
  - { name: vacuum, cron: '@hourly', sql: "vacuum analyze public.cases", timezone: Asia/Seoul }
  - { name: wrong, cron: '@hourly', sql: "analyze public.nothing", ${notify} }
  - { name: sleeping, cron: '@hourly', sql: "select pg_catalog.pg_sleep(60)" }
  - { name: long, cron: '@hourly', run: "health --only sleep.long", timeLimit: 1 s, ${notify} }
  - { name: typo, cron: '@hourly', run: "partition ensur" }
health:
  checks:
    sleep.long: { sql: "select pg_catalog.pg_sleep(4) is null as value", warn: 1 }
`,
  );
});

const run = (name: string, ...args: string[]) => workspace.run(['schedule', 'run', name, ...args]);
const history = () =>
  database.query<{ target: string; outcome: string; message: string | null }>(
    'select target, outcome, message from dbops.run order by id',
  );

describe('schedule run', () => {
  it('records a job that ended well, and tells its healthcheck and its webhook', async () => {
    const { code, stdout } = await run('good');
    expect(code).toBe(0);
    expect(stdout).toContain('schedule run');
    expect(await history()).toEqual([{ target: 'good', outcome: 'done', message: null }]);
    expect(told.map((item) => item.path).sort()).toEqual([
      '/check/secret/start?a=b',
      '/check/secret?a=b',
      '/hook/secret',
    ]);
    expect(told[0]?.path).toBe('/check/secret/start?a=b');
    const hook = told.find((item) => item.path.startsWith('/hook'));
    expect(JSON.parse(hook!.body)).toMatchObject({
      job: 'good',
      outcome: 'success',
      exitCode: 0,
      message: null,
    });
  });

  it('keeps the exit code of a job, says why, and lets no notification change that', async () => {
    answer = 500;
    const { code, stderr } = await run('bad');
    expect(code).toBe(2);
    expect(stderr).toContain(`the webhook of job "bad" at ${origin} was not told: it answered 500`);
    expect(stderr).not.toContain('secret');
    const [row] = await history();
    expect(row).toMatchObject({ target: 'bad', outcome: 'failed' });
    expect(row?.message).toBe('exit code 2: no partitioned table is configured');
    expect(told.map((item) => item.path)).toContain('/check/secret/fail?a=b');
    const config = await workspace.run(['config', 'show']);
    expect(config.stdout + config.stderr).not.toContain('secret');
  });

  it('runs one statement, also one that no transaction takes, and records one that fails', async () => {
    expect((await run('vacuum')).code).toBe(0);
    const { code, stderr } = await run('wrong');
    expect(code, stderr).not.toBe(0);
    expect(await history()).toMatchObject([
      { target: 'vacuum', outcome: 'done' },
      { target: 'wrong', outcome: 'failed', message: expect.stringContaining('nothing') as string },
    ]);
    expect(told.map((item) => item.path)).toContain('/check/secret/fail?a=b');
  });

  it('ends a job at its limit, with what it has started', async () => {
    const { code, stderr } = await run('long');
    expect(code).toBe(143);
    expect(stderr).toContain('was ended at its time limit of 1 s, with exit code 143');
    expect(await history()).toMatchObject([{ target: 'long', outcome: 'failed' }]);
    const hook = told.find((item) => item.path.startsWith('/hook'));
    expect(JSON.parse(hook!.body)).toMatchObject({ outcome: 'failure', exitCode: 143 });
    await waitUntil(
      async () =>
        (
          await database.query(
            "select 1 from pg_stat_activity where query like '%pg_sleep(4)%' and pid <> pg_backend_pid() and state = 'active'",
          )
        ).length === 0,
      { what: 'the session of the job to end' },
    );
  });

  it('runs a job once at a time, and records one that was interrupted', async () => {
    const first = workspace.spawn(['schedule', 'run', 'sleeping']);
    await waitUntil(
      async () =>
        (
          await database.query(
            "select 1 from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> pg_backend_pid()",
          )
        ).length > 0,
      { what: 'the job to run' },
    );
    const second = await run('sleeping');
    expect(second.code).toBe(4);
    expect(second.stderr).toContain('another dbops run works on the scheduled job "sleeping"');
    first.kill('SIGTERM');
    expect((await first.done).code).toBe(143);
    expect(await history()).toMatchObject([{ target: 'sleeping', outcome: 'interrupted' }]);
  });

  it('refuses what is no job and no command, and tells where the database cannot be reached', async () => {
    expect(await run('god')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Did you mean good?') as string,
    });
    expect(await run('typo')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('partition ensure') as string,
    });
    expect(told).toEqual([]);
    const lost = await workspace.run(['schedule', 'run', 'good'], {
      DATABASE_URL: 'postgresql://localhost:1/x',
    });
    expect(lost.code).toBe(3);
    expect(told.map((item) => item.path)).toContain('/check/secret/fail?a=b');
  });
});

describe('schedule list', () => {
  it('shows when jobs are due and how they ended, with and without the database', async () => {
    await run('vacuum');
    const { stdout } = await workspace.run(['schedule', 'list', '--json'], {
      DBOPS_TEST_NOW: '2026-11-21T12:30:00Z',
    });
    const { data } = JSON.parse(stdout) as {
      data: { jobs: { job: string; next: string[]; last: string }[] };
    };
    expect(data.jobs.find((job) => job.job === 'vacuum')).toMatchObject({ last: 'done' });
    expect(data.jobs[0]).toMatchObject({ job: 'good', last: 'never' });
    expect(data.jobs[0]?.next[0]).toBe('2026-11-22T03:00:00.000Z');
    const lost = await workspace.run(['schedule', 'list'], { DATABASE_URL: 'postgresql://localhost:1/x' });
    expect(lost).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('the last runs are unknown') as string,
    });
    expect(lost.stdout).toContain('unknown');
    expect(lost.stderr).toContain(
      'job "typo" is no command of dbops: partition ensur; Did you mean partition ensure?',
    );
  });
});

describe('jobs.late and jobs.failed', () => {
  const record = (target: string, outcome: string, startedAt: string) =>
    database.query(
      `insert into dbops.run (command, target, outcome, started_at, host, os_user, version)
       values ('schedule run', $1, $2, $3, 'h', 'u', 'v')`,
      [target, outcome, startedAt],
    );
  const now = new Date('2026-11-21T12:00:00Z');
  const look = (over: object = {}) =>
    findingsOf(database, ['jobs'], { directory: workspace.dir, now, ...over });

  beforeEach(() => {
    workspace.configure("schedule: [{ name: nightly, cron: '0 3 * * *', run: health }]");
  });

  it('find a job that never ran, is late, has failed, and nothing where all is well', async () => {
    expect(await look()).toMatchObject([
      {
        check: 'jobs.late',
        object: 'nightly',
        severity: 'warn',
        message: expect.stringContaining('never run') as string,
      },
      { check: 'jobs.failed', severity: 'ok' },
    ]);
    workspace.configure("schedule: [{ name: nightly, cron: '0 3 * * *', sql: select 1 }]");
    expect((await run('nightly')).code).toBe(0);
    await database.query('delete from dbops.run');
    await record('nightly', 'done', '2026-11-20T03:00:01Z');
    expect(await look()).toMatchObject([
      { check: 'jobs.late', severity: 'warn', observed: 9 * 3600, mend: 'dbops schedule run nightly' },
      { check: 'jobs.failed', severity: 'ok' },
    ]);
    await record('nightly', 'failed', '2026-11-21T03:00:01Z');
    expect(await look()).toMatchObject([
      { check: 'jobs.late', severity: 'warn' },
      { check: 'jobs.failed', severity: 'crit', object: 'nightly' },
    ]);
    await record('nightly', 'done', '2026-11-21T04:00:00Z');
    expect(await look()).toMatchObject([
      { check: 'jobs.late', severity: 'ok' },
      { check: 'jobs.failed', severity: 'ok' },
    ]);
    expect((await look({ now: new Date('2026-11-25T00:00:00Z') }))[0]).toMatchObject({ severity: 'crit' });
  });

  it('are unknown where the history may not be read, with the GRANT that helps', async () => {
    workspace.configure("schedule: [{ name: nightly, cron: '0 3 * * *', sql: select 1 }]");
    expect((await run('nightly')).code).toBe(0);
    for (const memberOf of [[], ['pg_monitor']]) {
      const role = await createRole(database, ...memberOf);
      const as = { as: role, now: new Date() };
      const findings = await look(as);
      expect(findings).toMatchObject([
        { check: 'jobs.late', severity: 'unknown' },
        { check: 'jobs.failed', severity: 'unknown' },
      ]);
      expect(findings[0]?.mend).toContain(`grant usage on schema dbops to ${role.name};`);
      await database.query(findings[0]!.mend!);
      expect((await look(as)).map((finding) => finding.severity)).toEqual(['ok', 'ok']);
    }
  });

  it('have nothing to say where nothing is scheduled', async () => {
    workspace.configure('log: { format: text }');
    expect((await look()).map((finding) => finding.message)).toEqual([
      'no job is scheduled in the configuration',
      'no job is scheduled in the configuration',
    ]);
  });
});
