// Trees of waits: three sessions and more, a prepared transaction, and what a role without rights sees of them.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lookAtLocks } from '../../../src/inspect/locks.ts';
import { connect, type Db } from '../../../src/pg/connection.ts';
import type { Server } from '../../../scripts/lib/postgres-server.mjs';
import { openSession, ownDatabase, startPrivateServer, waitUntil } from '../../support/database.ts';
import { createRole } from '../../support/health.ts';

// Locks are those of the whole server: on that of the run other tests wait for each other, too.
let server: Server;
let database: ReturnType<typeof ownDatabase>;
let db: Db;

beforeAll(async () => {
  server = await startPrivateServer();
  database = ownDatabase(server);
  await database.query(
    'create table public.orders (id int primary key, n int); insert into public.orders values (1, 0)',
  );
  db = await connect({ url: database.url, connectTimeoutMs: 10_000, applicationName: 'test' });
});
afterAll(async () => {
  await db.close();
  await server.stop({ immediate: true });
});

/** Waits until a session waits for a lock. */
async function untilWaiting(pid: number): Promise<void> {
  await waitUntil(
    async () =>
      (await database.query('select from pg_locks where pid = $1 and not granted', [pid])).length > 0,
    { what: `${pid} to wait` },
  );
}

describe('inspect locks', () => {
  it('says that nobody waits', async () => {
    expect(await lookAtLocks(db, 20)).toEqual({ rows: [], notes: [], unseen: [] });
  });

  it('shows the holder first, and each that waits once below it, with what would end it', async () => {
    const [holder, second, third] = [
      await openSession(database.url),
      await openSession(database.url),
      await openSession(database.url),
    ];
    await holder.begin();
    await holder.query('update public.orders set n = n + 1 where id = 1');
    const waits = [second.query('update public.orders set n = n + 1 where id = 1')];
    await untilWaiting(second.pid);
    waits.push(third.query('alter table public.orders add column later int'));
    await untilWaiting(third.pid);

    const { rows, unseen } = await lookAtLocks(db, 20);
    expect(unseen).toEqual([]);
    expect(rows.map(({ pid, depth }) => ({ pid, depth }))).toEqual([
      { pid: holder.pid, depth: 0 },
      { pid: second.pid, depth: 1 },
      { pid: third.pid, depth: 1 },
    ]);
    expect(rows[0]).toMatchObject({
      state: 'idle in transaction',
      hasWritten: true,
      waiters: 2,
      waitedSeconds: null,
    });
    expect(rows[0]?.end?.sql).toBe(`select pg_terminate_backend(${holder.pid});`);
    expect(rows[0]?.end?.effect).toMatch(
      /^rolls back its transaction of .*, which has written; 2 sessions go on$/,
    );
    expect(rows[1]).toMatchObject({ target: 'a row of table public.orders', end: null });
    expect(rows[1]?.query).toContain('update public.orders');
    expect(rows[2]).toMatchObject({
      mode: 'AccessExclusiveLock',
      target: 'table public.orders',
      alsoBehind: [second.pid],
    });
    expect((await lookAtLocks(db, 1)).notes).toEqual(['2 more are not shown; --limit shows more']);

    const role = await createRole(database);
    const blind = await connect({ url: role.url, connectTimeoutMs: 10_000, applicationName: 'test' });
    const hidden = await lookAtLocks(blind, 20);
    await blind.close();
    expect(hidden.rows.map(({ pid }) => pid)).toEqual([holder.pid, second.pid, third.pid]);
    expect(hidden.rows[0]).toMatchObject({ isHidden: true, hasWritten: true, transactionSeconds: null });
    expect(hidden.rows[0]?.end?.effect).toBe(
      'rolls back its transaction, which has written; 2 sessions go on',
    );
    expect(hidden.unseen[0]).toMatch(
      new RegExp(
        `^what \\d+ sessions of other roles do may not be seen by role "${role.name}": grant pg_read_all_stats to ${role.name};$`,
      ),
    );

    await holder.query('rollback');
    await Promise.all(waits);
  });

  it('names advisory locks by their keys', async () => {
    const [holder, second] = [await openSession(database.url), await openSession(database.url)];
    for (const [key, name] of [
      ['4294967298', 'advisory lock 4294967298'],
      ['7, 8', 'advisory lock (7, 8)'],
    ]) {
      await holder.query(`select pg_advisory_lock(${key})`);
      const wait = second.query(`select pg_advisory_lock(${key})`);
      await untilWaiting(second.pid);
      expect((await lookAtLocks(db, 20)).rows[1]).toMatchObject({ pid: second.pid, target: name });
      await holder.query(`select pg_advisory_unlock(${key})`);
      await wait;
    }
  });
});
