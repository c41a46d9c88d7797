// Statistics of what was just loaded, while autovacuum is busy with the same tables.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { analyzeRestored } from '../../../src/sql/restore.ts';
import { connect } from '../../../src/pg/connection.ts';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../../support/database.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase('analyze');
  await db.query('create table public.t as select 1 as x');
});

afterAll(() => db.drop());

it('waits for whoever vacuums the table, for longer than anything else of ours waits', async () => {
  const vacuum = await openSession(db.url);
  await vacuum.begin();
  // What autovacuum holds.
  await vacuum.query('lock table public.t in share update exclusive mode');
  const session = await connect({ url: db.url, applicationName: 'dbops test', connectTimeoutMs: 5000 });
  try {
    const analyzing = analyzeRestored(session, 'public.t');
    const waited = () =>
      db
        .query<{ waits: boolean }>(
          "select clock_timestamp() - query_start > interval '1.2 seconds' as waits from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'",
          [session.server.pid],
        )
        .then(([row]) => row?.waits === true);
    await waitUntil(waited, { timeoutMs: 10_000, what: 'the analyze to have waited' });
    await vacuum.query('commit');
    await analyzing;
    const [row] = await db.query<{ rows: number }>(
      "select reltuples::int4 as rows from pg_class where oid = 'public.t'::regclass",
    );
    expect(row).toEqual({ rows: 1 });
    expect(await session.query({ text: 'show lock_timeout' })).toEqual([{ lock_timeout: '1s' }]);
  } finally {
    await session.close();
  }
});
