// Looks that need a server of their own: prepared transactions, and statements that are counted.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Server } from '../../../scripts/lib/postgres-server.mjs';
import { lookAtLocks } from '../../../src/inspect/locks.ts';
import { unseenSessions } from '../../../src/inspect/look.ts';
import { lookAtStatements } from '../../../src/inspect/slow.ts';
import { connect } from '../../../src/pg/connection.ts';
import { listConnectionGroups } from '../../../src/sql/inspect-activity.ts';
import { openSession, ownDatabase, startPrivateServer, waitUntil } from '../../support/database.ts';

let server: Server;
let own: ReturnType<typeof ownDatabase>;

const open = (url: string) => connect({ url, connectTimeoutMs: 10_000, applicationName: 'test' });

beforeAll(async () => {
  server = await startPrivateServer({
    max_prepared_transactions: '2',
    shared_preload_libraries: 'pg_stat_statements',
    autovacuum: 'off',
  });
  own = ownDatabase(server);
});
afterAll(() => server.stop());

describe('a server of its own', () => {
  it('names the prepared transaction that no session stands for', async () => {
    await own.query('create table public.stock (id int)');
    const first = await openSession(server.url);
    await first.begin();
    await first.query('lock table public.stock in exclusive mode');
    await first.query("prepare transaction 'two phases'");
    // Holds a lock on the same table that keeps nobody out.
    await first.begin();
    await first.query('select from public.stock');
    await first.query("prepare transaction 'reader'");
    const second = await openSession(server.url);
    const wait = second.query('insert into public.stock values (1)');
    await waitUntil(async () => (await own.query('select from pg_locks where not granted')).length > 0, {
      what: 'a wait',
    });
    const looker = await connect({ url: server.url, connectTimeoutMs: 10_000, applicationName: 'test' });
    const { rows } = await lookAtLocks(looker, 20);
    await looker.close();
    expect(rows).toMatchObject([
      { pid: null, depth: 0, waiters: 1, end: { sql: "rollback prepared 'two phases';" } },
      { pid: second.pid, depth: 1, target: 'table public.stock', mode: 'RowExclusiveLock' },
    ]);
    await own.query("rollback prepared 'two phases'");
    await own.query("rollback prepared 'reader'");
    await wait;
    await Promise.all([first.end(), second.end()]);
  });

  it('shows the costliest with since when they count, and hides no text of others in silence', async () => {
    await own.query('create schema stats; create extension pg_stat_statements schema stats');
    await own.query('select pg_sleep(0.02)');
    await own.query('create role blind login');
    const looker = await open(server.url);
    const { rows, notes, unseen } = await lookAtStatements(looker, {
      sort: 'mean',
      limit: 5,
      now: new Date(),
    });
    const slept = rows.find(({ query }) => query.includes('pg_sleep'));
    expect(slept).toMatchObject({ calls: 1, isHidden: false });
    expect(slept!.meanMs).toBeGreaterThan(19);
    expect(notes.at(-1)).toMatch(/^counted since .*Z \(/);
    expect(unseen).toEqual([]);
    await looker.close();
    const url = new URL(server.url);
    url.username = 'blind';
    const blind = await open(url.href);
    expect((await lookAtStatements(blind, { sort: 'mean', limit: 5, now: new Date() })).missing).toContain(
      'grant usage on schema stats to blind;',
    );
    await own.query('grant usage on schema stats to blind');
    const hidden = await lookAtStatements(blind, { sort: 'mean', limit: 5, now: new Date() });
    await blind.close();
    expect(hidden.rows.some(({ isHidden }) => isHidden)).toBe(true);
    expect(hidden.unseen[0]).toContain('grant pg_read_all_stats to blind;');
    await own.query("alter database postgres set pg_stat_statements.track = 'none'");
    const paused = await open(server.url);
    const { unseen: said } = await lookAtStatements(paused, { sort: 'mean', limit: 5, now: new Date() });
    await paused.close();
    expect(said[0]).toMatch(/^pg_stat_statements.track is none: nothing is counted: alter system set/);
  });

  it('does not count processes that are always there among the sessions that are hidden', async () => {
    await own.query('create role alone login');
    const url = new URL(server.url);
    url.username = 'alone';
    const alone = await open(url.href);
    // Sessions that were closed may still be seen for a moment.
    await waitUntil(async () => (await unseenSessions(alone)).length === 0, { what: 'nothing to be hidden' });
    const groups = await listConnectionGroups(alone, 20);
    expect(groups).toMatchObject([{ user: 'alone', client: '127.0.0.1', sessions: 1, hidden: 0 }]);
    await alone.close();
  });
});
