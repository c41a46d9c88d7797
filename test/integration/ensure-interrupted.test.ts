// Two runs at once, and runs that end before they are done: by a signal, by kill -9, by the server's death.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { spawnDbops } from '../support/cli.ts';
import {
  createDatabase,
  openSession,
  startPrivateServer,
  waitUntil,
  type TestDatabase,
} from '../support/database.ts';
import { boundsOf, invocation, runEnsure } from '../support/ensure.ts';
import { blocker, isComplete, ours, table } from '../support/interruption.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase('ensure_interrupted');
});

afterAll(() => db.drop());

describe('two runs at once', () => {
  it('one works, the other says who holds the lock; with --wait it waits and finds nothing to do', async () => {
    const entry = await table(db, 'twice');
    const holder = await blocker(db.url, 'twice');
    const first = spawnDbops(['partition', 'ensure', '-v'], invocation(db.url, [entry]));
    await first.waitFor(/trying again/);
    const [session] = await db.query<{ pid: number }>(ours);

    const second = await runEnsure(db, [entry]);
    expect(second.code).toBe(4);
    expect(second.stderr).toContain('another dbops run works on "partition ensure"');
    expect(second.stderr).toContain(`pid ${String(session!.pid)} (dbops partition ensure`);
    expect(second.stderr).toContain('--wait');

    const third = spawnDbops(['partition', 'ensure', '--wait', '60s', '-v'], invocation(db.url, [entry]));
    await third.waitFor(/dbops:locks\.try/);
    await holder.end();
    expect((await first.done).code).toBe(0);
    const waited = await third.done;
    expect(waited.code).toBe(0);
    expect(waited.stdout).toContain('nothing to create');
    await isComplete(db, 'twice');
  });

  it('the waiting one can be interrupted', async () => {
    const entry = await table(db, 'patient');
    const holder = await openSession(db.url);
    await holder.query('select pg_advisory_lock(1684172656, 1)');
    const waiting = spawnDbops(['partition', 'ensure', '--wait', '60s', '-v'], invocation(db.url, [entry]));
    await waiting.waitFor(/dbops:locks\.try/);
    waiting.kill('SIGINT');
    const run = await waiting.done;
    await holder.end();
    expect(run.code).toBe(130);
    expect(run.stderr).toContain('interrupted by SIGINT');
    expect(await boundsOf(db, 'patient')).toHaveLength(1);
  });
});

describe('signals', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)(
    '%s ends the work on the server too, with exit %i, and the next run finishes it',
    async (signal, code) => {
      const name = `signal_${signal.toLowerCase()}`;
      const entry = await table(db, name);
      const holder = await openSession(db.url);
      await holder.begin();
      // With so long a lock timeout it stands in the queue when the signal comes: the statement itself is cancelled.
      await holder.query(`lock table only ${name} in share update exclusive mode`);
      const settings = { locking: { timeout: '900ms' } };
      const running = spawnDbops(['partition', 'ensure'], invocation(db.url, [entry], { settings }));
      await waitUntil(
        async () =>
          (await db.query(`select 1 from pg_locks where relation = '${name}'::regclass and not granted`))[0],
        { what: 'the attach in the lock queue' },
      );
      running.kill(signal);
      const run = await running.done;
      expect(run.code).toBe(code);
      expect(run.stderr).toContain(`interrupted by ${signal}`);
      await waitUntil(async () => (await db.query(ours)).length === 0, { what: 'our sessions to be gone' });
      await holder.end();
      expect((await runEnsure(db, [entry])).code).toBe(0);
      await isComplete(db, name);
    },
  );
});

describe('the server', () => {
  it('that ends our session after the first change: 5, with a way on, and the next run goes on', async () => {
    const entries = [await table(db, 'ended_a'), await table(db, 'ended_b')];
    const terminate = async () =>
      db.query(`select pg_terminate_backend(pid) from (${ours}) as o where pid <> pg_backend_pid()`);
    const first = await blocker(db.url, 'ended_a');
    const running = spawnDbops(['partition', 'ensure', '-v'], invocation(db.url, entries));
    await running.waitFor(/attach .*trying again/);
    await terminate();
    const run = await running.done;
    expect(run.code).toBe(5);
    expect(run.stderr).toContain('1 change was made before');
    expect(run.stderr).toMatch(/run (it|the same command) again|run the command again/i);
    await first.end();
    expect((await runEnsure(db, entries)).code).toBe(0);
    await isComplete(db, 'ended_a');
    await isComplete(db, 'ended_b');
  });

  it('that crashes midway', async () => {
    const server = await startPrivateServer();
    try {
      const admin = await openSession(server.url);
      const entry = await table(admin, 'crashed');
      const holder = await openSession(server.url);
      await holder.begin();
      await holder.query('lock table only crashed in share update exclusive mode');
      const running = spawnDbops(['partition', 'ensure', '-v'], invocation(server.url, [entry]));
      await running.waitFor(/trying again/);
      await server.kill9();
      const run = await running.done;
      expect(run.code).toBe(5);
      expect(run.stderr).toMatch(/connection to the server was lost|terminating connection/);
      expect(run.stderr).not.toContain('bug in dbops');
      await server.restart();
      expect((await runEnsure(server, [entry])).code).toBe(0);
      const after = await openSession(server.url);
      await isComplete(after, 'crashed');
      await after.end();
    } finally {
      await server.stop({ immediate: true });
    }
  });
});
