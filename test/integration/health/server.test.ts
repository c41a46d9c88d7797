// What health says of what only a server of one's own can have: prepared transactions, settings, damaged blocks.
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Server } from '../../../scripts/lib/postgres-server.mjs';
import {
  openSession,
  ownDatabase,
  startPrivateServer,
  waitUntil,
  type TestDatabase,
} from '../../support/database.ts';
import { createRole, findingOf, findingsOf } from '../../support/health.ts';

let server: Server;
let db: Pick<TestDatabase, 'url' | 'query'>;
beforeAll(async () => {
  const safe = { fsync: 'on', full_page_writes: 'on' };
  server = await startPrivateServer({ ...safe, max_prepared_transactions: '5' }, ['--data-checksums']);
  db = ownDatabase(server);
});
afterAll(() => server.stop({ immediate: true }));

/** Changes settings of postgresql.auto.conf, and waits until the server has read them. */
async function setting(name: string, value: string, isRead: string): Promise<void> {
  await db.query(`alter system set ${name} = ${value}`);
  await db.query('select pg_reload_conf()');
  await waitUntil(
    async () => (await db.query(`select from pg_settings where name = '${name}' and ${isRead}`)).length > 0,
    { what: `${name} = ${value}` },
  );
}

const atOnce = { warn: 0, crit: 'never' };

describe('a prepared transaction', () => {
  it('is found by its name, as an old one, as what holds the horizon and as what others wait for', async () => {
    await db.query('create table account (id int primary key)');
    await db.query('insert into account values (1)');
    expect(await findingOf(db, 'transactions.prepared')).toMatchObject({
      severity: 'ok',
      message: 'no transaction is prepared',
    });
    const session = await openSession(db.url);
    await session.begin();
    await session.query('update account set id = 2');
    await session.query("prepare transaction 'transfer''s end'");
    const waiter = await openSession(db.url);
    const waiting = waiter.query('update account set id = 3');
    await waitUntil(async () => (await db.query('select from pg_locks where not granted')).length > 0, {
      what: 'the update to wait',
    });
    const ids = ['transactions.prepared', 'transactions.oldest-xmin', 'locks.waits'];
    const thresholds = Object.fromEntries(ids.map((id) => [id, atOnce]));
    const nobody = await createRole(db);
    const [seen] = await findingsOf(db, ids, { thresholds, as: nobody });
    expect(seen).toMatchObject({
      check: 'transactions.prepared',
      object: "transfer's end",
      severity: 'warn',
      advice: expect.stringContaining("rollback prepared 'transfer''s end';") as string,
    });
    const monitor = await createRole(db, 'pg_monitor');
    const findings = await findingsOf(db, ids, { thresholds, as: monitor });
    expect(findings).toContainEqual(
      expect.objectContaining({
        check: 'transactions.oldest-xmin',
        object: "prepared transaction transfer's end",
      }),
    );
    expect(findings.filter(({ check }) => check === 'locks.waits')).toMatchObject([
      {
        object: "prepared transaction transfer's end",
        severity: 'warn',
        message: expect.stringMatching(/^keeps 1 session waiting/) as string,
      },
    ]);
    await db.query("rollback prepared 'transfer''s end'");
    await waiting;
    expect(await findingOf(db, 'transactions.prepared', { thresholds })).toMatchObject({ severity: 'ok' });
  });
});

it('counts a database since its own reset, whatever else was reset later', async () => {
  const since = async () => (await findingOf(db, 'activity.deadlocks')).countedSince?.getTime();
  await db.query('select pg_stat_reset()');
  const before = await since();
  await db.query(`select pg_stat_reset_shared('wal')`);
  expect(await since()).toBe(before);
});

describe('settings', () => {
  it('that protect the data are well while on, and found when off', async () => {
    const id = 'settings.protections';
    const nobody = await createRole(db);
    expect(await findingOf(db, id, { as: nobody })).toMatchObject({ severity: 'ok' });
    const names = ['fsync', 'full_page_writes', 'autovacuum', 'track_counts'];
    for (const name of names) await setting(name, 'off', "setting = 'off'");
    const found = await findingsOf(db, [id], { as: nobody });
    expect(found.map(({ object, severity }) => [object, severity])).toEqual([
      ['fsync', 'crit'],
      ['full_page_writes', 'crit'],
      ['autovacuum', 'warn'],
      ['track_counts', 'warn'],
    ]);
    expect(found[0]!.mend).toBe('alter system set fsync = on; select pg_reload_conf();');
    for (const name of names) await setting(name, 'on', "setting = 'on'");
    expect(await findingOf(db, id)).toMatchObject({ severity: 'ok' });
  });

  it('that wait for a restart are found, and unknown to whom settings are hidden', async () => {
    const id = 'settings.pending-restart';
    const monitor = await createRole(db, 'pg_monitor');
    expect(await findingOf(db, id, { as: monitor })).toMatchObject({ severity: 'ok' });
    await setting('max_wal_senders', '7', 'pending_restart');
    expect(await findingOf(db, id, { as: monitor })).toMatchObject({
      object: 'max_wal_senders',
      severity: 'warn',
    });
    const nobody = await createRole(db);
    expect(await findingOf(db, id, { as: nobody })).toMatchObject({
      severity: 'unknown',
      mend: `grant pg_read_all_settings to ${nobody.name};`,
    });
    await server.restart();
    expect(await findingOf(db, id)).toMatchObject({ severity: 'ok' });
  });
});

describe('checkpoints.requested', () => {
  it('judges the share of those that came early, once there are enough', async () => {
    const id = 'checkpoints.requested';
    for (const shared of ['bgwriter', ...(server.major >= 17 ? ['checkpointer'] : [])])
      await db.query(`select pg_stat_reset_shared('${shared}')`);
    expect(await findingOf(db, id)).toMatchObject({
      severity: 'ok',
      message: expect.stringMatching(/too few to judge$/) as string,
    });
    for (let i = 0; i < 13; i += 1) {
      await db.query('select pg_switch_wal()');
      await db.query('checkpoint');
    }
    const found = await waitUntil(
      async () => {
        const finding = await findingOf(db, id);
        return finding.severity === 'ok' ? null : finding;
      },
      { what: 'the checkpoints to be counted' },
    );
    expect(found).toMatchObject({ severity: 'warn', unit: 'percent', warn: 50 });
    const thresholds = { [id]: { warn: 101 } };
    expect(await findingOf(db, id, { thresholds })).toMatchObject({ severity: 'ok' });
  });
});

describe('checksums.failures', () => {
  const id = 'checksums.failures';

  it('are found in the database that has them', async () => {
    const nobody = await createRole(db);
    expect(await findingOf(db, id, { as: nobody })).toMatchObject({ severity: 'ok' });
    await db.query('create table damaged as select i from generate_series(1, 1000) as i');
    const [file] = await db.query<{ path: string }>("select pg_relation_filepath('damaged') as path");
    await server.restart({ whileStopped: () => overwrite(path.join(server.dataDir, file!.path)) });
    await expect(db.query('select count(*) from damaged')).rejects.toThrow(/invalid page/);
    const found = await waitUntil(
      async () => {
        const finding = await findingOf(db, id);
        return finding.severity === 'ok' ? null : finding;
      },
      { what: 'the failure to be counted' },
    );
    expect(found).toMatchObject({ object: 'postgres', severity: 'crit', observed: 1 });
    expect(found.countedSince).toBeInstanceOf(Date);
  });

  function overwrite(file: string): void {
    const handle = fs.openSync(file, 'r+');
    fs.writeSync(handle, Buffer.from('not what was written'), 0, 20, 4000);
    fs.closeSync(handle);
  }
});

it('a setting that is far from what the machine suggests is found with its value, which any role may see', async () => {
  await setting('effective_cache_size', "'64MB'", "setting = '8192'");
  const nobody = await createRole(db);
  const of = async (as?: typeof nobody) =>
    (await findingsOf(db, ['settings.recommended'], as === undefined ? {} : { as })).find(
      ({ object }) => object === 'effective_cache_size',
    );
  const found = await of();
  expect(found).toMatchObject({ severity: 'warn', advice: expect.stringContaining('dbops tune') as string });
  expect(found?.message).toMatch(/^effective_cache_size is 64MB, and \d+\w+ would fit the machine$/);
  expect(await of(nobody)).toEqual(found);
  await db.query(found!.mend!.split(';')[0]!);
  await db.query('select pg_reload_conf()');
  await waitUntil(async () => (await of()) === undefined, { what: 'the setting to fit' });
  await db.query('alter system reset effective_cache_size');
});
