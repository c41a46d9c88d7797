// What health says of sessions: connections, transactions and locks.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createDatabase,
  openSession,
  waitUntil,
  type Session,
  type TestDatabase,
} from '../../support/database.ts';
import { createRole, findingOf, findingsOf } from '../../support/health.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase('sessions');
  await db.query('create table account (id int primary key, amount int)');
  await db.query('insert into account values (1, 0), (2, 0)');
});
afterAll(() => db.drop());

/** All that ask what others do. */
const asked = [
  'connections.used',
  'connections.role-limit',
  'connections.database-limit',
  'transactions.long',
  'transactions.idle',
  'transactions.oldest-xmin',
  'locks.waits',
];

/** Whatever its age, it is too old. */
const atOnce = { warn: 0, crit: 'never' };

describe('whoever asks', () => {
  it('without a privilege is told which takes it, not that all is well', async () => {
    const nobody = await createRole(db);
    const findings = await findingsOf(db, asked, { as: nobody });
    expect(findings.map(({ check }) => check)).toEqual(asked);
    for (const finding of findings)
      expect(finding).toMatchObject({
        severity: 'unknown',
        mend: `grant pg_read_all_stats to ${nobody.name};`,
      });
  });

  it('sees the same as pg_monitor as a superuser', async () => {
    const monitor = await createRole(db, 'pg_monitor');
    const session = await openSession(db.url);
    await session.begin();
    await session.query('select pg_catalog.pg_current_xact_id()');
    const thresholds = Object.fromEntries(
      ['transactions.long', 'transactions.idle', 'transactions.oldest-xmin'].map((id) => [id, atOnce]),
    );
    const findings = await findingsOf(db, asked, { as: monitor, thresholds });
    expect(findings.filter(({ severity }) => severity === 'unknown')).toEqual([]);
    const named = findings.filter(({ object }) => object?.includes(`/${session.pid}`) === true);
    expect(named.map(({ check }) => check)).toEqual(Object.keys(thresholds));
  });
});

describe('connections', () => {
  it('are well far from the last one, and a finding near it', async () => {
    expect(await findingOf(db, 'connections.used')).toMatchObject({ severity: 'ok', object: null });
    const thresholds = { 'connections.used': { warn: 0.1, crit: 99 } };
    expect(await findingOf(db, 'connections.used', { thresholds })).toMatchObject({
      severity: 'warn',
      mend: 'dbops inspect connections',
    });
  });

  it('of a role are measured by the limit of the role', async () => {
    const role = await createRole(db);
    await db.query(`alter role ${role.name} connection limit 2`);
    const own = async () =>
      (await findingsOf(db, ['connections.role-limit'])).filter(({ object }) => object === role.name);
    expect(await own()).toEqual([]);
    const sessions = [await openSession(role.url), await openSession(role.url)];
    expect(await own()).toMatchObject([
      { severity: 'crit', observed: 100, message: `role "${role.name}" has 2 of its 2 connections` },
    ]);
    await Promise.all(sessions.map((session) => session.end()));
    await waitUntil(async () => (await own()).length === 0, { what: 'the sessions to end' });
  });

  it('of a database are measured by its limit', async () => {
    const own = async () =>
      (await findingsOf(db, ['connections.database-limit'])).filter(({ object }) => object === db.name);
    await db.query(`alter database ${db.name} connection limit 3`);
    const sessions = [await openSession(db.url), await openSession(db.url)];
    expect(await own()).toMatchObject([{ severity: 'crit' }]);
    await db.query(`alter database ${db.name} connection limit 100`);
    expect(await own()).toEqual([]);
    await Promise.all(sessions.map((session) => session.end()));
  });
});

describe('transactions', () => {
  it('that are open and idle are found by who has them, until they end', async () => {
    const session = await openSession(db.url);
    const ids = ['transactions.long', 'transactions.idle', 'transactions.oldest-xmin'];
    const thresholds = Object.fromEntries(ids.map((id) => [id, atOnce]));
    const own = async () =>
      (await findingsOf(db, ids, { thresholds })).filter(
        ({ object }) => object?.endsWith(`/dbops test/${session.pid}`) === true,
      );
    expect(await own()).toEqual([]);
    await session.begin();
    await session.query('update account set amount = 1 where id = 2');
    const found = await own();
    expect(found.map(({ check }) => check)).toEqual(ids);
    for (const finding of found)
      expect(finding).toMatchObject({
        severity: 'warn',
        mend: `select pg_terminate_backend(${session.pid});`,
      });
    expect(found[1]).toMatchObject({
      message: expect.stringMatching(/^idle in transaction for \d+ m?s$/) as string,
      detail: `in database ${db.name}, last statement: update account set amount = 1 where id = 2`,
    });
    await session.query('rollback');
    expect(await own()).toEqual([]);
  });

  it('of an application can have thresholds of their own', async () => {
    const session = await openSession(db.url);
    await session.query("set application_name = 'nightly report'");
    await session.begin();
    const own = async (objects: Record<string, { ignore: true }>) =>
      (
        await findingsOf(db, ['transactions.idle'], {
          thresholds: { 'transactions.idle': { ...atOnce, objects } },
        })
      ).filter(({ object }) => object?.includes('/nightly report/') === true);
    expect(await own({})).toHaveLength(1);
    expect(await own({ '*/nightly report/*': { ignore: true } })).toEqual([]);
  });

  it('by themselves, and what is younger than the thresholds, are no finding', async () => {
    const session = await openSession(db.url);
    await session.begin();
    await session.query('select 1');
    for (const id of ['transactions.long', 'transactions.idle', 'transactions.oldest-xmin'])
      expect(await findingOf(db, id)).toMatchObject({ severity: 'ok', object: null });
  });

  it('of sessions that do not say what they do are unknown', async () => {
    const session = await openSession(db.url);
    await session.query('set track_activities = off');
    await session.begin();
    for (const id of ['transactions.long', 'transactions.idle']) {
      const findings = await findingsOf(db, [id]);
      expect(findings).toContainEqual(
        expect.objectContaining({
          severity: 'unknown',
          mend: 'alter system set track_activities = on;',
        }),
      );
    }
  });
});

describe('locks.waits', () => {
  const waits = async () =>
    (await findingsOf(db, ['locks.waits'], { thresholds: { 'locks.waits': atOnce } })).filter(
      ({ detail }) => detail?.includes('account') === true,
    );

  /** Sends a statement that has to wait, and returns once it does. */
  async function sendWaiting(session: Session, statement: string): Promise<Promise<unknown>[]> {
    const sent = session.query(statement).catch(() => undefined);
    await waitUntil(
      async () =>
        (await db.query('select from pg_locks where pid = $1 and not granted', [session.pid])).length > 0,
      { what: statement },
    );
    // In an array, or awaiting the caller's await would wait for the lock as well.
    return [sent];
  }

  it('names the root of a queue of three, and nobody once it has gone', async () => {
    const [root, middle, last] = [
      await openSession(db.url),
      await openSession(db.url),
      await openSession(db.url),
    ];
    await root.begin();
    await root.query('select amount from account where id = 1');
    const sent = [
      ...(await sendWaiting(middle, 'alter table account add column note text')),
      ...(await sendWaiting(last, 'select amount from account')),
    ];
    const found = await waits();
    expect(found).toHaveLength(1);
    const [finding] = found;
    expect(finding).toMatchObject({
      object: `postgres/dbops test/${root.pid}`,
      severity: 'warn',
      unit: 'seconds',
      mend: 'dbops inspect locks',
    });
    expect(finding!.message).toMatch(/^keeps 2 sessions waiting, the longest for /);
    expect(finding!.detail).toMatch(
      new RegExp(
        `^idle in transaction, in a transaction of .*: select amount from account where id = 1; > postgres/dbops test/${middle.pid} waits .* for AccessExclusiveLock on table public.account: alter table .*; > > postgres/dbops test/${last.pid} waits .* for AccessShareLock on table public.account: select`,
      ),
    );
    await root.query('rollback');
    await Promise.all(sent);
    expect(await waits()).toEqual([]);
  });

  it('names the table of a row lock', async () => {
    const [root, waiter] = [await openSession(db.url), await openSession(db.url)];
    await root.begin();
    await root.query('update account set amount = 2 where id = 1');
    const sent = await sendWaiting(waiter, 'update account set amount = 3 where id = 1');
    const [finding] = await waits();
    expect(finding!.detail).toMatch(
      /for ShareLock on a row of table public.account: update account set amount = 3/,
    );
    await root.query('rollback');
    await Promise.all(sent);
  });
});
