// Sets that are there already, made by other hands: what is read from their bounds, and what is left alone.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { boundsOf, ranges, runEnsure, type TableEntry } from '../support/ensure.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase('ensure_existing');
});

afterAll(() => db.drop());

/** A table of timestamptz with partitions between the given ends. */
async function tableWith(name: string, type: string, ...ends: string[]): Promise<void> {
  await db.query(`create table ${name} (at ${type}) partition by range (at)`);
  for (const [index, to] of ends.slice(1).entries()) {
    await db.query(
      `create table ${name}_old${String(index)} partition of ${name} for values from ('${ends[index]!}') to ('${to}')`,
    );
  }
}

async function extend(
  entry: Partial<TableEntry> & Pick<TableEntry, 'table' | 'interval'>,
  args: string[] = [],
): Promise<string[]> {
  const run = await runEnsure(db, [{ key: 'at', premake: 1, ...entry }], { args });
  expect(run.stderr).not.toContain('hint');
  expect(run.code).toBe(0);
  return (await boundsOf(db, entry.table)).map(([, bound]) => bound);
}

describe('sets of another convention go on from their last bound', () => {
  it('names of another pattern: only the new ones follow the configuration', async () => {
    await tableWith('orders', 'date', '2026-10-01', '2026-11-01', '2026-12-01');
    await extend({ table: 'public.orders', interval: 'month', naming: 'part_{yyyy}_{mm}_of_{table}' });
    expect(await boundsOf(db, 'orders')).toEqual([
      ['orders_old0', "FROM ('2026-10-01') TO ('2026-11-01')"],
      ['orders_old1', "FROM ('2026-11-01') TO ('2026-12-01')"],
      ['part_2026_12_of_orders', "FROM ('2026-12-01') TO ('2027-01-01')"],
    ]);
  });

  it('weeks from Thursday', async () => {
    await tableWith('thursdays', 'date', '2026-11-12', '2026-11-19');
    expect(await extend({ table: 'public.thursdays', interval: 'week' })).toEqual(
      ranges('2026-11-12', '2026-11-19', '2026-11-26', '2026-12-03'),
    );
  });

  it('days from 09:00 UTC', async () => {
    const at = (day: string) => `${day} 09:00:00+00`;
    await tableWith('nines', 'timestamptz', at('2026-11-19'), at('2026-11-20'));
    expect(await extend({ table: 'public.nines', interval: 'day' })).toEqual(
      ranges(...['19', '20', '21', '22', '23'].map((day) => at(`2026-11-${day}`))),
    );
  });

  it('months of Seoul', async () => {
    const ends = ['2026-10-31 15:00:00+00', '2026-11-30 15:00:00+00', '2026-12-31 15:00:00+00'];
    await tableWith('seoul', 'timestamptz', ...ends.slice(0, 2));
    expect(await extend({ table: 'public.seoul', interval: 'month', timezone: 'Asia/Seoul' })).toEqual(
      ranges(...ends),
    );
  });

  it('quarters until now, months from here on', async () => {
    await tableWith('narrower', 'date', '2026-07-01', '2026-10-01', '2027-01-01');
    expect(await extend({ table: 'public.narrower', interval: 'month', premake: 3 })).toEqual(
      ranges('2026-07-01', '2026-10-01', '2027-01-01', '2027-02-01', '2027-03-01'),
    );
  });

  it('a legacy partition from MINVALUE, whose end lies on the grid', async () => {
    await db.query('create table legacy (at date) partition by range (at)');
    await db.query(
      "create table legacy_all partition of legacy for values from (minvalue) to ('2026-12-01')",
    );
    expect(await extend({ table: 'public.legacy', interval: 'month' })).toEqual([
      "FROM ('2026-12-01') TO ('2027-01-01')",
      "FROM (MINVALUE) TO ('2026-12-01')",
    ]);
  });

  it('bounds from the first century', async () => {
    await tableWith('ancient', 'date', '0001-01-01', '2026-12-01');
    expect(await extend({ table: 'public.ancient', interval: 'month' })).toEqual(
      ranges('0001-01-01', '2026-12-01', '2027-01-01'),
    );
  });
});

describe('history', () => {
  it('past retention is not filled, neither behind the last bound nor in gaps', async () => {
    await tableWith('kept', 'date', '2026-05-01', '2026-06-01');
    const retention = { hot: '60 days' };
    expect(await extend({ table: 'public.kept', interval: 'month', retention }, ['--fill-gaps'])).toEqual(
      ranges('2026-05-01', '2026-06-01').concat(
        ranges('2026-09-01', '2026-10-01', '2026-11-01', '2026-12-01', '2027-01-01'),
      ),
    );
  });

  it('between the last bound and now is made', async () => {
    await tableWith('behind', 'date', '2026-08-01', '2026-09-01');
    expect(await extend({ table: 'public.behind', interval: 'month' })).toEqual(
      ranges('2026-08-01', '2026-09-01', '2026-10-01', '2026-11-01', '2026-12-01', '2027-01-01'),
    );
  });

  it('partitions of the future alone: the current period is made before them', async () => {
    await tableWith('tomorrow', 'date', '2027-01-01', '2027-02-01');
    expect(await extend({ table: 'public.tomorrow', interval: 'month' })).toEqual(
      ranges('2026-11-01', '2026-12-01', '2027-01-01', '2027-02-01'),
    );
  });

  it('gaps are told, and filled with --fill-gaps only', async () => {
    const entry = { table: 'public.gappy', key: 'at', interval: 'month', premake: 0 };
    await tableWith('gappy', 'date', '2026-07-01', '2026-08-01');
    await db.query(
      "create table gappy_nov partition of gappy for values from ('2026-11-01') to ('2026-12-01')",
    );
    const told = await runEnsure(db, [entry]);
    expect(told.code).toBe(0);
    expect(told.stderr).toContain(
      'public.gappy: no partition from 2026-08-01 to 2026-11-01; --fill-gaps makes one',
    );
    expect(await boundsOf(db, 'gappy')).toHaveLength(2);
    expect(await extend({ ...entry, table: 'public.gappy' }, ['--fill-gaps'])).toEqual(
      ranges('2026-07-01', '2026-08-01', '2026-09-01', '2026-10-01', '2026-11-01', '2026-12-01'),
    );
  });

  it('gaps beside the grid are left alone and told', async () => {
    await tableWith('crooked', 'date', '2026-07-01', '2026-07-15');
    await db.query(
      "create table crooked_b partition of crooked for values from ('2026-11-01') to ('2027-01-01')",
    );
    const run = await runEnsure(db, [{ table: 'crooked', key: 'at', interval: 'month', premake: 0 }], {
      args: ['--fill-gaps'],
    });
    expect(run.code).toBe(0);
    expect(run.stderr).toContain('it does not lie on the month grid and is left alone');
    expect(await boundsOf(db, 'crooked')).toHaveLength(2);
  });

  it('a partition up to MAXVALUE is told and nothing is tried behind it', async () => {
    await db.query('create table open_ended (at date) partition by range (at)');
    await db.query(
      "create table open_rest partition of open_ended for values from ('2026-01-01') to (maxvalue)",
    );
    const run = await runEnsure(db, [{ table: 'open_ended', key: 'at', interval: 'month' }]);
    expect(run.code).toBe(0);
    expect(run.stderr).toContain('public.open_ended: a partition reaches to MAXVALUE');
    expect(await boundsOf(db, 'open_ended')).toHaveLength(1);
  });
});

describe('sub-partitioned sets', () => {
  it('get leaves under every tenant', async () => {
    await db.query('create table tenants (tenant text, at date) partition by list (tenant)');
    for (const tenant of ['acme', 'globex']) {
      await db.query(
        `create table tenants_${tenant} partition of tenants for values in ('${tenant}') partition by range (at)`,
      );
    }
    const run = await runEnsure(db, [{ table: 'tenants', key: 'at', interval: 'month', premake: 1 }]);
    expect(run.code).toBe(0);
    for (const tenant of ['acme', 'globex']) {
      expect(await boundsOf(db, `tenants_${tenant}`)).toEqual([
        [`tenants_${tenant}_y2026m11`, "FROM ('2026-11-01') TO ('2026-12-01')"],
        [`tenants_${tenant}_y2026m12`, "FROM ('2026-12-01') TO ('2027-01-01')"],
      ]);
    }
  });

  it('also two levels down, each branch from its own last bound', async () => {
    await db.query('create table deep (region text, tenant int, at timestamptz) partition by list (region)');
    await db.query("create table deep_eu partition of deep for values in ('eu') partition by hash (tenant)");
    for (const part of ['0', '1']) {
      await db.query(
        `create table deep_eu_${part} partition of deep_eu for values with (modulus 2, remainder ${part}) partition by range (at)`,
      );
    }
    await db.query(
      "create table deep_eu_0_a partition of deep_eu_0 for values from ('2026-11-21') to ('2026-11-22')",
    );
    const run = await runEnsure(db, [{ table: 'deep', key: 'at', interval: 'day', premake: 1 }]);
    expect(run.code).toBe(0);
    expect((await boundsOf(db, 'deep_eu_0')).map(([name]) => name)).toEqual([
      'deep_eu_0_a',
      'deep_eu_0_y2026m11d22',
    ]);
    expect(await boundsOf(db, 'deep_eu_1')).toHaveLength(2);
  });

  it('whose periods are divided once more are refused', async () => {
    await db.query('create table periods_first (at date, tenant int) partition by range (at)');
    await db.query(
      "create table periods_first_a partition of periods_first for values from ('2026-11-01') to ('2026-12-01') partition by range (tenant)",
    );
    const run = await runEnsure(db, [{ table: 'periods_first', key: 'at', interval: 'month' }]);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain('the periods of public.periods_first are partitioned once more');
  });
});

describe('names', () => {
  it('leaves go where the newest leaf lives', async () => {
    await db.query('create schema archive');
    await db.query('create table spread (at date) partition by range (at)');
    await db.query(
      "create table archive.spread_a partition of spread for values from ('2026-11-01') to ('2026-12-01')",
    );
    await extend({ table: 'public.spread', interval: 'month' });
    expect(await db.query("select to_regclass('archive.spread_y2026m12') is not null as there")).toEqual([
      { there: true },
    ]);
  });

  it.each([
    ['mixed case', 'Sales', 'OrderLines', 'At'],
    ['Korean', '생산', '판정_이력', '판정일'],
    ['quotes and semicolons', 'a"b', `x'; drop table "users"; --`, `k"'y`],
    ['newlines and backslashes', 'line\nbreak', 'back\\slash\n\\q\n\\! false', 'a\tb\\'],
    ['dollars and percents', '$dbops$', "%s %I $1 :name :'name'", '${PATH}$$'],
    ['keywords', 'select', 'table', 'default'],
    ['dots', 'v1.2', 'a.b.c', 'd.e'],
  ])('%s', async (_, schema, table, key) => {
    const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;
    await db.query(`create schema ${quote(schema)}`);
    await db.query(
      `create table ${quote(schema)}.${quote(table)} (${quote(key)} timestamptz) partition by range (${quote(key)})`,
    );
    // In the file ${...} is filled from the environment; $${ stands for itself.
    const entry = {
      table: `${quote(schema)}.${quote(table)}`.replaceAll('${', () => '$${'),
      key: key.replaceAll('${', () => '$${'),
      interval: 'month',
      premake: 1,
    };
    const first = await runEnsure(db, [entry]);
    expect(first.stderr).not.toContain('hint');
    expect(first.code).toBe(0);
    expect(first.stdout).not.toContain('\n\\q');
    const rows = await db.query<{ name: string }>(
      `select relname as name from pg_class where relnamespace = (select oid from pg_namespace where nspname = $1)
          and relkind = 'r' order by relname`,
      [schema],
    );
    expect(rows.map((row) => row.name)).toEqual([`${table}_y2026m11`, `${table}_y2026m12`]);
    const second = await runEnsure(db, [entry]);
    expect(second.stdout).toContain('nothing to create');
  });

  it('are cut between characters at 63 bytes, with a hash, and found again', async () => {
    const table = '판'.repeat(20);
    await db.query(`create table "${table}" (at date) partition by range (at)`);
    const entry = { table: `public.${table}`, key: 'at', interval: 'month', premake: 1 };
    expect((await runEnsure(db, [entry])).code).toBe(0);
    const created = await boundsOf(db, `"${table}"`);
    expect(created).toHaveLength(2);
    for (const [name] of created) {
      expect(name).toMatch(/^판+_[0-9a-f]{8}_y2026m1[12]$/);
      expect(Buffer.byteLength(name)).toBeLessThanOrEqual(63);
    }
    expect((await runEnsure(db, [entry])).stdout).toContain('nothing to create');
  });
});
