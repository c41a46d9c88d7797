// With nothing to do, a run costs the same handful of statements whatever the number of tables and partitions.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { runEnsure, type TableEntry } from '../support/ensure.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase('ensure_no_op');
});

afterAll(() => db.drop());

async function statementsOf(tables: TableEntry[]): Promise<number> {
  const run = await runEnsure(db, tables, { args: ['-v'] });
  expect(run.code).toBe(0);
  expect(run.stdout).toContain('nothing to create');
  return [...run.stderr.matchAll(/^\S+ [\d.]+ ms/gm)].length;
}

describe('a run with nothing to do', () => {
  it.each([
    ['1 table', 1, 2],
    ['15 tables', 15, 6],
    ['40 tables with 20 partitions each', 40, 19],
  ])('on %s sends at most 12 statements', async (_, count, premake) => {
    // By hand: what is measured is the run that finds them all there.
    await db.query(`do $$ begin
      for t in 0..${String(count - 1)} loop
        execute format('create table %I (id %s) partition by range (id)', 't${String(count)}_' || t,
                       case when t % 3 = 2 then 'bigserial' else 'timestamptz' end);
        for p in 0..${String(premake)} loop
          execute format('create table %I partition of %I for values from (%L) to (%L)',
            't${String(count)}_' || t || '_' || p, 't${String(count)}_' || t,
            case when t % 3 = 2 then (p * 1000)::text else (date '2026-11-21' + p)::text end,
            case when t % 3 = 2 then (p * 1000 + 1000)::text else (date '2026-11-21' + p + 1)::text end);
        end loop;
      end loop;
    end $$`);
    const entries = Array.from({ length: count }, (__, index): TableEntry => ({
      table: `t${String(count)}_${String(index)}`,
      key: 'id',
      interval: index % 3 === 2 ? 1000 : 'day',
      premake,
    }));
    const statements = await statementsOf(entries);
    expect(statements).toBeGreaterThanOrEqual(4);
    expect(statements).toBeLessThanOrEqual(12);
  });

  it('also where a default partition serves the current period', async () => {
    await db.query('create table served (at date) partition by range (at)');
    await db.query('create table served_rest partition of served default');
    const entries = [{ table: 'served', key: 'at', interval: 'month', premake: 0 }];
    expect((await runEnsure(db, entries)).code).toBe(0);
    expect(await statementsOf(entries)).toBeLessThanOrEqual(12);
  });
});
