import fs from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LogicalPart } from '../../../src/backup/manifest.ts';
import { createDatabase, waitUntil, type TestDatabase } from '../../support/database.ts';
import {
  backupsIn,
  clientDirectory,
  createBackup,
  filledSetup,
  logicalSetup,
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
  ({ db, setup } = await filledSetup('logical'));
});
afterAll(async () => {
  for (const item of made) await item.drop();
});

const tables = ['shop.orders_01', 'shop.orders_02', '"We""ird Name"', 'nothing', 'log_lines'];

describe.skipIf(noDump !== undefined)('a logical backup', () => {
  for (const how of [[], ['--stream']]) {
    it(`holds the whole database ${how.join('')}`, async () => {
      const { folder, manifest, result } = await createBackup(setup, [
        '--kind',
        'logical',
        '--reason',
        'test',
        ...how,
      ]);
      const target = await restoreByHand(folder, manifest);
      made.push(target);
      for (const table of tables) expect(await rowsOf(target, table), table).toEqual(await rowsOf(db, table));
      const { logical } = manifest;
      expect(logical?.format).toBe(how.length === 0 ? 'directory' : 'custom');
      const [counted] = await db.query<{ january: number; february: number }>(
        `select (select count(*) from shop.orders_01)::int as january, (select count(*) from shop.orders_02)::int as february`,
      );
      const { january, february } = counted!;
      expect(rowCounts(logical)).toEqual({
        'We"ird Name': 50,
        log_lines: 20_000,
        nothing: 0,
        orders: null,
        orders_01: january,
        orders_02: february,
      });
      expect(january).toBeGreaterThan(0);
      expect(logical?.largeObjects).toBe(3);
      const objects =
        "select sum(hashtext(encode(lo_get(oid), 'hex')))::text as sum from pg_largeobject_metadata";
      expect(await target.query(objects)).toEqual(await db.query(objects));
      const sequences = Object.fromEntries(
        (logical?.sequences ?? []).map((item) => [item.name, item.lastValue]),
      );
      expect(sequences).toMatchObject({
        'We"ird Name_id_seq': '50',
        tickets: String(99 + january + february),
      });
      expect(result.stderr).toContain(`backup ${manifest.id} (logical)`);
      expect(manifest).toMatchObject({ kind: 'logical', reason: 'test', database: db.name, physical: null });
      expect(manifest.tools['pg_dump']).toMatch(/^\d+\.\d+/);
      expect(fs.readdirSync(setup.work)).toEqual([]);
    });
  }

  it('hashes small tables as a restored database does', async () => {
    const { folder, manifest } = await createBackup(setup, ['--kind', 'logical']);
    const target = await restoreByHand(folder, manifest);
    made.push(target);
    const own = logicalSetup(target);
    const again = await createBackup(own, ['--kind', 'logical']);
    const hashes = (part: LogicalPart | null) =>
      (part?.tables ?? [])
        .filter((table) => table.schema !== 'dbops')
        .map((table) => [table.name, table.hash]);
    expect(hashes(again.manifest.logical)).toEqual(hashes(manifest.logical));
    expect(hashes(manifest.logical).filter(([, hash]) => hash !== null && hash !== '0').length).toBe(4);
  });

  it('leaves out the rows that are not wanted, and says so', async () => {
    const { folder, manifest } = await createBackup(setup, [
      '--kind',
      'logical',
      '--exclude-data',
      'log_*',
      'shop.*_02',
    ]);
    const target = await restoreByHand(folder, manifest);
    made.push(target);
    expect(await rowsOf(target, 'log_lines')).toEqual([]);
    expect(await rowsOf(target, 'shop.orders_02')).toEqual([]);
    expect((await rowsOf(target, 'shop.orders_01')).length).toBeGreaterThan(0);
    const excluded = manifest.logical?.tables
      .filter((table) => table.dataExcluded)
      .map((table) => table.name);
    expect(excluded).toEqual(['log_lines', 'orders_02']);
    expect(manifest.logical?.excludedData).toEqual(['public.log_*', 'shop.*_02']);
    const typo = await setup.run(['backup', 'create', '--kind', 'logical', '--exclude-data', 'lgo_*']);
    expect(typo.code).toBe(2);
    expect(typo.stderr).toContain('no table matches --exclude-data "public.lgo_*"');
  });

  it('takes the rows of its snapshot, whatever is written meanwhile', async () => {
    const busy = await createDatabase('logical_busy');
    made.push(busy);
    await busy.query('create table counted as select g as id from generate_series(1, 1000) as g');
    const own = logicalSetup(busy);
    const bin = fs.mkdtempSync(`${own.dir}/bin-`);
    const real = `${clientDirectory() ?? ''}/pg_dump`;
    fs.writeFileSync(
      `${bin}/pg_dump`,
      `#!/bin/sh\ncase "$*" in *--version*) ;; *) touch ${bin}/waits; while [ -e ${bin}/waits ]; do sleep 0.05; done;; esac\nexec ${real} "$@"\n`,
      { mode: 0o755 },
    );
    const running = own.spawn(['backup', 'create', '--kind', 'logical'], {
      PATH: `${bin}:${process.env['PATH'] ?? ''}`,
    });
    await waitUntil(() => fs.existsSync(`${bin}/waits`), { what: 'pg_dump to start' });
    await busy.query('delete from counted where id > 400');
    fs.rmSync(`${bin}/waits`);
    expect((await running.done).code).toBe(0);
    const [{ folder, manifest } = { folder: '', manifest: null }] = backupsIn(own.store);
    if (manifest === null) throw new Error('no backup');
    expect(rowCounts(manifest.logical)).toEqual({ counted: 1000 });
    const target = await restoreByHand(folder, manifest);
    made.push(target);
    expect((await rowsOf(target, 'counted')).length).toBe(1000);
  });

  it('takes roles with it, and no password gets into logs, manifest or history', async () => {
    const role = `dbops_keeper_${db.name.slice(-10)}`;
    await db.query(`create role ${role} login password 'hidden-secret-1'`);
    await db.query(`grant select on log_lines to ${role}`);
    await db.query(`alter database ${db.name} set app.jwt_secret = 'hidden-secret-2'`);
    const own = logicalSetup(db);
    const { folder, manifest, result } = await createBackup(own, ['--kind', 'logical', '-v']);
    expect(read(folder, 'globals.sql.zst')).toMatch(
      new RegExp(`ALTER ROLE ${role} .*PASSWORD 'SCRAM-SHA-256`),
    );
    expect(manifest.logical).toMatchObject({ globals: 'globals.sql.zst', rolePasswords: true });
    expect(manifest.logical?.roles).toContain(role);
    const history = JSON.stringify(await db.query('select * from dbops.run'));
    for (const text of [JSON.stringify(manifest), result.stdout, result.stderr, history]) {
      expect(text).not.toContain('hidden-secret');
      expect(text).not.toContain('SCRAM-SHA-256$');
    }
    // A role that may read every table, and not pg_authid.
    await db.query(`grant usage on schema shop to ${role}`);
    await db.query(`grant select on all tables in schema public, shop to ${role}`);
    await db.query(`grant select on all sequences in schema public, shop to ${role}`);
    await db.query(`do $$ declare lo oid; begin for lo in select oid from pg_largeobject_metadata loop
      execute format('grant select on large object %s to ${role}', lo); end loop; end $$`);
    await db.query(`grant all on all tables in schema dbops to ${role}`);
    await db.query(`grant all on all sequences in schema dbops to ${role}`);
    await db.query(`grant all on schema dbops to ${role}`);
    const url = new URL(db.url);
    url.username = role;
    url.password = 'hidden-secret-1';
    const limited = logicalSetup({ ...db, url: url.href });
    const second = await createBackup(limited, ['--kind', 'logical']);
    expect(second.manifest.logical).toMatchObject({ globals: 'globals.sql.zst', rolePasswords: false });
    expect(read(second.folder, 'globals.sql.zst')).not.toContain('PASSWORD');
    expect(second.result.stderr).toContain('passwords of roles are not in the backup');
    await db.query(`revoke all on all tables in schema dbops from ${role}`);
    await db.query(`drop owned by ${role}`);
    await db.query(`drop role ${role}`);
  });
});
