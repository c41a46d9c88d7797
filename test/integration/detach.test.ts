import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, locksOf, openSession, waitUntil, type TestDatabase } from '../support/database.ts';
import { runProgram } from '../support/cli.ts';
import { createWorkspace, type Workspace } from '../support/workspace.ts';

const now = { DBOPS_TEST_NOW: '2026-11-21T12:00:00Z' };
const config = (extra = '') => `
locking: { deadline: 3s }
partitions:
  - table: public.orders
    key: at
    interval: month
    premake: 1
    retention: { hot: 3 months, then: delete }
    quarantine: 7 days
${extra}`;

let db: TestDatabase;
let work: Workspace;

beforeAll(async () => {
  db = await createDatabase('detach');
  work = createWorkspace(db, config());
});
afterAll(() => db.drop());

beforeEach(async () => {
  work.configure(config());
  await db.query('drop schema if exists dbops cascade');
  await db.query('drop schema public cascade');
  await db.query('create schema public');
  await db.query(
    'create table orders (id int8 not null, at timestamptz not null, primary key (id, at)) partition by range (at)',
  );
  for (const month of [6, 7, 8, 9, 10, 11]) {
    const [from, to] = [`2026-${month}-01 00:00:00+00`, `2026-${month + 1}-01 00:00:00+00`];
    await db.query(
      `create table orders_${month} partition of orders for values from ('${from}') to ('${to}')`,
    );
    await db.query(`insert into orders values (${month}, '${from}')`);
  }
});

const attached = async () =>
  (
    await db.query<{ name: string }>(
      `select inhrelid::regclass::text as name from pg_inherits where inhparent = 'orders'::regclass order by 1`,
    )
  ).map((row) => row.name);
const comment = async (table: string) =>
  (await db.query<{ comment: string | null }>(`select obj_description('${table}'::regclass) as comment`))[0]!
    .comment;
const ledger = async () =>
  db.query<{ name: string; state: string; policy: string; drop_after: Date | null }>(
    'select partition_name as name, state, policy, drop_after from dbops.partition_ledger order by id',
  );

describe('detach --due', () => {
  it('takes what is past its retention by its real upper bound, marks it and notes when it may be dropped', async () => {
    const result = await work.run(['partition', 'detach', '--due'], now);
    expect(result.code, result.stderr).toBe(0);
    // 21 November less three months is 21 August: August still has rows that are young enough.
    expect(await attached()).toEqual(['orders_10', 'orders_11', 'orders_8', 'orders_9']);
    expect(await ledger()).toMatchObject([
      { name: 'orders_6', state: 'detached', policy: 'delete', drop_after: new Date('2026-11-28T12:00:00Z') },
      { name: 'orders_7', state: 'detached', policy: 'delete' },
    ]);
    expect(await comment('orders_6')).toMatch(/^dbops:detached at=2026-11-21\S+ drop-after=2026-11-28/);
    expect(await db.query('select from orders_6')).toHaveLength(1);
    const checks = await db.query(
      `select from pg_constraint where conrelid = 'orders_6'::regclass and contype = 'c' and convalidated`,
    );
    expect(checks).toHaveLength(1);
    const again = await work.run(['partition', 'detach', '--due'], now);
    expect(again.code).toBe(0);
    expect(again.stdout).toContain('nothing is due');
  });

  it('takes no more of one table than --max, oldest first', async () => {
    const result = await work.run(['partition', 'detach', '--due', '--max', '1'], now);
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).toContain('2 due, 1 in this run');
    expect(await attached()).toHaveLength(5);
    expect(await ledger()).toMatchObject([{ name: 'orders_6' }]);
  });

  it('never takes the newest partition, even when all of them are past their retention', async () => {
    const result = await work.run(['partition', 'detach', '--due', '--max', '99'], {
      DBOPS_TEST_NOW: '2030-01-01T00:00:00Z',
    });
    expect(result.code, result.stderr).toBe(0);
    expect(await attached()).toEqual(['orders_11']);
  });

  it('keeps what has to be archived first', async () => {
    work.configure(config().replace('then: delete', 'cold: 1 year'));
    const result = await work.run(['partition', 'detach', '--due'], now);
    expect(result.code).toBe(0);
    expect(result.stderr).toContain('kept until their copy is archived');
    expect(await attached()).toHaveLength(6);
  });

  it('changes nothing with --dry-run, whose script does the same when psql runs it', async () => {
    const dry = await work.run(['partition', 'detach', '--due', '--dry-run'], now);
    expect(dry.code).toBe(0);
    expect(dry.stdout).toContain('detach partition public.orders_6 concurrently');
    expect(await attached()).toHaveLength(6);
    expect(await db.query(`select from pg_namespace where nspname = 'dbops'`)).toHaveLength(0);
    const script = await runProgram(['psql', '-X', '-q', '-f', '-', db.url], { input: dry.stdout });
    expect(script.code, script.stderr).toBe(0);
    expect(await attached()).toHaveLength(4);
    expect(await ledger()).toMatchObject([
      { name: 'orders_6', state: 'detached' },
      { name: 'orders_7', state: 'detached' },
    ]);
    expect(await comment('orders_7')).toContain('dbops:detached');
  });
});

describe('what may not be called due', () => {
  it('leaves a set alone whose bounds contradict the configuration, and does the others', async () => {
    await db.query('create table ticks (at int8 not null) partition by range (at)');
    for (const month of [6, 7, 8, 9, 10, 11]) {
      const [from, to] = [Date.UTC(2026, month - 1, 1) / 1000, Date.UTC(2026, month, 1) / 1000];
      await db.query(`create table ticks_${month} partition of ticks for values from (${from}) to (${to})`);
    }
    // The bounds are seconds: read as milliseconds, all of them are in January 1970.
    work.configure(
      config(
        `  - { table: ticks, key: at, interval: month, epoch: milliseconds, retention: { hot: 3 months, then: delete } }`,
      ),
    );
    const result = await work.run(['partition', 'detach', '--due'], now);
    expect(result.code).toBe(5);
    expect(result.stderr).toContain('public.ticks');
    expect(await attached()).toHaveLength(4);
    expect(await db.query(`select from pg_inherits where inhparent = 'ticks'::regclass`)).toHaveLength(6);
  });

  it('gives no date to a partition that was detached by name while it is young', async () => {
    expect((await work.run(['partition', 'detach', 'orders_10', '--yes'], now)).code).toBe(0);
    expect(await ledger()).toMatchObject([{ name: 'orders_10', policy: 'keep', drop_after: null }]);
    const later = await work.run(['partition', 'drop', '--due'], { DBOPS_TEST_NOW: '2028-01-01T00:00:00Z' });
    expect(later.stdout).toContain('nothing is due');
    expect(await db.query('select from orders_10')).toHaveLength(1);
  });

  it('refuses a leaf that it could not mark, and leaves it attached', async () => {
    await db.query(
      `do $$ begin create role dbops_other_owner; exception when duplicate_object then null; end $$`,
    );
    await db.query(
      `do $$ begin create role dbops_plain_owner login; exception when duplicate_object then null; end $$`,
    );
    await db.query('grant all on schema public to dbops_other_owner, dbops_plain_owner');
    await db.query('alter table orders owner to dbops_plain_owner');
    await db.query('alter table orders_9 owner to dbops_other_owner');
    const url = new URL(db.url);
    url.username = 'dbops_plain_owner';
    const result = await work.run(['partition', 'detach', 'orders_9', '--yes'], { DATABASE_URL: url.href });
    expect(result.code).toBe(4);
    expect(result.stderr).toContain('does not own public.orders_9');
    expect(await attached()).toHaveLength(6);
  });

  it('does nothing by a test clock outside of tests', async () => {
    const result = await work.run(['partition', 'detach', '--due'], { ...now, DBOPS_TEST: '' });
    expect(result.code).toBe(4);
    expect(result.stderr).toContain('DBOPS_TEST_NOW is set');
    expect(await attached()).toHaveLength(6);
  });
});

describe('detach by name', () => {
  it('needs a yes where there is no terminal, and changes nothing without one', async () => {
    const result = await work.run(['partition', 'detach', 'orders_9']);
    expect(result.code).toBe(4);
    expect(result.stderr).toContain('--yes');
    expect(await attached()).toHaveLength(6);
  });

  it('refuses tables that are no partitions, and names that do not exist', async () => {
    await db.query('create table lonely (a int)');
    const lonely = await work.run(['partition', 'detach', 'lonely', '--yes']);
    expect(lonely.code).toBe(4);
    expect(lonely.stderr).toContain('public.lonely is not attached');
    const missing = await work.run(['partition', 'detach', 'nowhere', '--yes']);
    expect(missing.code).toBe(2);
    expect(missing.stderr).toContain('public.nowhere does not exist');
    expect(await attached()).toHaveLength(6);
  });

  it('refuses, before it begins, when a foreign key references rows in it', async () => {
    await db.query(
      'create table lines (order_id int8, at timestamptz, foreign key (order_id, at) references orders)',
    );
    await db.query(`insert into lines values (9, '2026-09-01 00:00:00+00')`);
    const result = await work.run(['partition', 'detach', 'orders_9', '--yes']);
    expect(result.code).toBe(4);
    expect(result.stderr).toContain('rows of public.lines reference public.orders_9');
    expect(await attached()).toHaveLength(6);
    const free = await work.run(['partition', 'detach', 'orders_8', '--yes']);
    expect(free.code, free.stderr).toBe(0);
    expect(await attached()).toHaveLength(5);
  });

  it('detaches under short locks beside a default partition, and leaves a validated CHECK', async () => {
    await db.query('create table orders_default partition of orders default');
    const result = await work.run(['partition', 'detach', 'orders_9', '--yes', '-v']);
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).not.toContain('detach partition public.orders_9 concurrently');
    const checks = await db.query<{ valid: boolean }>(
      `select convalidated as valid from pg_constraint where conrelid = 'orders_9'::regclass and conname = 'dbops_bound'`,
    );
    expect(checks).toEqual([{ valid: true }]);
    expect(await comment('orders_9')).toContain('drop-after=');
  });

  it('leaves no pending detach when a reader holds the parent, and says who holds it', async () => {
    const reader = await openSession(db.url);
    await reader.begin();
    await reader.query('select count(*) from orders');
    const result = await work.run(['partition', 'detach', 'orders_9', '--yes']);
    expect(result.code).toBe(5);
    expect(result.stderr).toContain(`pid ${reader.pid}`);
    expect(result.stderr).toContain('select count(*) from orders');
    expect(await db.query('select from pg_inherits where inhdetachpending')).toHaveLength(0);
    expect(await attached()).toHaveLength(6);
    // The state schema is there now and the note in the ledger was taken back: nothing at all is changed.
    const refused = await work.run(['partition', 'detach', 'orders_9', '--yes']);
    expect(refused.code).toBe(4);
    expect(await ledger()).toEqual([]);
    await reader.end();
    const again = await work.run(['partition', 'detach', 'orders_9', '--yes']);
    expect(again.code, again.stderr).toBe(0);
    expect(await ledger()).toMatchObject([{ name: 'orders_9', state: 'detached' }]);
  });

  it('with a default partition tries short locks beside a reader and then gives up, naming it', async () => {
    await db.query('create table orders_default partition of orders default');
    const reader = await openSession(db.url);
    await reader.begin();
    await reader.query('select count(*) from orders');
    const running = work.spawn(['partition', 'detach', 'orders_9', '--yes']);
    const writer = await openSession(db.url);
    let longestMs = 0;
    let ended = false;
    let id = 1_000_000;
    void running.done.then(() => (ended = true));
    while (!ended) {
      const started = performance.now();
      id += 1;
      await writer.query(`insert into orders values (${id}, '2026-11-02')`);
      longestMs = Math.max(longestMs, performance.now() - started);
    }
    const result = await running.done;
    expect(result.code).toBe(5);
    expect(result.stderr).toContain(`pid ${reader.pid}`);
    // Each try holds the writers up for 100 ms at most, and waiting once would for 3 s; a busy machine adds its part.
    expect(longestMs).toBeLessThan(2500);
    await reader.end();
    await writer.end();
  });
});

describe('interrupted', () => {
  it('finishes a pending detach that another run left, before anything else', async () => {
    const reader = await openSession(db.url);
    await reader.begin();
    await reader.query('select count(*) from orders');
    const breaker = await openSession(db.url);
    await breaker.query(`set statement_timeout = '300ms'`);
    await expect(
      breaker.query('alter table orders detach partition orders_9 concurrently'),
    ).rejects.toThrow();
    await reader.end();
    await breaker.end();
    expect(await db.query('select from pg_inherits where inhdetachpending')).toHaveLength(1);
    const check = await work.run(['partition', 'check'], now);
    expect(check.code).toBe(6);
    expect(check.stdout).toContain('detach-pending');
    const result = await work.run(['partition', 'detach', '--due'], now);
    expect(result.code, result.stderr).toBe(0);
    expect(await db.query('select from pg_inherits where inhdetachpending')).toHaveLength(0);
    expect(await comment('orders_9')).toContain('dbops:detached');
  });

  it('ensure finishes a pending detach too', async () => {
    const reader = await openSession(db.url);
    await reader.begin();
    await reader.query('select count(*) from orders');
    const breaker = await openSession(db.url);
    await breaker.query(`set statement_timeout = '300ms'`);
    await expect(
      breaker.query('alter table orders detach partition orders_9 concurrently'),
    ).rejects.toThrow();
    await reader.end();
    await breaker.end();
    const result = await work.run(['partition', 'ensure'], now);
    expect(result.code, result.stderr).toBe(0);
    expect(await db.query('select from pg_inherits where inhdetachpending')).toHaveLength(0);
  });

  it('marks what a run detached and was killed before it could mark', async () => {
    expect((await work.run(['partition', 'detach', 'orders_9', '--yes'], now)).code).toBe(0);
    await db.query(`update dbops.partition_ledger set state = 'detaching', drop_after = null`);
    await db.query('comment on table orders_9 is null');
    // Nothing at all is due any more: the mark is set all the same.
    const result = await work.run(['partition', 'detach', '--due'], {
      DBOPS_TEST_NOW: '2026-06-15T00:00:00Z',
    });
    expect(result.code, result.stderr).toBe(0);
    expect(await comment('orders_9')).toContain('dbops:detached');
    expect((await ledger())[0]).toMatchObject({ name: 'orders_9', state: 'detached' });
  });

  it('can be killed while it waits, and a second run does the work', async () => {
    const reader = await openSession(db.url);
    await reader.begin();
    await reader.query('select count(*) from orders');
    const running = work.spawn(['partition', 'detach', 'orders_9', '--yes', '-v'], now);
    await running.waitFor(/not begun yet/);
    running.kill('SIGKILL');
    await running.done;
    await reader.end();
    const result = await work.run(['partition', 'detach', 'orders_9', '--yes'], now);
    expect(result.code, result.stderr).toBe(0);
    expect(await attached()).toHaveLength(5);
  });
});

describe('locks', () => {
  it('a concurrent detach holds SHARE UPDATE EXCLUSIVE on the parent while it waits for an older reader', async () => {
    const detacher = await openSession(db.url);
    const reader = await openSession(db.url);
    await reader.begin();
    await reader.query('select count(*) from orders');
    const detaching = detacher.query('alter table orders detach partition orders_9 concurrently');
    const held = await waitUntil(
      async () => {
        const pending = await db.query('select from pg_inherits where inhdetachpending');
        return pending.length === 1 ? locksOf(db, detacher.pid) : undefined;
      },
      { what: 'the detach to be pending' },
    );
    const modes = held.filter((lock) => lock.relation === 'orders').map((lock) => lock.mode);
    expect(modes).not.toContain('AccessExclusiveLock');
    await reader.end();
    await detaching;
    await detacher.end();
  });
});
