// What health says of indexes: each finding made true on a server, and made well again.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../../support/database.ts';
import { createRole, findingOf, findingsOf } from '../../support/health.ts';
import { planDrop } from '../../../src/indexes/drop.ts';
import { listLeftovers } from '../../../src/sql/maintenance-indexes.ts';
import { asJob, leaveInvalid } from '../../support/indexes.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase('indexes');
  await db.query(`
    create table public.orders (id bigint primary key, customer bigint not null, state text, at timestamptz);
    insert into public.orders select n, n % 10, 'new', now() from generate_series(1, 500) as n;
    analyze public.orders`);
});
afterAll(() => db.drop());

const longAgo = { countedSince: new Date('2020-01-01T00:00:00Z') };
const small = (id: string) => ({ [id]: { warn: 1 } });

describe('indexes.invalid', () => {
  it('is well without one, a finding with one that was left, with the statement that mends it', async () => {
    expect(await findingOf(db, 'indexes.invalid')).toMatchObject({ severity: 'ok' });
    await leaveInvalid(db, 'orders_state_idx', 'public.orders (state)');
    const nobody = await createRole(db);
    for (const as of [undefined, nobody])
      expect(await findingOf(db, 'indexes.invalid', as === undefined ? {} : { as })).toMatchObject({
        severity: 'warn',
        object: 'public.orders_state_idx',
        mend: 'reindex index concurrently public.orders_state_idx;',
      });
    await db.query('reindex index public.orders_state_idx');
    expect(await findingOf(db, 'indexes.invalid')).toMatchObject({ severity: 'ok' });
    await db.query('drop index public.orders_state_idx');
  });

  it('knows what REINDEX CONCURRENTLY left behind', async () => {
    await db.query('create index orders_at_idx on public.orders (at)');
    const writer = await openSession(db.url);
    await writer.begin();
    await writer.query('update public.orders set state = state where id = 1');
    const session = await openSession(db.url);
    await session.query("set lock_timeout = '50ms'");
    await expect(session.query('reindex index concurrently public.orders_at_idx')).rejects.toThrow(
      /lock timeout/,
    );
    await writer.end();
    expect(await findingOf(db, 'indexes.invalid')).toMatchObject({
      severity: 'warn',
      object: 'public.orders_at_idx_ccnew',
      mend: 'drop index concurrently public.orders_at_idx_ccnew;',
    });
    await db.query('drop index public.orders_at_idx_ccnew; drop index public.orders_at_idx');
  });

  it('takes a VACUUM of the table for no work on it, and a REINDEX that keeps writers out for some', async () => {
    await leaveInvalid(db, 'orders_idx_ccnew1', 'public.orders (state)');
    const vacuum = await openSession(db.url);
    await vacuum.begin();
    // The lock of VACUUM.
    await vacuum.query('lock table public.orders in share update exclusive mode');
    const leftovers = () => asJob(db, (job) => listLeftovers(job.db));
    expect(await findingOf(db, 'indexes.invalid')).toMatchObject({ severity: 'warn' });
    expect(await leftovers()).toMatchObject([{ name: 'orders_idx_ccnew1', isInUse: false }]);
    await vacuum.end();
    const rebuild = await openSession(db.url);
    await rebuild.begin();
    await rebuild.query('reindex index public.orders_idx_ccnew1');
    expect(await findingOf(db, 'indexes.invalid')).toMatchObject({ severity: 'ok' });
    expect(await leftovers()).toMatchObject([{ isInUse: true }]);
    await expect(asJob(db, (job) => planDrop(job.db, 'orders_idx_ccnew1'))).rejects.toMatchObject({
      code: expect.stringMatching(/^lock_/) as string,
    });
    await rebuild.end();
    await db.query('drop index public.orders_idx_ccnew1');
  });

  it.each([
    ['CREATE INDEX', 'create index concurrently orders_busy_idx on public.orders (state)', 'orders_busy_idx'],
    ['REINDEX', 'reindex index concurrently public.orders_pkey', 'orders_pkey_ccnew'],
  ])('is well while %s CONCURRENTLY waits for writers', async (_, statement, name) => {
    const writer = await openSession(db.url);
    await writer.begin();
    await writer.query('update public.orders set state = state where id = 1');
    const builder = await openSession(db.url);
    const built = builder.query(statement);
    await waitUntil(
      async () => (await db.query('select from pg_class where relname = $1', [name])).length > 0,
      { what: 'the index that is being built' },
    );
    expect(await findingOf(db, 'indexes.invalid')).toMatchObject({ severity: 'ok' });
    const nobody = await createRole(db);
    const seen = await findingOf(db, 'indexes.invalid', { as: nobody });
    // What REINDEX works on shows by its locks; what CREATE INDEX builds, only the statistics tell.
    if (name === 'orders_busy_idx')
      expect(seen).toMatchObject({ severity: 'unknown', mend: `grant pg_read_all_stats to ${nobody.name};` });
    else expect(seen).toMatchObject({ severity: 'ok' });
    const monitor = await createRole(db, 'pg_monitor');
    expect(await findingOf(db, 'indexes.invalid', { as: monitor })).toMatchObject({ severity: 'ok' });
    await writer.query('commit');
    await built;
    await db.query('drop index if exists public.orders_busy_idx');
  });
});

describe('indexes.duplicate', () => {
  it('finds the same index under another name, and nothing that differs', async () => {
    await db.query(`
      create index one on public.orders (customer, state);
      create index other_order on public.orders (customer, state desc);
      create index other_collation on public.orders (customer, state collate "C");
      create index other_class on public.orders (customer, state text_pattern_ops);
      create index some_rows on public.orders (customer, state) where id > 5;
      create index more_rows on public.orders (customer, state) where id > 6;
      create index lowered on public.orders (lower(state))`);
    expect(await findingOf(db, 'indexes.duplicate')).toMatchObject({ severity: 'ok' });
    await db.query(`
      create index one_again on public.orders (customer, state);
      create index some_rows_again on public.orders (customer, state) where    id > 5;
      create index lowered_again on public.orders (lower(state));
      create index plain_id on public.orders (id)`);
    const nobody = await createRole(db);
    const findings = await findingsOf(db, ['indexes.duplicate'], { as: nobody });
    expect(findings.map(({ object, severity, mend }) => [object, severity, mend])).toEqual(
      ['lowered_again', 'one_again', 'plain_id', 'some_rows_again'].map((name) => [
        `public.${name}`,
        'warn',
        `dbops index drop public.${name}`,
      ]),
    );
    await db.query(
      'drop index public.one_again, public.some_rows_again, public.lowered_again, public.plain_id',
    );
    expect(await findingOf(db, 'indexes.duplicate')).toMatchObject({ severity: 'ok' });
    await db.query(
      'drop index public.one, other_order, other_collation, other_class, some_rows, more_rows, lowered',
    );
  });

  it('never calls a unique index covered by one that is not, and names the constraint of two', async () => {
    await db.query(`
      create table public.twice (a int constraint a_once unique constraint a_again unique, b int);
      create index twice_b on public.twice (b);
      create unique index twice_b_unique on public.twice (b)`);
    const findings = await findingsOf(db, ['indexes.duplicate']);
    // PostgreSQL makes one constraint of two that are the same.
    expect(findings.map(({ object }) => object)).toEqual(['public.twice_b']);
    await db.query('drop table public.twice');
  });
});

describe('indexes.redundant', () => {
  it('finds the beginning of a longer index, and nothing that does more', async () => {
    await db.query(`
      create table public.calls (a int, b int, c text);
      create index calls_a on public.calls (a);
      create unique index calls_a_unique on public.calls (a);
      create index calls_a_down on public.calls (a desc);
      create index calls_a_some on public.calls (a) where b > 1;
      create index calls_a_hash on public.calls using hash (a);
      create index calls_b on public.calls (b);
      create index calls_ab on public.calls (a, b)`);
    const thresholds = small('indexes.redundant');
    const nobody = await createRole(db);
    const findings = await findingsOf(db, ['indexes.redundant'], { thresholds, as: nobody });
    expect(findings).toMatchObject([
      { severity: 'warn', object: 'public.calls_a', mend: 'dbops index drop public.calls_a' },
    ]);
    expect(findings[0]!.message).toContain('calls_ab');
    expect(await findingOf(db, 'indexes.redundant')).toMatchObject({ severity: 'ok' });
    await db.query('drop index public.calls_a');
    expect(await findingOf(db, 'indexes.redundant', { thresholds })).toMatchObject({ severity: 'ok' });
    await db.query('drop table public.calls');
  });
});

describe('indexes.unused', () => {
  it('needs a week of statistics, then names what was never read and is there for reading alone', async () => {
    await db.query(`
      create table public.notes (id bigint primary key, parent bigint references public.notes, a int, b int);
      create index notes_parent on public.notes (parent);
      create index notes_a on public.notes (a);
      create index notes_b on public.notes (b)`);
    // A session that ends tells the statistics what it read.
    const reader = await openSession(db.url);
    await reader.query('set enable_seqscan = off');
    await reader.query('select from public.notes where b = 1');
    await reader.end();
    const thresholds = small('indexes.unused');
    const nobody = await createRole(db);
    const young = { countedSince: new Date(Date.now() - 3_600_000) };
    expect(await findingOf(db, 'indexes.unused', { facts: young, thresholds })).toMatchObject({
      severity: 'unknown',
    });
    const ask = async () => {
      const findings = await findingsOf(db, ['indexes.unused'], { facts: longAgo, thresholds, as: nobody });
      return findings.filter(({ object }) => object?.startsWith('public.notes') === true);
    };
    const findings = await waitUntil(
      async () => {
        const found = await ask();
        return found.length === 1 ? found : null;
      },
      { what: 'the scan of notes_b in the statistics' },
    );
    expect(findings).toMatchObject([
      {
        severity: 'warn',
        object: 'public.notes_a',
        mend: 'dbops index drop public.notes_a',
        countedSince: longAgo.countedSince,
      },
    ]);
    expect(await findingOf(db, 'indexes.unused', { facts: longAgo })).toMatchObject({ severity: 'ok' });
    await db.query('drop table public.notes');
  });

  it('adds the partitions of an index up', async () => {
    await db.query(`
      create table public.days (at date not null, a int) partition by range (at);
      create table public.days_1 partition of public.days for values from ('2026-01-01') to ('2026-02-01');
      create table public.days_2 partition of public.days for values from ('2026-02-01') to ('2026-03-01');
      create index days_a on public.days (a)`);
    const thresholds = small('indexes.unused');
    const findings = await findingsOf(db, ['indexes.unused'], { facts: longAgo, thresholds });
    expect(findings).toMatchObject([{ object: 'public.days_a', observed: 2 * 8192 }]);
    await db.query('drop table public.days');
  });
});

describe('indexes.foreign-keys', () => {
  it('finds a key without an index, whose columns an index may have in any order', async () => {
    await db.query(`
      create table public.parents (a int, b int, primary key (a, b));
      create table public.children (a int, b int, c int, foreign key (a, b) references public.parents);
      create index children_some on public.children (a, b) where c > 1;
      insert into public.parents values (1, 1);
      insert into public.children values (1, 1, 1);
      analyze public.children`);
    const thresholds = small('indexes.foreign-keys');
    const nobody = await createRole(db);
    expect(await findingOf(db, 'indexes.foreign-keys', { thresholds, as: nobody })).toMatchObject({
      severity: 'warn',
      object: 'public.children',
      mend: 'dbops index create --table public.children --columns a,b',
    });
    expect(await findingOf(db, 'indexes.foreign-keys')).toMatchObject({ severity: 'ok' });
    await db.query('create index children_key on public.children (b, a, c)');
    expect(await findingOf(db, 'indexes.foreign-keys', { thresholds })).toMatchObject({ severity: 'ok' });
    await db.query('drop table public.children, public.parents');
  });
});
