// `index create` and `index drop` on a server: what is made, what a failure leaves, and who waits meanwhile.
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createIndex } from '../../../src/indexes/create.ts';
import { dropIndex, planDrop } from '../../../src/indexes/drop.ts';
import { planCreate } from '../../../src/indexes/plan-create.ts';
import { watchBuild } from '../../../src/indexes/progress.ts';
import { silentLog } from '../../../src/output/log.ts';
import type { DbopsError } from '../../../src/errors.ts';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../../support/database.ts';
import { asJob, leaveInvalid, wanted } from '../../support/indexes.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase('index_create');
  await db.query(`
    create table public.orders (id bigint primary key, customer bigint not null, state text, "At" timestamptz);
    insert into public.orders select n, n % 10, 'new', now() + n * interval '1 s' from generate_series(1, 200) as n`);
});
afterAll(() => db.drop());

const impatient = { lockDeadlineMs: 300, lockTimeoutMs: 50 };

async function definitions(table: string): Promise<[string, boolean][]> {
  const rows = await db.query<{ definition: string; valid: boolean }>(
    `select pg_get_indexdef(indexrelid) as definition, indisvalid as valid from pg_index
      where indrelid = $1::regclass and not indisprimary order by 1`,
    [table],
  );
  return rows.map(({ definition, valid }) => [definition, valid]);
}

const create = (...args: Parameters<typeof wanted>) => asJob(db, (job) => createIndex(job, wanted(...args)));

describe('index create', () => {
  it('makes an index as it was written, once', async () => {
    const spec = wanted('public.orders', ['customer desc nulls last', 'lower(state)', 'At'], {
      unique: true,
      include: ['id'],
      where: "state <> 'old;'",
    });
    const made = await asJob(db, (job) => createIndex(job, spec));
    expect(made).toMatchObject({ index: 'public.orders_customer_expr_At_idx', changes: 1 });
    expect(await definitions('public.orders')).toEqual([
      [
        `CREATE UNIQUE INDEX "orders_customer_expr_At_idx" ON public.orders USING btree (customer DESC NULLS LAST, lower(state), "At") INCLUDE (id) WHERE (state <> 'old;'::text)`,
        true,
      ],
    ]);
    expect(await asJob(db, (job) => createIndex(job, spec))).toMatchObject({ changes: 0 });
    const renamed = {
      ...spec,
      name: 'other',
      columns: ['customer  DESC NULLS LAST', '(lower(state))', '"At" asc'],
    };
    expect(await asJob(db, (job) => createIndex(job, renamed))).toMatchObject({
      changes: 0,
      notes: ['the same index is there under the name public.orders_customer_expr_At_idx'],
    });
    await db.query('drop index public."orders_customer_expr_At_idx"');
  });

  it.each([
    [['stat'], {}, 'usage', 'has no column "stat"'],
    [['lower(state'], {}, 'usage', 'do not match'],
    [['state); drop table public.orders; --'], {}, 'usage', 'do not match'],
    [['state'], { where: 'true; drop table public.orders' }, 'usage', 'without ";"'],
    [['state'], { where: 'nothing > 1' }, 'usage', 'nothing'],
    [['state gin_trgm_ops'], { method: 'gin' }, 'usage', 'gin_trgm_ops'],
    [['state'], { name: 'orders_pkey' }, 'name_collision', 'orders_pkey is there already'],
    [['state'], { name: 'public.by_state' }, 'usage', 'without its schema'],
    [['state'], { name: 'n'.repeat(64) }, 'usage', '1 to 63 bytes'],
    [['state'], { name: '' }, 'usage', '1 to 63 bytes'],
    [['state'], { where: ' ' }, 'usage', 'where is empty'],
    [['state ='], {}, 'usage', 'syntax error'],
  ])('of %j %j is refused: %s', async (columns, more, code, message) => {
    await expect(create('public.orders', columns, more)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message) as string,
    });
    expect(await definitions('public.orders')).toEqual([]);
  });

  it('removes what a cancelled try left, and builds it', async () => {
    await leaveInvalid(db, 'orders_state_idx', 'public.orders (state)');
    const plan = await asJob(db, (job) => planCreate(job, wanted('public.orders', ['state'])));
    expect(plan.changes.map(({ summary }) => summary)).toEqual([
      'drop the index public.orders_state_idx',
      'create the index orders_state_idx on public.orders',
    ]);
    expect(await create('public.orders', ['state'])).toMatchObject({ changes: 2 });
    expect(await definitions('public.orders')).toEqual([
      ['CREATE INDEX orders_state_idx ON public.orders USING btree (state)', true],
    ]);
    await db.query('drop index public.orders_state_idx');
  });

  it('is mended by the next run when it was interrupted', async () => {
    // An old snapshot, on whatever table, is what the build waits for at its end.
    const reader = await openSession(db.url);
    await reader.query('begin isolation level repeatable read');
    await reader.query('select from pg_class limit 1');
    const controller = new AbortController();
    const run = asJob(db, (job) => createIndex(job, wanted('public.orders', ['state'])), {
      signal: controller.signal,
    });
    const failed = expect(run).rejects.toMatchObject({ code: 'interrupted' });
    const warnings = vi.spyOn(silentLog, 'warn');
    await waitUntil(async () => (await definitions('public.orders')).length > 0, { what: 'the index' });
    controller.abort('SIGINT');
    await failed;
    expect(await definitions('public.orders')).toMatchObject([[expect.any(String), false]]);
    expect(warnings.mock.calls.map(([, message]) => message)).toEqual([
      expect.stringContaining('public.orders_state_idx is left behind, not valid'),
    ]);
    warnings.mockRestore();
    await reader.end();
    expect(await create('public.orders', ['state'])).toMatchObject({ index: 'public.orders_state_idx' });
    expect(await definitions('public.orders')).toEqual([
      ['CREATE INDEX orders_state_idx ON public.orders USING btree (state)', true],
    ]);
    await db.query('drop index public.orders_state_idx');
  });

  it('says whom it waits for while it waits', async () => {
    const reader = await openSession(db.url);
    await reader.query('begin isolation level repeatable read');
    await reader.query('select from pg_class limit 1');
    const lines: string[] = [];
    const log = { ...silentLog, info: (_: object, message: string) => void lines.push(message) };
    await asJob(db, async (job) => {
      const progress = watchBuild({ db: job.db, log }, 20);
      const run = createIndex(job, wanted('public.orders', ['state']));
      const said = `index of public.orders: waiting for old snapshots, now for pid ${reader.pid} (user `;
      await waitUntil(() => lines.some((line) => line.startsWith(said)), { what: 'the progress' });
      await reader.end();
      await run;
      await progress.end();
    });
    await db.query('drop index public.orders_state_idx');
  });

  it('leaves nothing of a unique index that cannot be, and finds the rows', async () => {
    const keys = ['customer desc', 'lower(state) asc nulls first'];
    const error: unknown = await create('public.orders', keys, { unique: true, where: 'id < 14' }).catch(
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({
      code: 'constraint_violated',
      detail: expect.stringMatching(/is duplicated/) as string,
    });
    expect(await definitions('public.orders')).toEqual([]);
    const search = /select .*;/.exec((error as DbopsError).hint ?? '')?.[0] ?? '';
    expect(await db.query(`${search.slice(0, -1)} order by customer`)).toEqual(
      ['1', '2', '3'].map((customer) => ({ customer, lower: 'new', count: '2' })),
    );
  });

  it('does not begin beside a lasting transaction, and names it', async () => {
    const writer = await openSession(db.url);
    await writer.begin();
    await writer.query('lock table public.orders in row exclusive mode');
    const run = asJob(db, (job) => createIndex(job, wanted('public.orders', ['state'])), {
      settings: impatient,
    });
    await expect(run).rejects.toMatchObject({
      code: 'lock_timeout',
      detail: expect.stringContaining(`pid ${writer.pid}`) as string,
    });
    expect(await definitions('public.orders')).toEqual([]);
    await writer.end();
  });

  it('refuses while another session builds the same, and lets writers go on', async () => {
    const writer = await openSession(db.url);
    await writer.begin();
    await writer.query('lock table public.orders in row exclusive mode');
    const builder = await openSession(db.url);
    const built = builder.query('create index concurrently theirs on public.orders (state)');
    await waitUntil(async () => (await definitions('public.orders')).length > 0, { what: 'their index' });
    await expect(create('public.orders', ['state'])).rejects.toMatchObject({ code: 'lock_busy' });
    // Nobody queues behind a build.
    const other = await openSession(db.url);
    await other.query("set lock_timeout = '50ms'");
    await other.query('update public.orders set state = state where id = 7');
    await writer.end();
    await built;
    await db.query('drop index public.theirs');
  });
});

describe('index create on a partitioned table', () => {
  it('goes partition by partition, and goes on where it was stopped', async () => {
    await db.query(`
      create table public.calls (id int, at date not null, kind text) partition by range (at);
      create table public.calls_1 partition of public.calls for values from ('2026-01-01') to ('2026-02-01');
      create table public.calls_2 partition of public.calls for values from ('2026-02-01') to ('2026-03-01')
        partition by list (kind);
      create table public.calls_2a partition of public.calls_2 for values in ('a');
      create table public.calls_2b partition of public.calls_2 default;
      create index own on public.calls_1 (id)`);
    await leaveInvalid(db, 'calls_2a_id_idx', 'public.calls_2a (id)');
    const plan = await asJob(db, (job) =>
      planCreate(job, wanted('public.calls', ['id'], { name: 'calls_by_id' })),
    );
    expect(
      plan.changes.flatMap(({ steps }) => steps.map(({ sql }) => sql)).filter((sql) => !/^lock/.test(sql)),
    ).toEqual([
      'create index calls_by_id on only public.calls using btree (id)',
      'alter index public.calls_by_id attach partition public.own',
      'create index calls_2_id_idx on only public.calls_2 using btree (id)',
      'alter index public.calls_by_id attach partition public.calls_2_id_idx',
      'drop index concurrently if exists public.calls_2a_id_idx',
      'create index concurrently calls_2a_id_idx on public.calls_2a using btree (id)',
      'alter index public.calls_2_id_idx attach partition public.calls_2a_id_idx',
      'create index concurrently calls_2b_id_idx on public.calls_2b using btree (id)',
      'alter index public.calls_2_id_idx attach partition public.calls_2b_id_idx',
    ]);
    const writer = await openSession(db.url);
    await writer.begin();
    await writer.query('lock table public.calls_2b in row exclusive mode');
    const spec = wanted('public.calls', ['id'], { name: 'calls_by_id' });
    const stopped = asJob(db, (job) => createIndex(job, spec), { settings: impatient });
    await expect(stopped).rejects.toMatchObject({ code: 'lock_timeout' });
    expect(await definitions('public.calls')).toMatchObject([
      [expect.stringContaining('calls_by_id'), false],
    ]);
    await writer.end();
    expect(await asJob(db, (job) => createIndex(job, spec))).toMatchObject({ changes: 2, notes: [] });
    expect(await definitions('public.calls')).toMatchObject([[expect.stringContaining('calls_by_id'), true]]);
    expect(await asJob(db, (job) => createIndex(job, spec))).toMatchObject({ changes: 0 });
  });

  it('is refused as a unique one that cannot hold across partitions, before anything is made', async () => {
    await db.query(`
      create table public.keyed (id int, at date not null, kind text) partition by range (at);
      create table public.keyed_1 partition of public.keyed for values from ('2026-01-01') to ('2026-02-01')
        partition by list (lower(kind))`);
    const refused = (columns: string[]) => expect(create('public.keyed', columns, { unique: true })).rejects;
    await refused(['id']).toMatchObject({
      code: 'refused',
      message: expect.stringContaining('public.keyed is partitioned by "at"') as string,
    });
    await refused(['id', 'at']).toMatchObject({
      message: expect.stringContaining('public.keyed_1 is partitioned by an expression') as string,
    });
    expect(await definitions('public.keyed')).toEqual([]);
    await db.query('drop table public.keyed');
  });

  it('attaches only when nobody holds the index, and stalls nobody behind it', async () => {
    await db.query(`
      create table public.days (at date not null, a int) partition by range (at);
      create table public.days_1 partition of public.days for values from ('2026-01-01') to ('2026-02-01');
      create index days_1_a_idx on public.days_1 (a)`);
    const reader = await openSession(db.url);
    await reader.begin();
    await reader.query('select from public.days_1 where a = 1');
    const run = asJob(db, (job) => createIndex(job, wanted('public.days', ['a'])), {
      settings: { lockTimeoutMs: 50 },
    });
    await waitUntil(async () => (await definitions('public.days')).length > 0, {
      what: 'the index of the parent',
    });
    const other = await openSession(db.url);
    const started = performance.now();
    for (let read = 0; read < 10; read += 1) await other.query('select from public.days_1 where a = 1');
    expect(performance.now() - started).toBeLessThan(1500);
    await reader.end();
    expect(await run).toMatchObject({ index: 'public.days_a_idx' });
    expect(await definitions('public.days')).toMatchObject([[expect.any(String), true]]);
  });
});

describe('index drop', () => {
  const planOf = (name: string) => asJob(db, (job) => planDrop(job.db, name));
  const drop = (name: string, settings = {}) =>
    asJob(db, async (job) => await dropIndex(job, await planDrop(job.db, name)), { settings });

  it('drops, and keeps what makes it again', async () => {
    await db.query(`
      create index gone on public.orders (state) with (fillfactor = 70) where id > 3;
      comment on index public.gone is 'it''s mine'`);
    const { undo } = await planOf('public.gone');
    await drop('gone');
    expect(await definitions('public.orders')).toEqual([]);
    for (const statement of undo) await db.query(statement);
    expect(await definitions('public.orders')).toEqual([
      ["CREATE INDEX gone ON public.orders USING btree (state) WITH (fillfactor='70') WHERE (id > 3)", true],
    ]);
    const [run] = await db.query<{ plan: { undo: string[] } }>(
      'select plan from dbops.run order by id desc limit 1',
    );
    expect(run?.plan.undo).toEqual(undo);
    await db.query('drop index public.gone');
  });

  it('refuses what something leans on, and says what helps', async () => {
    await db.query(`
      create table public.leaned (a int not null, b int unique);
      create unique index leaned_a on public.leaned (a);
      create unique index leaned_identity on public.leaned (a, b) include (b);
      create table public.leaning (a int references public.leaned (a), c int);
      create index leaning_a on public.leaning (a);
      create index leaning_some on public.leaning (a) where c > 1;
      alter table public.leaned alter b set not null;
      create unique index leaned_b on public.leaned (b, a);
      alter table public.leaned replica identity using index leaned_b;
      create table public.parted (a int) partition by range (a);
      create table public.parted_1 partition of public.parted for values from (1) to (2);
      create index parted_a on public.parted (a)`);
    for (const [name, why] of [
      ['leaned_b_key', 'is the constraint'],
      ['leaned_a', 'is what the foreign key "leaning_a_fkey"'],
      ['leaned_b', 'is the replica identity'],
      ['leaning_a', 'is the only one that serves the foreign key "leaning_a_fkey"'],
      ['parted_a', 'is partitioned'],
      ['parted_1_a_idx', 'is a part of the partitioned index public.parted_a'],
    ] as const)
      await expect(planOf(name)).rejects.toMatchObject({
        code: 'refused',
        message: expect.stringContaining(why) as string,
        hint: expect.any(String) as string,
      });
    await expect(planOf('nowhere')).rejects.toMatchObject({ code: 'table_not_found' });
    expect(await planOf('leaning_some')).toMatchObject({ changes: [{ event: 'index_dropped' }] });
    await db.query('create index leaning_other on public.leaning (a, c)');
    expect(await planOf('leaning_a')).toMatchObject({ changes: [{ event: 'index_dropped' }] });
    await db.query('drop table public.leaning, public.leaned, public.parted');
  });

  it('gives up while a transaction uses the table, with the index as it was, and is retried until it is gone', async () => {
    await db.query('create index used on public.orders (state)');
    const reader = await openSession(db.url);
    await reader.begin();
    await reader.query('select from public.orders where id = 1');
    await expect(drop('used', impatient)).rejects.toMatchObject({ code: 'lock_timeout' });
    expect(await definitions('public.orders')).toMatchObject([[expect.any(String), true]]);
    const dropped = drop('used');
    await reader.query('select from public.orders where id = 2');
    await reader.end();
    await dropped;
    expect(await definitions('public.orders')).toEqual([]);
  });
});
