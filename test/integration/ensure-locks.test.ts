// Every claim about locks, seen in pg_locks from a second session.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import { runDbops, spawnDbops } from '../support/cli.ts';
import {
  createDatabase,
  locksOf,
  openSession,
  serverVersion,
  type Session,
  type TestDatabase,
} from '../support/database.ts';
import { boundsOf, catalogOf, invocation, runEnsure, type TableEntry } from '../support/ensure.ts';

let db: TestDatabase;
const sessions: Session[] = [];

beforeAll(async () => {
  db = await createDatabase('ensure_locks');
});

afterEach(async () => {
  for (const session of sessions.splice(0)) await session.end();
});

afterAll(() => db.drop());

async function session(): Promise<Session> {
  const opened = await openSession(db.url);
  sessions.push(opened);
  return opened;
}

async function table(name: string, more = ''): Promise<TableEntry> {
  await db.query(`create table ${name} (id int, at date${more}) partition by range (at)`);
  await db.query(
    `create table ${name}_old partition of ${name} for values from ('2026-11-01') to ('2026-12-01')`,
  );
  return { table: `public.${name}`, key: 'at', interval: 'month', premake: 1 };
}

/** Runs the printed plan of one new partition up to the end of its last transaction, which is left open. */
async function locksOfAttach(entry: TableEntry): Promise<Record<string, string[]>> {
  const { cwd, env } = invocation(db.url, [entry]);
  const { stdout } = await runDbops(['partition', 'ensure', '--dry-run'], { cwd, env });
  const transactions = stdout
    .split('begin;')
    .slice(1)
    .map((text) => text.split('commit;')[0]!);
  const worker = await session();
  for (const [index, text] of transactions.entries()) {
    await worker.query(`begin; ${text}`);
    if (index < transactions.length - 1) await worker.query('commit');
  }
  const found: Record<string, string[]> = {};
  for (const { relation, mode, granted } of await locksOf(db, worker.pid)) {
    expect(granted).toBe(true);
    if (!relation.startsWith('pg_')) (found[relation] ??= []).push(mode);
  }
  await worker.query('rollback');
  return found;
}

describe('the attach locks', () => {
  it('the parent in SHARE UPDATE EXCLUSIVE, other leaves and the tables behind foreign keys as the plan says', async () => {
    await db.query('create table customers (id int primary key)');
    const entry = await table('orders', ' , customer int references customers, primary key (id, at)');
    await db.query('create table items (id int, at date, foreign key (id, at) references orders)');
    const locks = await locksOfAttach(entry);
    expect(locks['orders']).toContain('ShareUpdateExclusiveLock');
    const strong = ['ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'];
    expect(
      locks['orders']!.filter((mode) => strong.includes(mode) && mode !== 'ShareRowExclusiveLock'),
    ).toEqual([]);
    expect(locks['orders_old'] ?? []).not.toContain('AccessExclusiveLock');
    expect(locks['customers']).toContain('ShareRowExclusiveLock');
    expect(locks['customers']).not.toContain('AccessExclusiveLock');
    expect(locks['items'] ?? []).not.toContain('AccessExclusiveLock');
    if (serverVersion() >= 150_000) expect(locks['items']).toContain('ShareRowExclusiveLock');
    expect(locks['orders_y2026m12']).toContain('AccessExclusiveLock');
  });

  it('no table in ACCESS EXCLUSIVE but the new one, without a default partition', async () => {
    const locks = await locksOfAttach(await table('simple'));
    const exclusive = Object.entries(locks).filter(([, modes]) => modes.includes('AccessExclusiveLock'));
    expect(exclusive.map(([name]) => name)).toEqual(['simple_y2026m12']);
    expect(
      locks['simple']!.filter((mode) => !['AccessShareLock', 'ShareUpdateExclusiveLock'].includes(mode)),
    ).toEqual([]);
  });

  it('and the plan names them all', async () => {
    await db.query('create table places (id int primary key)');
    const entry = await table('visits', ' , place int references places');
    await db.query('create table visits_rest partition of visits default');
    const { cwd, env } = invocation(db.url, [entry]);
    const { stdout } = await runDbops(['partition', 'ensure', '--dry-run'], { cwd, env });
    expect(stdout).toContain('SHARE UPDATE EXCLUSIVE on public.visits,');
    expect(stdout).toContain('SHARE ROW EXCLUSIVE on public.places');
    expect(stdout).toContain('ACCESS EXCLUSIVE on public.visits_rest');
  });
});

describe('others', () => {
  it('a long reader and a writer on the parent do not delay it, and it does not delay them', async () => {
    const entry = await table('busy');
    const [reader, openWriter, writer] = [await session(), await session(), await session()];
    await reader.begin();
    await reader.query('select * from busy');
    await openWriter.begin();
    await openWriter.query("insert into busy values (1, '2026-11-02')");
    let longestMs = 0;
    let stopped = false;
    const writing = (async () => {
      while (!stopped) {
        const started = performance.now();
        await writer.query("insert into busy values (2, '2026-11-03')");
        longestMs = Math.max(longestMs, performance.now() - started);
        await sleep(5);
      }
    })();
    const run = await runEnsure(db, [entry], { settings: { locking: { deadline: '2s' } } });
    stopped = true;
    await writing;
    expect(run.code).toBe(0);
    // Loose: the reader stays for the whole run, and a writer behind a waiting ACCESS EXCLUSIVE would not come through.
    expect(longestMs).toBeLessThan(2000);
    expect(await boundsOf(db, 'busy')).toHaveLength(2);
  });

  it('a holder of SHARE UPDATE EXCLUSIVE makes it try again until it goes', async () => {
    const entry = await table('vacuumed');
    const holder = await session();
    await holder.begin();
    await holder.query('lock table only vacuumed in share update exclusive mode');
    const { cwd, env } = invocation(db.url, [entry]);
    const running = spawnDbops(['partition', 'ensure', '-v'], { cwd, env });
    await running.waitFor(new RegExp(`attach .*pid ${String(holder.pid)} .*trying again`));
    await holder.query('commit');
    const run = await running.done;
    expect(run.code).toBe(0);
    expect(await boundsOf(db, 'vacuumed')).toHaveLength(2);
  });

  it('one that stays is named with pid, user, age and query; nothing is left behind', async () => {
    const entry = await table('stuck');
    const before = await catalogOf(db, { withoutState: true });
    const holder = await session();
    await holder.begin();
    await holder.query("lock table only stuck in share update exclusive mode /* 'the culprit' */");
    const run = await runEnsure(db, [entry], { settings: { locking: { deadline: '2s' } } });
    expect(run.code).toBe(4);
    expect(run.stderr).toContain('gave up after 2 s: attach public.stuck_y2026m12 to public.stuck');
    expect(run.stderr).toMatch(
      new RegExp(
        `pid ${String(holder.pid)} \\(user \\S+, idle in transaction, transaction [\\d.]+ s old\\) holds ShareUpdateExclusiveLock`,
      ),
    );
    expect(run.stderr).toContain("'the culprit'");
    expect(run.stderr).toContain(`pg_terminate_backend(${String(holder.pid)})`);
    await holder.query('commit');
    expect(await catalogOf(db, { withoutState: true })).toEqual(before);
  });

  it('after a first partition was made, giving up says so with exit 5, and the next run goes on', async () => {
    const entries = [await table('first_done'), await table('then_stuck')];
    const holder = await session();
    await holder.begin();
    await holder.query('lock table only then_stuck in share update exclusive mode');
    const run = await runEnsure(db, entries, { settings: { locking: { deadline: '1s' } } });
    expect(run.code).toBe(5);
    expect(run.stderr).toContain('gave up after 1 s: attach public.then_stuck_y2026m12');
    expect(run.stderr).toContain('2 changes were made before');
    expect(await boundsOf(db, 'first_done')).toHaveLength(2);
    await holder.query('commit');
    expect((await runEnsure(db, entries)).code).toBe(0);
    expect(await boundsOf(db, 'then_stuck')).toHaveLength(2);
  });

  it('a holder of the referenced table delays it no longer than the deadline and is named', async () => {
    await db.query('create table parents (id int primary key)');
    const entry = await table('children', ', parent int references parents');
    const holder = await session();
    await holder.begin();
    await holder.query('insert into parents values (1)');
    const run = await runEnsure(db, [entry], { settings: { locking: { deadline: '1s' } } });
    expect(run.code).toBe(4);
    expect(run.stderr).toContain(`pid ${String(holder.pid)}`);
    expect(run.stderr).toContain('RowExclusiveLock on public.parents');
  });
});
