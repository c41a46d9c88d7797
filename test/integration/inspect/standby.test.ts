// Looks at a standby: what replay waits for and holds. Every look there and on the primary, by roles with and without rights.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Server } from '../../../scripts/lib/postgres-server.mjs';
import type { CommandContext, CommandDefinition } from '../../../src/commands/command.ts';
import * as group from '../../../src/commands/groups/inspect.ts';
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
  primary = await startPrivateServer({ autovacuum: 'off' });
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

const commands = Object.entries(group).filter(
  (entry): entry is [string, CommandDefinition] => entry[0] !== 'runCommand',
);
/** What comes first, where it can be said. */
const sorts: Record<string, string> = {
  inspectSlow: 'total',
  inspectTables: 'writes',
  inspectIndexes: 'size',
};

/** What a command says to a role, and what it warns of. */
async function ask(definition: CommandDefinition, sort: string | undefined, url: string) {
  const db = await connect({ url, connectTimeoutMs: 10_000, applicationName: 'test' });
  const context = {
    options: { limit: '20', sort },
    connect: () => Promise.resolve(db),
    signal: new AbortController().signal,
  };
  try {
    const { text, warnings, exitCode } = await definition.run(context as unknown as CommandContext<object>);
    return { text: await text, warnings, exitCode };
  } finally {
    await db.close();
  }
}

/** The GRANT that each role is told of. */
const grants: Record<string, Record<string, string>> = {
  postgres: {},
  watcher: { inspectBloat: 'grant pg_read_all_data to watcher;' },
  nobody: {
    inspectBloat: 'grant pg_read_all_data to nobody;',
    inspectActivity: 'grant pg_read_all_stats to nobody;',
    inspectConnections: 'grant pg_read_all_stats to nobody;',
    inspectLocks: 'grant pg_read_all_stats to nobody;',
  },
};

describe.each(['primary', 'standby'] as const)('on a %s', (kind) => {
  beforeAll(async () => {
    if (kind === 'standby') return;
    for (const statement of [
      'create role watcher login in role pg_monitor',
      'create role nobody login',
      'create extension pg_stat_statements',
      'create table public.airy (id int primary key, body text)',
      "insert into public.airy select n, repeat('x', 200) from generate_series(1, 12000) as n",
      'delete from public.airy where id % 10 <> 0',
      'vacuum analyze public.airy',
    ])
      await own.query(statement);
    const seen = "select from pg_statistic where starelid = to_regclass('airy')";
    await waitUntil(async () => (await ownDatabase(standby).query(seen)).length > 0, {
      what: 'the statistics on the standby',
    });
  });

  it.each(Object.keys(grants))('every look answers %s, or says what it takes', async (user) => {
    const server = kind === 'standby' ? standby : primary;
    const other = await openSession(server.url);
    await other.begin();
    await other.query('select 1');
    const url = new URL(server.url);
    url.username = user;
    for (const [name, definition] of commands) {
      const { text, warnings, exitCode } = await ask(definition, sorts[name], url.href);
      expect({ name, exitCode }).toEqual({ name, exitCode: name === 'inspectSlow' ? 6 : 0 });
      expect(text).not.toBe('');
      const grant = grants[user]![name];
      expect({ name, warnings }).toEqual({
        name,
        warnings: grant === undefined ? [] : [expect.stringContaining(grant) as string],
      });
      if (['inspectTables', 'inspectIndexes', 'inspectSizes'].includes(name)) expect(text).toContain('airy');
      if (['inspectTables', 'inspectIndexes'].includes(name))
        expect(text.includes('this is a standby')).toBe(kind === 'standby');
    }
  });
});
