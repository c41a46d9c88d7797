import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import fs from 'node:fs';
import path from 'node:path';
import { runProgram } from '../../support/cli.ts';
import type { Session, TestDatabase } from '../../support/database.ts';
import { createDatabase, locksOf, openSession, serverVersion, waitUntil } from '../../support/database.ts';
import { configured, digest, drain, partitions, startDrain, withDefault, withLegacy } from './drain-setup.ts';

let db: TestDatabase;
const sessions: Session[] = [];

beforeEach(async () => {
  db = await createDatabase('drain');
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

describe('a default partition, each period in one transaction', () => {
  it('is split into periods, with identity and generated columns as they were', async () => {
    await withDefault(db, 5000);
    const before = await digest(db);
    const result = await drain({ url: db.url });
    expect(result.stderr).not.toContain('hint');
    expect(result.code).toBe(0);
    expect(result.stdout).toContain('public.events_y2026m01');
    expect(await digest(db)).toBe(before);
    const after = await partitions(db);
    expect(after.map((row) => row.name)).toEqual(drained);
    expect(after[0]!.rows).toBe(0);
    expect(after.slice(1).reduce((sum, row) => sum + row.rows, 0)).toBe(5000);
    // The identity goes on, and nothing is left of our constraints and comments.
    await db.query("insert into events (at, body) values ('2026-02-02', 'new')");
    const left = await db.query(
      `select conname from pg_constraint where conname like 'dbops%'
       union all select description from pg_description where description like 'dbops:%' and objsubid = 0
         and classoid = 'pg_class'::regclass`,
    );
    expect(left).toEqual([]);
    const again = await drain({ url: db.url });
    expect(again.code).toBe(0);
    expect(again.stdout).toContain('nothing to move');
    const history = await db.query(
      "select outcome from dbops.run where command = 'partition drain' order by id",
    );
    expect(history).toEqual([{ outcome: 'done' }, { outcome: 'nothing to do' }]);
  });

  it('is whole for every reader at every moment', async () => {
    await withDefault(db, 20_000);
    const before = await digest(db);
    let running = true;
    const seen = new Set<string>();
    const reader = await session();
    const reading = (async () => {
      while (running) seen.add(await digest(reader));
    })();
    const writer = await session();
    const failures: string[] = [];
    let written = 0;
    const writing = (async () => {
      while (running) {
        // Updates of one row at a time, put back at once: the digest stays the same.
        try {
          await writer.query("update events set body = body where at < '2026-01-01 04:00+00'");
          written += 1;
        } catch (error) {
          failures.push(String(error));
        }
      }
    })();
    const result = await drain({ url: db.url });
    running = false;
    await Promise.all([reading, writing]);
    expect(result.code).toBe(0);
    expect([...seen]).toEqual([before]);
    expect(failures).toEqual([]);
    expect(written).toBeGreaterThan(0);
    expect(await digest(db)).toBe(before);
  });

  it('waits for a transaction that reads as of before, which would miss the rows in their new place', async () => {
    await withDefault(db, 500);
    const january = "select count(*)::int as rows from events where at >= '2026-01-01' and at < '2026-02-01'";
    const [before] = await db.query<{ rows: number }>(january);
    const old = await session();
    await old.query('begin isolation level repeatable read');
    await old.query('select 1');
    const run = startDrain({ url: db.url });
    await run.waitFor(/would not see the moved rows/);
    // It comes to the table for the first time while the run waits, and then goes on as it likes.
    expect(await old.query(january)).toEqual([before]);
    expect((await partitions(db)).map((row) => row.name)).toEqual(['events_default']);
    await old.query('commit');
    expect((await run.done).code).toBe(0);
    expect((await partitions(db)).map((row) => row.name)).toEqual(drained);
  });

  it('names the transaction that reads as of before when it does not end', async () => {
    await withDefault(db, 100);
    const old = await session();
    await old.query('begin isolation level repeatable read');
    await old.query('select 1');
    // READ COMMITTED holds none between its statements.
    const idle = await session();
    await idle.query('begin');
    await idle.query('select 1');
    const result = await drain({ url: db.url, cwd: configured('locking:\n  deadline: 2s\n') });
    expect(result.code).toBe(4);
    expect(result.stderr).toContain('older transactions would not see the moved rows');
    expect(result.stderr).toContain(`pg_terminate_backend(${old.pid})`);
    expect(result.stderr).not.toContain(`pid ${idle.pid} `);
    expect((await partitions(db)).map((row) => row.name)).toEqual(['events_default']);
    const [row] = await old.query<{ rows: number }>(
      "select count(*)::int as rows from events where at >= '2026-01-01' and at < '2026-02-01'",
    );
    expect(row!.rows).toBeGreaterThan(0);
  });

  it('takes rows that arrive for the current period, and refuses none', async () => {
    await withDefault(db, 3000);
    let running = true;
    let written = 0;
    const failures: string[] = [];
    const writers = await Promise.all([session(), session(), session()]);
    const writing = writers.map(async (writer) => {
      while (running) {
        try {
          await writer.query("insert into events (at, body) values ('2026-03-15 12:00+00', 'live')");
          written += 1;
        } catch (error) {
          failures.push(String(error));
        }
      }
    });
    const result = await drain({ url: db.url });
    running = false;
    await Promise.all(writing);
    expect(result.code).toBe(0);
    expect(failures).toEqual([]);
    expect(written).toBeGreaterThan(0);
    const [live] = await db.query<{ rows: number }>(
      "select count(*)::int as rows from only events_y2026m03 where body = 'live'",
    );
    expect(live!.rows).toBe(written);
    expect((await partitions(db)).find((row) => row.name === 'events_default')!.rows).toBe(0);
  });

  it('leaves what is further ahead than ensure goes, and rows without a period', async () => {
    await withDefault(db, 100);
    await db.query("insert into events (at, body) values ('2031-01-01', 'far'), ('infinity', 'never')");
    const result = await drain({ url: db.url });
    expect(result.code).toBe(0);
    expect(result.stderr).toContain('past the periods that "partition ensure" makes');
    const left = await db.query('select body from only events_default order by body');
    expect(left).toEqual([{ body: 'far' }, { body: 'never' }]);
  });

  it('never waits in a queue: a long reader is gone round, and named when it does not end', async () => {
    await withDefault(db, 100);
    const reader = await session();
    await reader.begin();
    await reader.query('select count(*) from events');
    const run = startDrain({ url: db.url, flags: ['--yes', '-v'] });
    await run.waitFor(/trying again/);
    // A writer that comes while we try is let through between the tries.
    await db.query("insert into events (at, body) values ('2026-01-02', 'between')");
    await reader.query('commit');
    expect((await run.done).code).toBe(0);
    expect((await partitions(db)).map((row) => row.name)).toEqual(drained);
  });

  it('holds ACCESS EXCLUSIVE on the parent while rows move, so that no query has chosen its partitions before', async () => {
    await withDefault(db, 200);
    const holder = await session();
    await holder.query('select pg_advisory_lock(4711)');
    // A CHECK whose function waits for a lock pauses the move where rows are inserted.
    await db.query(
      `create function paused(text) returns bool language plpgsql immutable as $$ begin perform pg_advisory_xact_lock_shared(4711); return true; end $$`,
    );
    await db.query('alter table events add constraint pause check (public.paused(body)) not valid');
    const run = startDrain({ url: db.url });
    const pid = await waitUntil(
      async () =>
        (
          await db.query<{ pid: number }>(
            "select pid from pg_locks where locktype = 'advisory' and not granted and objid = 4711",
          )
        )[0]?.pid,
      { what: 'the move' },
    );
    const held = await locksOf(db, pid);
    for (const relation of ['events', 'events_default']) {
      expect(held).toContainEqual({ relation, mode: 'AccessExclusiveLock', granted: true });
    }
    const waiting = await session();
    const counted = waiting.query<{ rows: number }>('select count(*)::int as rows from events');
    await holder.query('select pg_advisory_unlock(4711)');
    expect((await run.done).code).toBe(0);
    expect(await counted).toEqual([{ rows: 200 }]);
  });
});

describe('a legacy partition', () => {
  it('gives its periods away from its upper end', async () => {
    await withLegacy(db, 4000);
    const before = await digest(db);
    const result = await drain({ url: db.url, from: 'public.events_legacy' });
    expect(result.stderr).not.toContain('hint');
    expect(result.code).toBe(0);
    expect(await digest(db)).toBe(before);
    const after = await partitions(db);
    expect(after.map((row) => [row.name, row.rows > 0])).toEqual([
      ['events_legacy', false],
      ['events_y2025m12', true],
      ['events_y2026m01', true],
      ['events_y2026m02', true],
      ['events_y2026m03', false],
    ]);
    expect(after[0]!.bound).toContain("(MINVALUE) TO ('2025-12-01");
    const invalid = await db.query('select from pg_index where not indisvalid');
    expect(invalid).toEqual([]);
  });

  it('that is wide keeps its last period, with its outgoing foreign keys', async () => {
    await db.query('create table kinds (id int primary key)');
    await db.query('insert into kinds values (1)');
    await db.query(
      'create table events (id bigint, at timestamptz not null, kind int references kinds) partition by range (at)',
    );
    await db.query(
      "create table events_wide partition of events for values from ('2026-01-01') to ('2026-04-01')",
    );
    await db.query(
      "insert into events select g, timestamptz '2026-01-01' + g * interval '1 hour', 1 from generate_series(0, 2000) g",
    );
    const before = await digest(db);
    const result = await drain({ url: db.url, from: 'events_wide' });
    expect(result.code).toBe(0);
    expect(await digest(db)).toBe(before);
    const bounds = (await partitions(db)).map((row) => row.name);
    expect(bounds).toEqual(['events_wide', 'events_y2026m02', 'events_y2026m03']);
    const [wide] = await db.query<{ bound: string }>(
      "select pg_get_expr(relpartbound, oid) as bound from pg_class where relname = 'events_wide'",
    );
    expect(wide!.bound).toContain("TO ('2026-02-01");
    await expect(db.query("insert into events values (1, '2026-02-05', 9)")).rejects.toThrow('foreign key');
  });
});

describe('what a DELETE would set off', () => {
  const role = 'dbops_drain_owner';

  /** The same server, as a role that owns the table and may nothing else. */
  async function asOwner(): Promise<string> {
    await db.query(
      `do $$ begin if not exists (select from pg_roles where rolname = '${role}') then create role ${role} login; end if; end $$`,
    );
    await db.query(`grant create on schema public to ${role}`);
    await db.query(`grant create on database ${db.name} to ${role}`);
    await db.query(`alter table events owner to ${role}`);
    await db.query(`alter table events_default owner to ${role}`);
    const url = new URL(db.url);
    url.username = role;
    return url.href;
  }

  it('is listed, and refuses a role that may not switch it off', async () => {
    await withDefault(db, 100, ', primary key (id, at)');
    await db.query(
      `create table notes (event bigint, at timestamptz, foreign key (event, at) references events on delete cascade)`,
    );
    await db.query(
      `create function append_only() returns trigger language plpgsql as $$ begin raise 'append only'; end $$`,
    );
    await db.query(
      'create trigger keep_all before delete on events for each row execute function append_only()',
    );
    const before = await digest(db);
    const result = await drain({ url: await asOwner() });
    expect(result.code).toBe(4);
    expect(result.stderr).toContain(
      'trigger keep_all: before delete, for each row, calls public.append_only',
    );
    expect(result.stderr).toContain('foreign key notes_event_at_fkey of public.notes: on delete CASCADE');
    expect(result.stderr).toContain(serverVersion() >= 150_000 ? 'GRANT SET ON PARAMETER' : 'superuser');
    expect(await digest(db)).toBe(before);
    expect((await partitions(db)).map((row) => row.name)).toEqual(['events_default']);
  });

  it('does not happen for a superuser, and foreign keys are looked at after it', async () => {
    await withDefault(db, 300, ', primary key (id, at)');
    await db.query(
      `create table notes (event bigint, at timestamptz, foreign key (event, at) references events on delete cascade)`,
    );
    await db.query('insert into notes select id, at from events where id % 3 = 0');
    await db.query(
      `create function append_only() returns trigger language plpgsql as $$ begin raise 'append only'; end $$`,
    );
    await db.query(
      'create trigger keep_all before delete on events for each row execute function append_only()',
    );
    const before = await digest(db);
    const result = await drain({ url: db.url });
    expect(result.code).toBe(0);
    expect(result.stderr).toContain('triggers are off while rows move');
    expect(await digest(db)).toBe(before);
    expect(await db.query('select count(*)::int as rows from notes')).toEqual([{ rows: 100 }]);
    // Both work as before: the trigger on the new partition too, and the foreign key in both directions.
    await expect(db.query("delete from events where at < '2026-02-01'")).rejects.toThrow('append only');
    await expect(db.query("insert into notes values (999999, '2026-01-05')")).rejects.toThrow('foreign key');
  });

  it('refuses and rolls back when a foreign key would no longer be satisfied', async () => {
    await withDefault(db, 50, ', primary key (id, at)');
    await db.query(
      `create table notes (event bigint, at timestamptz, foreign key (event, at) references events)`,
    );
    // A row that was never satisfied, as one comes to be behind triggers that were off.
    await db.query(
      `begin; set local session_replication_role = replica; insert into notes values (999999, '2026-01-05'); commit`,
    );
    const before = await digest(db);
    const result = await drain({ url: db.url });
    expect(result.code).toBe(4);
    expect(result.stderr).toContain('is no longer satisfied');
    expect(await digest(db)).toBe(before);
    expect((await partitions(db)).map((row) => row.name)).toEqual(['events_default']);
  });

  it('is refused where not even that helps', async () => {
    await withDefault(db, 50, ', primary key (id, at)');
    await db.query('create publication feed for table events_default');
    const published = await drain({ url: db.url });
    expect(published.code).toBe(4);
    expect(published.stderr).toContain('publication feed');
    await db.query("alter publication feed set (publish = 'insert, update')");
    await db.query(
      `create function append_only() returns trigger language plpgsql as $$ begin raise 'append only'; end $$`,
    );
    await db.query(
      'create trigger keep_all before delete on events_default for each row execute function append_only()',
    );
    await db.query('alter table events_default enable always trigger keep_all');
    const always = await drain({ url: db.url });
    expect(always.code).toBe(4);
    expect(always.stderr).toContain('(ENABLE ALWAYS or REPLICA)');
    expect((await partitions(db)).map((row) => row.name)).toEqual(['events_default']);
  });

  it('is granted by SET on the parameter', async ({ skip }) => {
    skip(serverVersion() < 150_000, 'parameters cannot be granted before 15');
    await withDefault(db, 100);
    await db.query(`create function noop() returns trigger language plpgsql as $$ begin return old; end $$`);
    await db.query('create trigger tell before delete on events for each row execute function noop()');
    const url = await asOwner();
    await db.query(`grant set on parameter session_replication_role to ${role}`);
    try {
      const result = await drain({ url });
      expect(result.stderr).not.toContain('hint');
      // The connection of this test is a superuser's, into which this role may not look.
      expect(result.stderr).toContain(`GRANT pg_read_all_stats TO ${role}`);
      expect(result.code).toBe(0);
    } finally {
      await db.query(`revoke set on parameter session_replication_role from ${role}`);
    }
    expect((await partitions(db)).map((row) => row.name)).toEqual(drained);
  });
});

describe('the plan', () => {
  it('is refused over the limit, and --limit raises it', async () => {
    await withDefault(db, 3000);
    const refused = await drain({ url: db.url, flags: ['--yes', '--limit', '110ms'] });
    expect(refused.code).toBe(4);
    expect(refused.stderr).toContain('would keep readers and writers out for about');
    expect(refused.stderr).toContain('--mode batches');
    expect((await partitions(db)).map((row) => row.name)).toEqual(['events_default']);
    expect((await drain({ url: db.url, flags: ['--yes', '--limit', '30s'] })).code).toBe(0);
  });

  it('changes nothing in a dry run, needs a yes otherwise, and psql does with the script what the run does', async ({
    skip,
  }) => {
    await withDefault(db, 1000);
    const before = await digest(db);
    const asked = await drain({ url: db.url, flags: [] });
    expect(asked.code).toBe(4);
    expect(asked.stderr).toContain('--yes');
    const dry = await drain({ url: db.url, flags: ['--dry-run', '--yes'] });
    expect(dry.code).toBe(0);
    expect(dry.stdout).toContain('readers and writers of public.events wait about');
    expect((await partitions(db)).map((row) => row.name)).toEqual(['events_default']);
    expect(await digest(db)).toBe(before);
    const psql = ['/usr/bin/psql', path.join(inject('postgres').binDir ?? '', 'psql')].find((file) =>
      fs.existsSync(file),
    );
    skip(psql === undefined, 'psql is not here');
    const script = await runProgram([psql!, '--no-psqlrc', '--quiet', db.url], { input: dry.stdout });
    expect(script.stderr).toBe('');
    expect(script.code).toBe(0);
    expect((await partitions(db)).map((row) => row.name)).toEqual(drained);
    expect(await digest(db)).toBe(before);
  });

  it('names a partition that is not there, a collision, and an odd --mode', async () => {
    await withDefault(db, 10);
    const unknown = await drain({ url: db.url, from: 'events_defualt' });
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toContain('Did you mean public.events_default?');
    await db.query('create table events_y2026m02 (mine text)');
    const taken = await drain({ url: db.url });
    expect(taken.code).toBe(2);
    expect(taken.stderr).toContain('public.events_y2026m02 exists already');
    const mode = await drain({ url: db.url, mode: 'fast' as 'batches' });
    expect(mode.code).toBe(2);
  });
});
