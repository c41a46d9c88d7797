import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Session, TestDatabase } from '../../support/database.ts';
import { createDatabase, openSession, waitUntil } from '../../support/database.ts';
import { digest, drain, partitions, startDrain, withDefault, withLegacy } from './drain-setup.ts';

let db: TestDatabase;
const sessions: Session[] = [];

beforeEach(async () => {
  db = await createDatabase('drain_batches');
});
afterEach(async () => {
  for (const session of sessions.splice(0)) await session.end();
  await db.drop();
});

async function session(): Promise<Session> {
  const opened = await openSession(db.url);
  sessions.push(opened);
  return opened;
}

const drained = [
  'events_default',
  'events_y2026m01',
  'events_y2026m02',
  'events_y2026m03',
  'events_y2026m04',
];

/** Rows of a table that may not be there yet. */
async function rowsIn(table: string): Promise<number> {
  const [there] = await db.query<{ found: boolean }>('select to_regclass($1) is not null as found', [table]);
  if (!there!.found) return 0;
  const [row] = await db.query<{ rows: number }>(`select count(*)::int as rows from only ${table}`);
  return row!.rows;
}

describe('a default partition in batches', () => {
  for (const index of [true, false]) {
    it(`is split ${index ? 'along an index' : 'by blocks where no index begins with the key'}`, async () => {
      await withDefault(db, 6000);
      if (index) await db.query('create index on events (at)');
      const before = await digest(db);
      const result = await drain({ url: db.url, mode: 'batches', flags: ['--yes', '--batch-size', '400'] });
      expect(result.stderr).toContain(
        'until the attach they are not in public.events but in public.events_y2026m01',
      );
      expect(result.code).toBe(0);
      expect(await digest(db)).toBe(before);
      const after = await partitions(db);
      expect(after.map((row) => row.name)).toEqual(drained);
      expect(after[0]!.rows).toBe(0);
      expect(await db.query('select name from dbops.job')).toEqual([]);
      if (!index) return;
      // The index was there before the rows, and the attach took it instead of building another.
      const [indexes] = await db.query<{ count: number }>(
        "select count(*)::int as count from pg_index where indrelid = 'events_y2026m02'::regclass and indisvalid",
      );
      expect(indexes!.count).toBe(1);
    });
  }

  it('goes on after kill -9 and after its session was ended: no row is lost or doubled', async () => {
    await withDefault(db, 12_000);
    await db.query('create index on events (at)');
    const before = await digest(db);
    const flags = ['--yes', '--batch-size', '40'];

    const first = startDrain({ url: db.url, mode: 'batches', flags });
    await waitUntil(async () => (await rowsIn('events_y2026m01')) > 300, { what: 'the first batches' });
    first.kill('SIGKILL');
    await first.done;
    const movedByFirst = await rowsIn('events_y2026m01');
    expect(movedByFirst).toBeGreaterThan(300);
    const all = `select count(*)::int as rows from (select id from only events_default
      union all select id from only events_y2026m01) as both_places`;
    expect(await db.query(all)).toEqual([{ rows: 12_000 }]);
    const [job] = await db.query<{ moved: number }>(
      "select (cursor ->> 'moved')::int as moved from dbops.job",
    );
    expect(job!.moved).toBe(movedByFirst);

    const refused = await drain({ url: db.url, mode: 'transaction' });
    expect(refused.code).toBe(4);
    expect(refused.stderr).toContain(
      'a drain in batches into public.events_y2026m01 was begun and not ended',
    );

    const second = startDrain({ url: db.url, mode: 'batches', flags });
    await waitUntil(async () => (await rowsIn('events_y2026m01')) > movedByFirst + 300, {
      what: 'more batches',
    });
    await db.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dbops partition drain' and datname = current_database()",
    );
    const ended = await second.done;
    expect([3, 5]).toContain(ended.code);

    const third = await drain({ url: db.url, mode: 'batches' });
    expect(third.stderr).not.toContain('hint');
    expect(third.code).toBe(0);
    expect(await digest(db)).toBe(before);
    expect((await partitions(db)).map((row) => row.name)).toEqual(drained);
  });

  it('passes over locked rows, takes those that arrive, and refuses no writer', async () => {
    await withDefault(db, 4000);
    await db.query('create index on events (at)');
    const holder = await session();
    await holder.begin();
    await holder.query("select from events where at < '2026-01-05' for update");
    let running = true;
    let written = 0;
    const failures: string[] = [];
    const writer = await session();
    const writing = (async () => {
      while (running) {
        try {
          await writer.query(
            "insert into events (at, body) values ('2026-01-20', 'late'), ('2026-03-15', 'live')",
          );
          written += 2;
        } catch (error) {
          failures.push(String(error));
        }
        await sleep(2);
      }
    })();
    const run = startDrain({ url: db.url, mode: 'batches', flags: ['--yes', '--batch-size', '100'] });
    // All others are moved; the locked ones hold the attach up, not the batches, and nobody queues behind them.
    await waitUntil(async () => (await rowsIn('events_y2026m01')) > 1000, { what: 'the rows that are free' });
    await sleep(500);
    expect(await rowsIn('events_y2026m02')).toBe(0);
    await holder.query('commit');
    const result = await run.done;
    running = false;
    await writing;
    expect(result.code).toBe(0);
    expect(failures).toEqual([]);
    const [all] = await db.query<{ rows: number }>('select count(*)::int as rows from events');
    expect(all!.rows).toBe(4000 + written);
    expect((await partitions(db)).find((row) => row.name === 'events_default')!.rows).toBe(0);
  });

  it('is refused where foreign keys point at its rows', async () => {
    await withDefault(db, 100, ', primary key (id, at)');
    await db.query(
      'create table notes (event bigint, at timestamptz, foreign key (event, at) references events)',
    );
    const result = await drain({ url: db.url, mode: 'batches' });
    expect(result.code).toBe(4);
    expect(result.stderr).toContain('Use --mode transaction');
    expect((await partitions(db)).map((row) => row.name)).toEqual(['events_default']);
  });

  it('is refused where its rows point at others: a DELETE there would not reach those that were moved', async () => {
    await db.query('create table kinds (id int primary key)');
    for (const action of ['cascade', 'no action']) {
      await db.query('drop table if exists events');
      await withDefault(db, 100, `, kind int references kinds on delete ${action}`);
      const result = await drain({ url: db.url, mode: 'batches' });
      expect(result.code).toBe(4);
      expect(result.stderr).toContain('foreign key events_kind_fkey to public.kinds');
      expect(result.stderr).toContain('Use --mode transaction');
      expect((await partitions(db)).map((row) => row.name)).toEqual(['events_default']);
    }
  });

  /** A run that is killed in the middle of January; returns a row that it has moved. */
  async function beginAndKill(): Promise<{ id: number; at: string }> {
    const run = startDrain({ url: db.url, mode: 'batches', flags: ['--yes', '--batch-size', '40'] });
    await waitUntil(async () => (await rowsIn('events_y2026m01')) > 100, { what: 'the first batches' });
    run.kill('SIGKILL');
    await run.done;
    const [moved] = await db.query<{ id: number; at: string }>(
      'select id::int, at::text from only events_y2026m01 order by at limit 1',
    );
    return moved!;
  }

  it('names the keys that were written again behind its back, and ends when one row of each is gone', async () => {
    await withDefault(db, 6000, ', primary key (id, at)');
    await db.query('create index on events (at)');
    const { id, at } = await beginAndKill();
    // The writer means to update this row, which is not there for it.
    const upsert = `insert into events (id, at, body) overriding system value values ($1, $2, 'again')
      on conflict (id, at) do update set body = excluded.body`;
    await db.query(upsert, [id, at]);
    const stopped = await drain({ url: db.url, mode: 'batches' });
    expect(stopped.code).toBe(5);
    expect(stopped.stderr).toContain(
      'keys that were moved into it were written to public.events_default again',
    );
    expect(stopped.stderr).toContain(`(id, at) = (${id}, ${at.slice(0, 19)}`);
    await db.query('delete from only events_y2026m01 where id = $1', [id]);
    const ended = await drain({ url: db.url, mode: 'batches' });
    expect(ended.stderr).not.toContain('hint');
    expect(ended.code).toBe(0);
    expect(await db.query('select body from events where id = $1', [id])).toEqual([{ body: 'again' }]);
    expect(await db.query('select count(*)::int as rows from events')).toEqual([{ rows: 6000 }]);
    expect((await partitions(db)).map((row) => row.name)).toEqual(drained);
  });

  it('names the constraint that refuses the attach, and where the rows are', async () => {
    await withDefault(db, 6000, ', kind int default 1');
    await db.query('create index on events (at)');
    await db.query('create table kinds (id int primary key)');
    await db.query('insert into kinds values (1)');
    const { id } = await beginAndKill();
    await db.query('update only events_y2026m01 set kind = 2 where id = $1', [id]);
    await db.query('alter table events add constraint known_kind foreign key (kind) references kinds');
    const stopped = await drain({ url: db.url, mode: 'batches' });
    expect(stopped.code).toBe(5);
    expect(stopped.stderr).toContain(
      'public.events_y2026m01 cannot be attached yet: constraint known_kind refuses rows of it',
    );
    expect(stopped.stderr).toContain('run the same command again');
    await db.query('insert into kinds values (2)');
    const ended = await drain({ url: db.url, mode: 'batches' });
    // The other periods would get into the same danger.
    expect(ended.stderr).toContain('only the period that was begun is ended');
    expect(ended.code).toBe(0);
    expect((await partitions(db)).map((row) => row.name)).toEqual(['events_default', 'events_y2026m01']);
    expect(await db.query('select count(*)::int as rows from events')).toEqual([{ rows: 6000 }]);
  });

  it('stops with the reason when others keep waiting for its rows', async () => {
    await withDefault(db, 3000);
    await db.query('create index on events (at)');
    // Each batch takes a moment, so that the sessions below get behind it every time.
    await db.query(
      `create function slowly(text) returns bool language plpgsql immutable as $$ begin perform pg_sleep(0.02); return true; end $$`,
    );
    await db.query('alter table events add constraint slow check (public.slowly(body)) not valid');
    let running = true;
    const others = await Promise.all([session(), session()]);
    const waiting = others.map(async (other) => {
      while (running) {
        await other.query('begin; lock table only events_default in share mode; commit');
        await sleep(1);
      }
    });
    const run = startDrain({ url: db.url, mode: 'batches', flags: ['--yes', '--batch-size', '20'] });
    const result = await run.done;
    running = false;
    await Promise.all(waiting);
    expect(result.code).toBe(5);
    expect(result.stderr).toContain('other sessions kept waiting for rows that were being moved');
    expect(result.stderr).toContain('lock table only events_default');
    const again = await drain({ url: db.url, mode: 'batches', flags: ['--dry-run'] });
    expect(again.code).toBe(0);
  });

  it('says in a dry run what is out of the table and for how long, and changes nothing', async () => {
    await withDefault(db, 500);
    const before = await digest(db);
    const result = await drain({ url: db.url, mode: 'batches', flags: ['--dry-run'] });
    expect(result.code).toBe(0);
    expect(result.stdout).toContain('are not in public.events but in public.events_y2026m01');
    expect(result.stdout).toContain('updates and deletes do not see them');
    expect(result.stdout).toContain('leaves two rows, since no unique key refuses it');
    expect(result.stdout).toContain('The run itself measures each batch');
    expect(await digest(db)).toBe(before);
    expect((await partitions(db)).map((row) => row.name)).toEqual(['events_default']);
    expect(await db.query("select from pg_namespace where nspname = 'dbops'")).toEqual([]);
  });
});

describe('a legacy partition in batches', () => {
  it('gives its periods away, attached all the time', async () => {
    await withLegacy(db, 4000);
    const before = await digest(db);
    const result = await drain({ url: db.url, from: 'events_legacy', mode: 'batches' });
    expect(result.stderr).not.toContain('hint');
    expect(result.code).toBe(0);
    expect(await digest(db)).toBe(before);
    expect((await partitions(db)).map((row) => [row.name, row.rows > 0])).toEqual([
      ['events_legacy', false],
      ['events_y2025m12', true],
      ['events_y2026m01', true],
      ['events_y2026m02', true],
      ['events_y2026m03', false],
    ]);
    expect(await db.query('select from pg_index where not indisvalid')).toEqual([]);
  });

  it('is read without a strong lock where the scan of what is left would take over the limit', async () => {
    await withLegacy(db, 4000);
    // Wide rows: what is left is some 40 MB, 0.4 s of the predicted scan.
    await db.query('alter table events alter column body set storage plain');
    await db.query("update events set body = repeat('x', 5000) || id");
    await db.query('analyze events');
    const before = await digest(db);
    const flags = ['--yes', '--limit', '200ms'];
    const refused = await drain({ url: db.url, from: 'events_legacy', flags });
    expect(refused.code).toBe(4);
    // The statement itself may take as long as --limit and the time for an autovacuum to give way.
    const result = await drain({ url: db.url, from: 'events_legacy', mode: 'batches', flags });
    expect(result.stderr).not.toContain('hint');
    expect(result.code).toBe(0);
    expect(await digest(db)).toBe(before);
    expect(await db.query("select from pg_constraint where conname like 'dbops%'")).toEqual([]);
    expect((await partitions(db)).length).toBe(5);
  });
});
