// Looks at a standby: what replay waits for, what it holds, and what a standby does not count.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Server } from '../../../scripts/lib/postgres-server.mjs';
import { lookAtLocks } from '../../../src/inspect/locks.ts';
import { connect, type Db } from '../../../src/pg/connection.ts';
import {
  openSession,
  ownDatabase,
  startPrivateServer,
  startStandby,
  waitUntil,
} from '../../support/database.ts';
import { findingOf } from '../../support/health.ts';

let primary: Server;
let standby: Server;
let own: ReturnType<typeof ownDatabase>;
let db: Db;

beforeAll(async () => {
  primary = await startPrivateServer();
  own = ownDatabase(primary);
  await own.query('create table public.orders (id int primary key)');
  standby = await startStandby(primary, { max_standby_streaming_delay: '-1' });
  db = await connect({ url: standby.url, connectTimeoutMs: 10_000, applicationName: 'test' });
}, 60_000);
afterAll(async () => {
  await db.close();
  await standby.stop({ immediate: true });
  await primary.stop({ immediate: true });
});

/** Waits until so many processes of the standby wait for a lock. */
const untilWaiting = (count: number) =>
  waitUntil(
    async () => (await ownDatabase(standby).query('select from pg_locks where not granted')).length === count,
    { what: `${count} to wait` },
  );

describe('inspect locks on a standby', () => {
  it('names the reader that holds up the replay, and who waits behind that', async () => {
    const [reader, behind] = [await openSession(standby.url), await openSession(standby.url)];
    await reader.begin();
    await reader.query('select from public.orders');
    await own.query('alter table public.orders add column later int');
    await untilWaiting(1);
    const wait = behind.query('select from public.orders');
    await untilWaiting(2);
    const { rows } = await lookAtLocks(db, 20);
    expect(rows).toMatchObject([
      {
        pid: reader.pid,
        depth: 0,
        waiters: 2,
        end: { effect: expect.stringContaining('2 sessions go on') as string },
      },
      { depth: 1, backendType: 'startup', target: 'table public.orders', mode: 'AccessExclusiveLock' },
      { pid: behind.pid, depth: 2 },
    ]);
    const thresholds = { 'locks.waits': { warn: 0, crit: 'never' } };
    const finding = await findingOf({ url: standby.url }, 'locks.waits', { thresholds });
    expect(finding).toMatchObject({ severity: 'warn', object: `postgres/dbops test/${reader.pid}` });
    expect(finding.detail).toContain('> startup//');
    await reader.query('rollback');
    await wait;
  });

  it('advises nobody to end the replay, which holds what the primary has locked', async () => {
    const [owner, reader] = [await openSession(primary.url), await openSession(standby.url)];
    await owner.begin();
    await owner.query('lock table public.orders in access exclusive mode');
    // Its lock is sent with the next commit.
    await own.query('create table public.sent ()');
    await waitUntil(
      async () =>
        (
          await ownDatabase(standby).query(
            "select from pg_locks where mode = 'AccessExclusiveLock' and granted",
          )
        ).length > 0,
      { what: 'the lock on the standby' },
    );
    const wait = reader.query('select from public.orders');
    await untilWaiting(1);
    const { rows } = await lookAtLocks(db, 20);
    expect(rows).toMatchObject([
      { backendType: 'startup', end: { sql: null } },
      { pid: reader.pid, depth: 1 },
    ]);
    await owner.query('rollback');
    await wait;
  });
});
