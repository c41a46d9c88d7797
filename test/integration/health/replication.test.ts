// Standbys and slots on servers of their own: a primary, and a second server that streams from it.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Server } from '../../../scripts/lib/postgres-server.mjs';
import {
  ownDatabase,
  openSession,
  serverVersion,
  startPrivateServer,
  startStandby,
  waitUntil,
} from '../../support/database.ts';
import { createRole, findingOf, findingsOf, type TestRole } from '../../support/health.ts';

let primary: Server;
let standby: Server;
let on: ReturnType<typeof ownDatabase>;
let there: ReturnType<typeof ownDatabase>;

beforeAll(async () => {
  primary = await startPrivateServer({ max_wal_size: '64MB', min_wal_size: '32MB' }, ['--wal-segsize=1']);
  on = ownDatabase(primary);
  await on.query('create table marks (id int)');
  standby = await startStandby(primary, {
    primary_conninfo: `host=${primary.host} port=${primary.port} user=${primary.user} application_name=second`,
    max_standby_streaming_delay: '0',
  });
  there = ownDatabase(standby);
  await untilStreaming();
});
afterAll(async () => {
  await standby.stop({ immediate: true });
  await primary.stop({ immediate: true });
});

async function untilStreaming(): Promise<void> {
  await waitUntil(
    async () =>
      (
        await on.query(
          `select 1 from pg_stat_replication where state = 'streaming' and replay_lsn = pg_current_wal_lsn()`,
        )
      )[0],
    { what: 'a standby that has replayed all' },
  );
}

/** Writes on the primary, and waits until the standby has received more than it has replayed. */
async function untilBehind(): Promise<void> {
  await on.query('insert into marks select generate_series(1, 1000)');
  await waitUntil(
    async () => (await there.query('select 1 where pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()'))[0],
    { what: 'WAL that is not replayed' },
  );
}

async function whilePaused(work: () => Promise<void>): Promise<void> {
  await there.query('select pg_wal_replay_pause()');
  try {
    await waitUntil(
      async () => (await there.query(`select 1 where pg_get_wal_replay_pause_state() = 'paused'`))[0],
      { what: 'the pause' },
    );
    await untilBehind();
    await work();
  } finally {
    await there.query('select pg_wal_replay_resume()');
    await untilStreaming();
  }
}

/** The same role, on the standby. */
function onStandby(role: TestRole): TestRole {
  const url = new URL(role.url);
  url.port = String(standby.port);
  return { ...role, url: url.href };
}

async function visibleThere(role: TestRole): Promise<TestRole> {
  await waitUntil(
    async () => (await there.query('select 1 from pg_roles where rolname = $1', [role.name]))[0],
    { what: 'the role on the standby' },
  );
  return onStandby(role);
}

describe('what a primary says of its standbys', () => {
  test('one that keeps up is well, in bytes and in seconds', async () => {
    for (const id of ['replication.lag-bytes', 'replication.lag-seconds', 'replication.synchronous'])
      expect(await findingOf(on, id)).toMatchObject({ severity: 'ok' });
    expect(await findingOf(on, 'replication.lag-bytes')).toMatchObject({
      object: 'second',
      message: expect.stringContaining('1 standby (second)') as string,
    });
  });

  test('one whose replay is paused is behind', async () => {
    await whilePaused(async () => {
      expect(
        await findingOf(on, 'replication.lag-bytes', {
          thresholds: { 'replication.lag-bytes': { warn: 1, crit: '1 GB' } },
        }),
      ).toMatchObject({
        object: 'second',
        severity: 'warn',
        detail: 'streaming, async',
      });
      const lag = await waitUntil(
        async () => {
          const found = await findingOf(on, 'replication.lag-seconds', {
            thresholds: { 'replication.lag-seconds': { warn: 0.000_001, crit: 300 } },
          });
          return found.severity === 'warn' ? found : undefined;
        },
        { what: 'a measured lag' },
      );
      expect(lag.message).toContain('after it was made');
    });
  });

  test('commits that wait for a standby that is not there are critical, and for one of two as well', async () => {
    const until = async (names: string, wanted: object) => {
      await on.query(`alter system set synchronous_standby_names = '${names}'`);
      await on.query('select pg_reload_conf()');
      const { severity, observed } = await waitUntil(
        async () => {
          const found = await findingOf(on, 'replication.synchronous');
          return found.message.includes(names) ? found : undefined;
        },
        { what: 'the reload' },
      );
      expect({ names, severity, observed }).toEqual({ names, ...wanted });
    };
    try {
      await until('nobody', { severity: 'crit', observed: 0 });
      await until('first 2 (second, nobody)', { severity: 'crit', observed: 1 });
      await until('any 1 (second, nobody)', { severity: 'ok', observed: null });
    } finally {
      await on.query('alter system reset synchronous_standby_names');
      await on.query('select pg_reload_conf()');
    }
    // The walsender takes it up when it looks at its signals.
    await waitUntil(async () => (await findingOf(on, 'replication.synchronous')).severity === 'ok', {
      what: 'the reload',
    });
  });

  test('a role with nothing is told the GRANT, pg_monitor sees it', async () => {
    const nothing = await createRole(on);
    const monitor = await createRole(on, 'pg_monitor');
    for (const id of ['replication.lag-bytes', 'replication.lag-seconds', 'replication.synchronous']) {
      expect(await findingOf(on, id, { as: nothing })).toMatchObject({
        severity: 'unknown',
        mend: `grant pg_read_all_stats to ${nothing.name};`,
      });
      expect(await findingOf(on, id, { as: monitor })).toMatchObject({ severity: 'ok' });
    }
    await untilStreaming();
  });

  test('what a standby alone can say is skipped', async () => {
    const found = await findingsOf(on, [
      'replication.replay-delay',
      'replication.receiver',
      'replication.paused',
      'replication.conflicts',
    ]);
    expect(found.map((finding) => finding.severity)).toEqual(['skipped', 'skipped', 'skipped', 'skipped']);
  });
});

describe('what a standby says of itself', () => {
  test('an idle primary is no delay, however old its last commit', async () => {
    const sure = { thresholds: { 'replication.replay-delay': { warn: 0.000_001, crit: 300 } } };
    expect(await findingOf(there, 'replication.replay-delay', sure)).toMatchObject({
      severity: 'ok',
      observed: 0,
    });
    const all = await findingsOf(there, ['replication']);
    expect(all.filter(({ severity }) => !['ok', 'skipped'].includes(severity))).toEqual([]);
    expect(all.find(({ check }) => check === 'replication.synchronous')).toMatchObject({
      severity: 'skipped',
    });
  });

  test('a pause of replay is found, and the delay that comes of it', async () => {
    await whilePaused(async () => {
      expect(await findingOf(there, 'replication.paused')).toMatchObject({
        severity: 'warn',
        message: 'replay is paused',
        mend: 'select pg_wal_replay_resume();',
      });
      expect(
        await findingOf(there, 'replication.replay-delay', {
          thresholds: { 'replication.replay-delay': { warn: 0.000_001, crit: 300 } },
        }),
      ).toMatchObject({ severity: 'warn', message: expect.stringContaining('wait') as string });
    });
    expect(await findingOf(there, 'replication.paused')).toMatchObject({ severity: 'ok' });
  });

  test('a standby that receives nothing is critical; who may not read the settings is told the GRANT', async () => {
    const nothing = await visibleThere(await createRole(on));
    const monitor = await visibleThere(await createRole(on, 'pg_monitor'));
    await there.query(`alter system set primary_conninfo = 'host=127.0.0.1 port=1 user=postgres'`);
    await there.query('select pg_reload_conf()');
    try {
      await waitUntil(
        async () =>
          (await there.query('select count(*)::int as n from pg_stat_wal_receiver'))[0]?.['n'] === 0,
        { what: 'the end of the receiver' },
      );
      expect(await findingOf(there, 'replication.receiver')).toMatchObject({ severity: 'crit' });
      expect(await findingOf(there, 'replication.receiver', { as: monitor })).toMatchObject({
        severity: 'crit',
      });
      expect(await findingOf(there, 'replication.receiver', { as: nothing })).toMatchObject({
        severity: 'unknown',
        mend: `grant pg_read_all_settings to ${nothing.name};`,
      });
      expect((await findingOf(there, 'replication.replay-delay')).detail).toContain('no WAL is received');
    } finally {
      await there.query('alter system reset primary_conninfo');
      await there.query('select pg_reload_conf()');
      await untilStreaming();
    }
    expect(await findingOf(there, 'replication.receiver', { as: nothing })).toMatchObject({ severity: 'ok' });
  });

  test('queries that are cancelled for replay are counted', async () => {
    expect(await findingOf(there, 'replication.conflicts')).toMatchObject({ severity: 'ok' });
    const reader = await openSession(standby.url);
    await reader.query('begin isolation level repeatable read');
    await reader.query('select count(*) from marks');
    await on.query('delete from marks');
    await on.query('vacuum marks');
    const counted = { thresholds: { 'replication.conflicts': { warn: 1, crit: 'never' } } };
    const found = await waitUntil(
      async () => {
        await reader.query('select count(*) from marks').catch(() => undefined);
        const [first] = await findingsOf(there, ['replication.conflicts'], counted).then((all) =>
          all.filter(({ severity }) => severity === 'warn'),
        );
        return first;
      },
      { what: 'a conflict' },
    );
    expect(found).toMatchObject({
      object: 'postgres',
      detail: expect.stringMatching(/snapshot|lock/) as string,
    });
  });
});

describe('slots', () => {
  test('one that nobody reads is found, and the WAL that it keeps', async () => {
    expect(await findingOf(on, 'replication.slots-inactive')).toMatchObject({ severity: 'ok' });
    await on.query(`select pg_create_physical_replication_slot('left_behind', true)`);
    try {
      await on.query('insert into marks select generate_series(1, 50000)');
      const inactive = await findingOf(on, 'replication.slots-inactive', {
        thresholds: { 'replication.slots-inactive': { warn: 0, crit: 1800 } },
      });
      expect(inactive).toMatchObject({
        object: 'left_behind',
        severity: 'warn',
        mend: `select pg_drop_replication_slot('left_behind');`,
      });
      expect(inactive.observed === null).toBe(serverVersion() < 170_000);
      // A restart of its reader is no finding, where the server can tell.
      expect((await findingOf(on, 'replication.slots-inactive')).severity).toBe(
        serverVersion() < 170_000 ? 'warn' : 'ok',
      );
      const monitor = await createRole(on);
      expect(
        await findingOf(on, 'replication.slots-retained', {
          as: monitor,
          thresholds: { 'replication.slots-retained': { warn: '1 MB', crit: '1 GB' } },
        }),
      ).toMatchObject({ object: 'left_behind', severity: 'warn', detail: 'physical, nobody reads it' });
      expect(await findingOf(on, 'replication.slots-retained')).toMatchObject({ severity: 'ok' });
    } finally {
      await on.query(`select pg_drop_replication_slot('left_behind')`);
    }
  });

  test('one whose WAL was removed is lost', async () => {
    expect(await findingOf(on, 'replication.slots-lost')).toMatchObject({ severity: 'ok' });
    await on.query(`select pg_create_physical_replication_slot('too_slow', true)`);
    await on.query(`alter system set max_slot_wal_keep_size = '1MB'`);
    await on.query('select pg_reload_conf()');
    try {
      await on.query('insert into marks select generate_series(1, 200000)');
      const bounded = await findingOf(on, 'replication.slots-lost');
      expect(bounded).toMatchObject({ object: 'too_slow', severity: 'warn' });
      await on.query('checkpoint');
      expect(await findingOf(on, 'replication.slots-lost')).toMatchObject({
        object: 'too_slow',
        severity: 'crit',
      });
      // It keeps nothing any more.
      expect(await findingOf(on, 'replication.slots-inactive')).toMatchObject({ severity: 'ok' });
    } finally {
      await on.query(`select pg_drop_replication_slot('too_slow')`);
      await on.query('alter system reset max_slot_wal_keep_size');
      await on.query('select pg_reload_conf()');
    }
  });
});
