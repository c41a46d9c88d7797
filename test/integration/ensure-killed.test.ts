// kill -9 at any moment: the next run finishes the work and leaves nothing behind.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { spawnDbops } from '../support/cli.ts';
import { createDatabase, waitUntil, type TestDatabase } from '../support/database.ts';
import { invocation, runEnsure } from '../support/ensure.ts';
import { blocker, isComplete, ours, table } from '../support/interruption.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase('ensure_killed');
});

afterAll(() => db.drop());

describe('kill -9', () => {
  it('after any statement, then a clean second run', async () => {
    // The first run of all makes the state schema as well.
    expect((await runEnsure(db, [await table(db, 'first_of_all')])).code).toBe(0);
    // A rehearsal tells how many statements change something.
    const rehearsal = [
      { ...(await table(db, 'rehearsal_a')), premake: 1 },
      { ...(await table(db, 'rehearsal_b', true)), premake: 1 },
    ];
    const full = await runEnsure(db, rehearsal, { args: ['-v'] });
    const statements = [...full.stderr.matchAll(/ ms(?: \(failed\))?: begin;/g)].length;
    expect(statements).toBeGreaterThanOrEqual(6);
    for (let count = 1; count <= statements; count += 1) {
      const names = [`k${String(count)}a`, `k${String(count)}b`];
      const entries = [
        { ...(await table(db, names[0]!)), premake: 1 },
        { ...(await table(db, names[1]!, true)), premake: 1 },
      ];
      const running = spawnDbops(['partition', 'ensure', '-v'], invocation(db.url, entries));
      await running.waitFor(new RegExp(`(?: ms: begin;[^]*?){${String(count)}}`));
      running.kill('SIGKILL');
      await running.done;
      await waitUntil(async () => (await db.query(ours)).length === 0, {
        what: 'the killed session to be gone',
      });
      const second = await runEnsure(db, entries);
      expect(second.stderr).not.toContain('hint');
      expect(second.code).toBe(0);
      for (const name of names) await isComplete(db, name, [`${name}_y2026m12`]);
      const [open] = await db.query<{ n: number }>(
        "select count(*)::int as n from dbops.run where outcome = 'running'",
      );
      expect(open!.n).toBeLessThanOrEqual(1);
    }
  }, 180_000);

  it('of a run that a lock held up: the next one removes what it had begun', async () => {
    const entry = await table(db, 'held_up', true);
    const holder = await blocker(db.url, 'held_up');
    const running = spawnDbops(['partition', 'ensure', '-v'], invocation(db.url, [entry]));
    await running.waitFor(/attach .*trying again/);
    running.kill('SIGKILL');
    await running.done;
    await holder.end();
    await expect(db.query("insert into held_up values (1, '2026-12-24')")).rejects.toThrow('dbops_exclude');
    const second = await runEnsure(db, [entry]);
    expect(second.code).toBe(0);
    expect(second.stderr).toContain('remove public.held_up_y2026m12, left behind by an interrupted run');
    await isComplete(db, 'held_up');
    await db.query("insert into held_up values (1, '2026-12-24')");
  });

  it('a table left behind that has rows by now is not touched', async () => {
    const entry = await table(db, 'written');
    await db.query('create table written_y2026m12 (id int, at date)');
    await db.query("comment on table written_y2026m12 is 'dbops:creating parent=public.written'");
    await db.query("insert into written_y2026m12 values (1, '2026-12-01')");
    const run = await runEnsure(db, [entry]);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain('was left behind by an interrupted run and has rows');
    expect(await db.query('select count(*)::int as n from written_y2026m12')).toEqual([{ n: 1 }]);
    await db.query('drop table written_y2026m12');
  });
});
