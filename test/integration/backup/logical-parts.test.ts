import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestDatabase } from '../../support/database.ts';
import {
  createBackup,
  filledSetup,
  read,
  restoreByHand,
  rowCounts,
  rowsOf,
  whyNoDump,
  type LogicalSetup,
} from '../../support/logical-backup.ts';

const noDump = whyNoDump();
let db: TestDatabase;
let setup: LogicalSetup;
const made: TestDatabase[] = [];

beforeAll(async () => {
  ({ db, setup } = await filledSetup('logical_part'));
});
afterAll(async () => {
  for (const item of made) await item.drop();
});

describe.skipIf(noDump !== undefined)('a backup of a part', () => {
  it('holds a partitioned table with its leaves, types, triggers and sequences', async () => {
    const { folder, manifest } = await createBackup(setup, ['--kind', 'table', '--table', 'shop.orders']);
    const target = await restoreByHand(folder, manifest);
    made.push(target);
    expect(await rowsOf(target, 'shop.orders')).toEqual(await rowsOf(db, 'shop.orders'));
    expect(manifest.logical?.selected).toEqual([{ schema: 'shop', name: 'orders' }]);
    expect(manifest.logical?.tables.map((table) => table.name)).toEqual(['orders', 'orders_01', 'orders_02']);
    expect(manifest.logical?.globals).toBeNull();
    await expect(
      target.query(`insert into shop.orders (at, amount) values ('2026-01-05', -1)`),
    ).rejects.toThrow('positive');
    await target.query(`insert into shop.orders (at, amount) values ('2026-01-05', 7)`);
    const [next] = await target.query<{ next: string }>(`select max(ticket)::text as next from shop.orders`);
    const [last] = await db.query<{ last: string }>(`select last_value::text as last from shop.tickets`);
    expect(Number(next?.next)).toBe(Number(last?.last) + 1);
    await target.query(`update shop.orders set amount = 9 where amount = 7`);
    const touched = await target.query(`select note from shop.orders where amount = 9 and note = 'touched'`);
    expect(touched.length).toBeGreaterThan(0);
    // What is there already is kept.
    const twice = await restoreByHand(folder, manifest);
    made.push(twice);
  });

  it('holds several tables', async () => {
    const { folder, manifest } = await createBackup(setup, [
      '--kind',
      'table',
      '--table',
      'nothing',
      '--table',
      'public.We"ird Name',
      '--stream',
    ]);
    const target = await restoreByHand(folder, manifest);
    made.push(target);
    expect(await rowsOf(target, '"We""ird Name"')).toEqual(await rowsOf(db, '"We""ird Name"'));
    expect(rowCounts(manifest.logical)).toEqual({ nothing: 0, 'We"ird Name': 50 });
  });

  it('holds one partition', async () => {
    const { manifest, folder } = await createBackup(setup, [
      '--kind',
      'partition',
      '--table',
      'shop.orders_02',
    ]);
    const [count] = await db.query<{ count: number }>('select count(*)::int as count from shop.orders_02');
    expect(rowCounts(manifest.logical)).toEqual({ orders_02: count?.count });
    expect(read(folder, 'requirements.sql.zst')).toContain('create type shop.mood');
  });

  it('holds definitions alone', async () => {
    const { folder, manifest } = await createBackup(setup, ['--kind', 'schema']);
    const target = await restoreByHand(folder, manifest);
    made.push(target);
    expect(await rowsOf(target, 'shop.orders')).toEqual([]);
    expect(manifest.files.map((file) => file.name)).toEqual(['globals.sql.zst', 'schema.sql.zst']);
    expect(manifest.logical?.tables.every((table) => table.rows === null && table.dataExcluded)).toBe(true);
  });

  it('refuses what is not there', async () => {
    const cases: [string[], string][] = [
      [['--kind', 'table', '--table', 'shop.order'], 'Is shop.orders meant?'],
      [['--kind', 'partition', '--table', 'nothing'], 'public.nothing is not a partition'],
      [['--kind', 'table'], '--kind table needs --table'],
      [['--kind', 'logical', '--table', 'nothing'], '--table does not go with --kind logical'],
    ];
    for (const [args, message] of cases) {
      const result = await setup.run(['backup', 'create', ...args]);
      expect(result.code, result.stderr).toBe(2);
      expect(result.stderr).toContain(message);
    }
  });
});
