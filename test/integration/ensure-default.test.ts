// A default partition: the attach must neither scan it under ACCESS EXCLUSIVE nor lose its rows.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../support/database.ts';
import { spawnDbops } from '../support/cli.ts';
import { boundsOf, catalogOf, invocation, runEnsure } from '../support/ensure.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase('ensure_default');
});

afterAll(() => db.drop());

async function tableWithDefault(
  name: string,
): Promise<{ table: string; key: string; interval: string; premake: number }> {
  await db.query(`create table ${name} (id int, at date) partition by range (at)`);
  await db.query(
    `create table ${name}_a partition of ${name} for values from ('2026-11-01') to ('2026-12-01')`,
  );
  await db.query(`create table ${name}_rest partition of ${name} default`);
  return { table: `public.${name}`, key: 'at', interval: 'month', premake: 2 };
}

const markers = async (): Promise<unknown[]> =>
  db.query("select conname from pg_constraint where conname like 'dbops%'");

describe('a default partition', () => {
  it('is not scanned by the attach, and keeps its rows of other ranges', async () => {
    const entry = await tableWithDefault('quiet');
    await db.query("insert into quiet select n, '2030-01-01' from generate_series(1, 1000) as n");
    await db.query("insert into quiet values (0, null), (0, '2020-01-01')");
    // The server says in its debug messages which tables an ALTER TABLE reads; the script is what a run executes.
    const { cwd, env } = invocation(db.url, [entry]);
    const script = (await import('../support/cli.ts')).runDbops(['partition', 'ensure', '--dry-run'], {
      cwd,
      env,
    });
    const session = await openSession(db.url);
    const notices: string[] = [];
    session.client.on('notice', (notice) => notices.push(notice.message ?? ''));
    await session.query('set client_min_messages = debug1');
    const attached: string[] = [];
    for (const transaction of (await script).stdout.split('begin;').slice(1)) {
      notices.length = 0;
      await session.query(`begin; ${transaction.split('commit;')[0]!}; commit`);
      if (transaction.includes('attach partition')) attached.push(notices.join('\n'));
    }
    await session.end();
    expect(attached).toHaveLength(2);
    for (const messages of attached) {
      expect(messages).toContain('partition constraint for table "quiet_y');
      expect(messages).toContain(
        'updated partition constraint for default partition "quiet_rest" is implied by existing constraints',
      );
      expect(messages).not.toContain('verifying table');
    }
    expect((await boundsOf(db, 'quiet')).map(([name]) => name)).toEqual([
      'quiet_rest',
      'quiet_a',
      'quiet_y2026m12',
      'quiet_y2027m01',
    ]);
    expect(await db.query('select count(*)::int as n from quiet_rest')).toEqual([{ n: 1002 }]);
    expect(await markers()).toEqual([]);
    expect((await runEnsure(db, [entry])).stdout).toContain('nothing to create');
  });

  it('with rows of the range refuses, with their number and the way out, and changes nothing', async () => {
    const entry = await tableWithDefault('occupied');
    await db.query("insert into occupied values (1, '2027-01-05'), (2, '2027-01-06')");
    const before = await catalogOf(db);
    const run = await runEnsure(db, [entry]);
    expect(run.code).toBe(4);
    expect(run.stderr).toContain(
      'public.occupied: 2 rows from 2027-01-01 to 2027-02-01 lie in its default partition',
    );
    expect(run.stderr).toContain('dbops partition drain public.occupied --from public.occupied_rest');
    expect(await catalogOf(db)).toEqual(before);
  });

  it('that serves the current period is left alone without --fill-gaps', async () => {
    await db.query('create table served (at date) partition by range (at)');
    await db.query('create table served_rest partition of served default');
    const entry = { table: 'served', key: 'at', interval: 'month', premake: 1 };
    const told = await runEnsure(db, [entry]);
    expect(told.code).toBe(0);
    expect(told.stderr).toContain(
      'rows from 2026-11-01 go to the default partition served_rest now; --fill-gaps',
    );
    expect((await boundsOf(db, 'served')).map(([name]) => name)).toEqual(['served_rest', 'served_y2026m12']);
    const filled = await runEnsure(db, [entry], { args: ['--fill-gaps'] });
    expect(filled.code).toBe(0);
    expect(await boundsOf(db, 'served')).toHaveLength(3);
  });

  it('loses the constraint that a kill left on it', async () => {
    const entry = await tableWithDefault('killed');
    await db.query(
      `alter table killed_rest add constraint left_behind check (at < '2026-12-01') not valid;
       comment on constraint left_behind on killed_rest is 'dbops:excluding'`,
    );
    expect((await runEnsure(db, [entry])).code).toBe(0);
    expect(await db.query("select 1 as n from pg_constraint where conname = 'left_behind'")).toEqual([]);
    await db.query("insert into killed values (1, '2030-01-01')");
  });

  it('gets rid of the constraint and the new table when a row slipped in before it', async () => {
    const entry = await tableWithDefault('slipped');
    const before = await catalogOf(db, { withoutState: true });
    const writer = await openSession(db.url);
    await writer.begin();
    await writer.query("insert into slipped values (1, '2026-12-24')");
    // The count does not see the row of the open transaction; the constraint waits for it.
    const { cwd, env } = invocation(db.url, [entry], { settings: { locking: { deadline: '60s' } } });
    const running = spawnDbops(['partition', 'ensure', '-v'], { cwd, env });
    await running.waitFor(/exclude 2026-12-01 to 2027-01-01 .*trying again/);
    await writer.query('commit');
    const run = await running.done;
    await writer.end();
    expect(run.code).toBe(4);
    expect(run.stderr).toContain('is violated by some row');
    expect(await catalogOf(db, { withoutState: true })).toEqual(before);
    await db.query("insert into slipped values (2, '2026-12-25')");
    await db.query('drop table slipped');
  });

  it('on which autovacuum works gives way', async () => {
    const entry = await tableWithDefault('vacuumed');
    await db.query("insert into vacuumed select n, '2030-01-01' from generate_series(1, 20000) as n");
    await db.query(`alter table vacuumed_rest set (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1,
      autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_insert_threshold = 0)`);
    await db.query('alter system set autovacuum_naptime = 1; ').catch(() => undefined);
    await db.query('select pg_reload_conf()');
    await db.query('update vacuumed_rest set id = id + 1');
    try {
      await waitUntil(
        async () =>
          (
            await db.query(
              "select pid from pg_stat_activity where backend_type = 'autovacuum worker' and query like '%vacuumed_rest%'",
            )
          )[0],
        { timeoutMs: 60_000, what: 'an autovacuum worker on the default partition' },
      );
      const run = await runEnsure(db, [{ ...entry, premake: 1 }]);
      expect(run.stderr).not.toContain('gave up');
      expect(run.code).toBe(0);
      expect((await boundsOf(db, 'vacuumed')).map(([name]) => name)).toContain('vacuumed_y2026m12');
    } finally {
      await db.query('alter system reset autovacuum_naptime');
      await db.query('select pg_reload_conf()');
    }
  });
});
