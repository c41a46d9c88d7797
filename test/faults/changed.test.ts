// Rows that change between the copy and the drop: the archive is redone, and no row is lost.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  archiveSetup,
  archiveStates,
  archiveYaml,
  copyOf,
  expectNothingLost,
  expectTrueLedger,
  heldPrograms,
  later,
  ledgerStates,
  linesOf,
  makeTable,
  manifestsIn,
  now,
  startAfresh,
  type Programs,
  type Setup,
} from '../support/archive-run.ts';
import { createDatabase, openSession, type Session, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
let setup: Setup;
let programs: Programs;

beforeAll(async () => {
  db = await createDatabase('archive_changed');
  setup = archiveSetup(db);
});
afterAll(() => db.drop());

beforeEach(async () => {
  programs = await heldPrograms(setup.dir);
  await startAfresh(setup);
  await makeTable(db);
});

/** Runs until the snapshot of the copy is taken, does something, and lets the run go on to its end. */
async function runWith(change: () => Promise<void>): Promise<{ code: number | null; stderr: string }> {
  programs.hold('compress');
  const running = setup.spawn(['archive', 'run'], { ...now, ...programs.env });
  await programs.started('compress');
  await change();
  programs.release('compress');
  return await running.done;
}

/** The partition is detached, and its archive holds what it holds, line by line. */
async function expectArchived(): Promise<void> {
  await expectTrueLedger(setup);
  expect((await ledgerStates(db)).at(-1)).toBe('events_6 detached');
  const proven = (await archiveStates(db)).filter(({ state }) => state === 'proven');
  expect(proven).toHaveLength(1);
  const { folder } = manifestsIn(setup.store).find(({ manifest }) => manifest.id === proven[0]!.id)!;
  const lines = copyOf(db, 'events_6').sort();
  expect(linesOf(folder).sort()).toEqual(lines);
  const last = await setup.run(['archive', 'run'], later);
  expect(last.code, last.stderr).toBe(0);
  expect((await ledgerStates(db)).at(-1)).toBe('events_6 dropped');
  await expectNothingLost(setup, lines);
}

describe('a row between the copy and the detach', () => {
  const changes: [string, string][] = [
    ['inserted', "insert into events values (6999, '2026-06-30', 'late')"],
    ['updated', "update events_6 set note = 'changed' where id = 6001"],
    ['deleted', 'delete from events where id = 6001'],
    [
      'deleted, and another inserted',
      "delete from events_6 where id = 6001; insert into events_6 values (6998, '2026-06-03', null)",
    ],
    [
      'inserted in a savepoint',
      "begin; savepoint a; insert into events values (6997, '2026-06-30', 'in a'); release a; commit",
    ],
  ];
  for (const [name, sql] of changes) {
    it(`${name}: the archive is made anew`, async () => {
      const result = await runWith(async () => {
        await db.query(sql);
      });
      expect(result.code, result.stderr).toBe(0);
      expect(result.stderr).toMatch(
        /is not what archive \S+ holds: .*it is attached again, and archived anew/,
      );
      expect((await archiveStates(db)).map(({ state }) => state)).toEqual(['expired', 'proven']);
      await expectArchived();
    });
  }

  it('written by a subtransaction of a transaction that was open at the copy, as many rows as it deletes', async () => {
    const writer = await openSession(db.url);
    await writer.begin();
    // An id of its own, taken before the copy; the row is written after it, under a later one.
    await writer.query('select txid_current()');
    const result = await runWith(async () => {
      await writer.query('savepoint a');
      await writer.query("update events_6 set note = 'in a subtransaction' where id = 6002");
      await writer.query('release a');
      await writer.query('commit');
    });
    await writer.end();
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).toContain('comparing all rows');
    expect(result.stderr).toContain('archived anew');
    await expectArchived();
  });

  it('written before the copy by a transaction that commits after it', async () => {
    const writer = await openSession(db.url);
    await writer.begin();
    await writer.query("update events_6 set note = 'not seen by the copy' where id = 6003");
    const result = await runWith(async () => {
      await writer.query('commit');
    });
    await writer.end();
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).toContain('archived anew');
    await expectArchived();
  });

  it('gone by a TRUNCATE that waits for the copy', async () => {
    let truncating: Promise<unknown> = Promise.resolve();
    let session: Session | undefined;
    const result = await runWith(async () => {
      session = await openSession(db.url);
      truncating = session.query(
        "begin; truncate events_6; insert into events_6 select 6500 + g, '2026-06-05', 'new' from generate_series(1, 20) as g; commit",
      );
    });
    await truncating;
    await session?.end();
    expect(result.code, result.stderr).toBe(0);
    await expectArchived();
    expect(manifestsIn(setup.store).flatMap(({ folder }) => linesOf(folder))).toContainEqual(
      expect.stringContaining('6501'),
    );
  });

  it('written again as it was: compared, found equal, and the archive stays', async () => {
    const result = await runWith(async () => {
      await db.query('update events_6 set note = note where id < 6010');
    });
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).toContain('9 of its rows were written since it was archived; comparing all rows');
    expect((await archiveStates(db)).map(({ state }) => state)).toEqual(['proven']);
    await expectArchived();
  });
});

describe('a table of another', () => {
  it('that took its name after the copy is not detached for it', async () => {
    await makeTable(db, 'other', [6, 11]);
    const rows = copyOf(db, 'events', 'other');
    programs.hold('decompress');
    const running = setup.spawn(['archive', 'run'], { ...now, ...programs.env });
    await programs.started('decompress');
    await db.query(
      "create table events_5 partition of events for values from ('2026-05-01 00:00:00+00') to ('2026-06-01 00:00:00+00')",
    );
    await db.query(
      "insert into events select 6000 + g, '2026-05-02', 'another' from generate_series(1, 20) as g",
    );
    const all = [...rows, ...copyOf(db, 'events_5')];
    // The copy has what is events_6; the same number of rows, and all of them are old.
    const swap = db.query(
      'begin; alter table events_6 rename to events_x; alter table events_5 rename to events_6; commit',
    );
    programs.release('decompress');
    await swap;
    const result = await running.done;
    await expectNothingLost(setup, all);
    if (result.code !== 0) expect(result.stderr).toMatch(/is the name of another table now|lock/);
    const next = await setup.run(['archive', 'run', '--max', '9'], now);
    expect(next.code, next.stderr).toBe(0);
    const dropped = await setup.run(['archive', 'run', '--max', '9'], later);
    expect(dropped.code, dropped.stderr).toBe(0);
    await expectNothingLost(setup, all);
    await expectTrueLedger(setup);
  });
});

describe('in quarantine', () => {
  beforeEach(async () => {
    const first = await setup.run(['archive', 'run'], now);
    expect(first.code, first.stderr).toBe(0);
  });

  it('a row inserted by its own name brings it back into the table', async () => {
    await db.query("insert into events_6 values (6999, '2026-06-30', 'after the detach')");
    const rows = copyOf(db, 'events_6', 'events');
    const last = await setup.run(['archive', 'run'], later);
    expect(last.code, last.stderr).toBe(0);
    expect(last.stderr).toContain('it has 21 rows, and 20 were archived');
    expect(await ledgerStates(db)).toEqual(['events_6 attached again']);
    expect(copyOf(db, 'events').sort()).toEqual([...rows].sort());
    // It is archived anew, quarantined, and dropped with the row.
    expect((await setup.run(['archive', 'run'], later)).code).toBe(0);
    expect((await setup.run(['archive', 'run'], { DBOPS_TEST_NOW: '2026-12-20T00:00:00Z' })).code).toBe(0);
    expect((await ledgerStates(db)).at(-1)).toBe('events_6 dropped');
    await expectNothingLost(setup, rows);
  });

  it('a column added with values is never dropped with its table', async () => {
    await db.query("alter table events_6 add column extra text; update events_6 set extra = 'only here'");
    const last = await setup.run(['archive', 'run'], later);
    expect(await db.query('select from events_6 where extra is not null')).toHaveLength(20);
    expect(last.stderr).toContain('column extra is new');
  });

  it('transaction ids that were set back prove nothing', async () => {
    await db.query("update events_6 set note = 'changed' where id = 6001");
    await db.query("update dbops.archive set baseline_xmin = '99999999999'");
    const last = await setup.run(['archive', 'run'], later);
    expect(last.code, last.stderr).toBe(0);
    expect(last.stderr).toContain('comparing all rows');
    expect(await ledgerStates(db)).toEqual(['events_6 attached again']);
    expect(copyOf(db, 'events')).toContainEqual(expect.stringContaining('changed'));
  });

  it('a clock that was set back drops nothing', async () => {
    const back = await setup.run(['archive', 'run'], { DBOPS_TEST_NOW: '2026-11-01T00:00:00Z' });
    expect(back.code, back.stderr).toBe(0);
    expect(back.stdout).toContain('nothing is due');
    expect(await ledgerStates(db)).toEqual(['events_6 detached']);
  });
});

describe('a role', () => {
  it('that row security filters is refused, and exports nothing', async () => {
    await db.query('drop role if exists archive_filtered');
    await db.query('create role archive_filtered login');
    await db.query(
      `grant create, connect on database "${db.name}" to archive_filtered; grant all on schema public to archive_filtered`,
    );
    await db.query(
      'alter table events owner to archive_filtered; alter table events_6 owner to archive_filtered; alter table events_11 owner to archive_filtered',
    );
    await db.query(
      'alter table events_6 enable row level security; alter table events_6 force row level security',
    );
    await db.query('create policy few on events_6 using (id < 6003)');
    const url = new URL(db.url);
    url.username = 'archive_filtered';
    const result = await setup.run(['archive', 'run'], { ...now, DATABASE_URL: url.href });
    expect([4, 5, 7]).toContain(result.code);
    expect(result.stderr).toContain('row-level security');
    expect(manifestsIn(setup.store)).toEqual([]);
    expect(copyOf(db, 'events_6')).toHaveLength(20);
    await db.query('drop owned by archive_filtered cascade');
    await db.query('drop role archive_filtered');
  });

  it('with settings of its own changes no byte', async () => {
    await db.query(
      'create table odd (id int8, at timestamptz not null, d float8, i interval, b bytea) partition by range (at)',
    );
    await db.query(
      "create table odd_6 partition of odd for values from ('2026-06-01 00:00:00+00') to ('2026-07-01 00:00:00+00')",
    );
    await db.query(
      "create table odd_11 partition of odd for values from ('2026-11-01 00:00:00+00') to ('2026-12-01 00:00:00+00')",
    );
    await db.query(
      String.raw`insert into odd values (1, '2026-06-02 03:04:05.678901+02', 0.1::float8 + 0.2::float8, '1 mon 2 days 03:04:05', '\x00ff')`,
    );
    const role = `archive_settings_${db.name.slice(-10)}`;
    await db.query(`create role ${role} login superuser`);
    await db.query(
      `alter role ${role} set extra_float_digits = 0; alter role ${role} set datestyle = 'SQL, DMY';
       alter role ${role} set intervalstyle = 'iso_8601'; alter role ${role} set timezone = 'Asia/Seoul';
       alter role ${role} set bytea_output = 'escape'; alter role ${role} set search_path = public;
       alter role ${role} set statement_timeout = '5s'; alter role ${role} set default_transaction_isolation = 'serializable'`,
    );
    const other = archiveSetup(db, { tables: ['public.odd'] });
    const url = new URL(db.url);
    url.username = role;
    const result = await other.run(['archive', 'run'], { ...now, DATABASE_URL: url.href });
    expect(result.code, result.stderr).toBe(0);
    const [found] = manifestsIn(other.store);
    expect(linesOf(found!.folder)).toEqual([
      [
        '1',
        '2026-06-02 01:04:05.678901+00',
        '0.30000000000000004',
        '1 mon 2 days 03:04:05',
        String.raw`\\x00ff`,
      ].join('\t'),
    ]);
    await db.query(`drop owned by ${role}; drop role ${role}`).catch(() => undefined);
  });
});

describe('a ledger that cannot be written at the end', () => {
  it('costs nothing: the archive is whole, and the next run takes it', async () => {
    setup.configure(archiveYaml(setup.store));
    programs.hold('decompress');
    const running = setup.spawn(['archive', 'run'], { ...now, ...programs.env });
    await programs.started('decompress');
    const holder = await openSession(db.url);
    await holder.begin();
    await holder.query('lock table dbops.archive in share mode');
    programs.release('decompress');
    const result = await running.done;
    expect([4, 5]).toContain(result.code);
    await holder.end();
    const next = await setup.run(['archive', 'run'], now);
    expect(next.code, next.stderr).toBe(0);
    expect(next.stderr).toContain('was whole when its run was interrupted, and is taken');
    await expectArchived();
  });
});

describe('a clone of the server, whose ledger is a copy', () => {
  it('never removes what the original has in the store', async () => {
    const first = await setup.run(['archive', 'run', '--until', 'verified'], now);
    expect(first.code, first.stderr).toBe(0);
    const [original] = manifestsIn(setup.store);
    // Copied while the original was about to take its snapshot: the row is there, and says nothing of one.
    await db.query("update dbops.archive set state = 'exporting', baseline_xmin = null");
    const second = await setup.run(['archive', 'run', '--until', 'verified'], now);
    expect(second.code, second.stderr).toBe(0);
    expect(second.stderr).toContain('is this server a clone? It is kept');
    // Rows of the clone are changed: its next copy overtakes, and takes no other away.
    await db.query("insert into events values (6999, '2026-06-30', 'of the clone')");
    const third = await setup.run(['archive', 'run'], now);
    expect(third.code, third.stderr).toBe(0);
    expect(third.stderr).toContain('which was overtaken, is kept: an earlier run made it');
    const ids = manifestsIn(setup.store).map(({ manifest }) => manifest.id);
    expect(ids).toHaveLength(3);
    expect(ids).toContain(original!.manifest.id);
    expect(linesOf(original!.folder)).toHaveLength(20);
    await expectTrueLedger(setup);
  });
});
