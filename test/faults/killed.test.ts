// kill -9 of dbops, of psql and of zstd in every state: nothing is lost, and the next run finishes.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  archiveSetup,
  archiveStates,
  copyOf,
  expectNothingLost,
  expectToFinish,
  expectTrueLedger,
  filesIn,
  heldPrograms,
  later,
  ledgerStates,
  makeTable,
  now,
  startAfresh,
  untilProgramsEnd,
  untilSessionsEnd,
  type Programs,
  type Setup,
} from '../support/archive-run.ts';
import { runStates } from '../support/archive-states.ts';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
let setup: Setup;
let programs: Programs;
let rows: string[];

beforeAll(async () => {
  db = await createDatabase('archive_killed');
});
afterAll(() => db.drop());

beforeEach(async () => {
  setup = archiveSetup(db);
  programs = await heldPrograms(setup.dir);
  await startAfresh(setup);
  await makeTable(db);
  rows = copyOf(db, 'events');
});

describe('kill -9 of dbops', () => {
  for (const state of runStates) {
    it(state.name, async () => {
      const { running, release } = await state.reach(setup, programs);
      running.kill('SIGKILL');
      await running.done;
      await release();
      await untilSessionsEnd(db);
      await untilProgramsEnd(programs);
      expect(copyOf(db, 'events', ...(await detached())).sort()).toEqual([...rows].sort());
      await expectToFinish(setup, rows, state.nextRun);
    });
  }

  it('while it drops', async () => {
    expect((await setup.run(['archive', 'run'], now)).code).toBe(0);
    const reader = await openSession(db.url);
    await reader.begin();
    await reader.query('lock table only events_6 in access share mode');
    const running = setup.spawn(['archive', 'run', '-v'], later);
    await running.waitFor(/drop public\.events_6.*trying again/);
    running.kill('SIGKILL');
    await running.done;
    await reader.end();
    await untilSessionsEnd(db);
    await expectNothingLost(setup, rows);
    await expectToFinish(setup, rows);
  });
});

const detached = async () =>
  (
    await db.query<{ name: string }>(
      `select partition_name as name from dbops.partition_ledger as l join pg_class as c on c.oid = l.partition_oid
        where not c.relispartition or exists (select from pg_inherits where inhrelid = c.oid and inhdetachpending)`,
    )
  ).map((row) => row.name);

describe('kill -9 of a program', () => {
  for (const [job, name] of [
    ['psql', 'psql before the copy'],
    ['compress', 'zstd while it compresses'],
    ['decompress', 'zstd while it reads back'],
  ] as const) {
    it(name, async () => {
      programs.hold(job);
      const running = setup.spawn(['archive', 'run'], { ...now, ...programs.env });
      const pid = await programs.started(job);
      process.kill(pid, 'SIGKILL');
      const { code, stderr } = await running.done;
      programs.release(job);
      expect(code, stderr).toBe(7);
      expect(stderr).toMatch(/SIGKILL|exit code 137|psql ended with exit code/);
      expect(filesIn(setup.store)).toEqual([]);
      await untilProgramsEnd(programs);
      expect(await archiveStates(db)).toMatchObject([{ state: 'failed' }]);
      expect(copyOf(db, 'events').sort()).toEqual([...rows].sort());
      await expectToFinish(setup, rows);
    });
  }

  it('psql and zstd while rows that were written meanwhile are compared', async () => {
    const first = await setup.run(['archive', 'run'], now);
    expect(first.code, first.stderr).toBe(0);
    await db.query('delete from events_6 where id = 6002');
    await db.query("insert into events_6 values (6002, '2026-06-02', 'row 2')");
    for (const job of ['psql', 'decompress'] as const) {
      programs.hold(job);
      const running = setup.spawn(['archive', 'run'], { ...later, ...programs.env });
      process.kill(await programs.started(job), 'SIGKILL');
      const { code, stderr } = await running.done;
      programs.release(job);
      expect(code, stderr).toBe(7);
      await untilProgramsEnd(programs);
      await untilSessionsEnd(db);
      expect(await ledgerStates(db)).toEqual(['events_6 detached']);
    }
    const last = await setup.run(['archive', 'run'], later);
    expect(last.code, last.stderr).toBe(0);
    expect(last.stderr).toContain('comparing all rows with the archive');
    expect(await ledgerStates(db)).toEqual(['events_6 dropped']);
    await expectNothingLost(setup, rows);
  });

  it('zstd in the middle of a part that is larger than every buffer', async () => {
    await db.query(
      `insert into events_6 select 70000 + g, '2026-06-03', string_agg(md5(g::text || i), '')
         from generate_series(1, 300) as g, generate_series(1, 100) as i group by g`,
    );
    rows = copyOf(db, 'events');
    for (const job of ['compress', 'decompress'] as const) {
      // It gives some of its output, and is killed.
      programs.replace(job, '"$real" "$@" | head -c 70000; kill -9 $$\n');
      const result = await setup.run(['archive', 'run'], { ...now, ...programs.env });
      programs.replace(job, '');
      expect(result.code, result.stderr).toBe(7);
      expect(filesIn(setup.store)).toEqual([]);
      await untilProgramsEnd(programs);
    }
    await expectToFinish(setup, rows);
  });
});

describe('two runs at once', () => {
  it('one works, the other says who, or waits and finds nothing to do', async () => {
    programs.hold('compress');
    const running = setup.spawn(['archive', 'run'], { ...now, ...programs.env });
    await programs.started('compress');
    const second = await setup.run(['archive', 'run'], now);
    expect(second.code).toBe(4);
    expect(second.stderr).toMatch(/another dbops run works on "archive run": pid \d+ \(dbops archive run/);
    const third = setup.spawn(['archive', 'run', '--wait', '60s'], now);
    await waitUntil(
      async () =>
        (
          await db.query(
            `select from pg_stat_activity where application_name = 'dbops archive run' and datname = current_database()`,
          )
        ).length >= 2,
      { what: 'the waiting run' },
    );
    programs.release('compress');
    expect((await running.done).code).toBe(0);
    const waited = await third.done;
    expect(waited.code, waited.stderr).toBe(0);
    expect(await ledgerStates(db)).toEqual(['events_6 detached']);
    expect(await archiveStates(db)).toHaveLength(1);
    await expectTrueLedger(setup);
  });
});
