// The disk under a store is full while a partition is copied to it.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  archiveSetup,
  archiveStates,
  archiveYaml,
  copyOf,
  expectNothingLost,
  expectTrueLedger,
  filesIn,
  later,
  ledgerStates,
  makeTable,
  now,
  type Setup,
} from '../support/archive-run.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
let setup: Setup;
let disk: string;

beforeAll(async () => {
  db = await createDatabase('archive_disk');
  const own = archiveSetup(db);
  disk = path.join(own.dir, 'disk');
  fs.mkdirSync(disk);
  setup = { ...own, store: path.join(disk, 'store') };
  setup.configure(archiveYaml(setup.store));
});
afterAll(async () => {
  spawnSync('umount', [disk]);
  await db.drop();
});

it('leaves nothing, names the disk, and the next run with room finishes', async (context) => {
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk], { stdio: 'ignore' });
  if (mounted.status !== 0) context.skip('a small disk cannot be mounted here');
  fs.mkdirSync(setup.store);
  await makeTable(db);
  await db.query(
    `insert into events_6 select 70000 + g, '2026-06-03', string_agg(md5(g::text || i), '')
       from generate_series(1, 700) as g, generate_series(1, 100) as i group by g`,
  );
  const rows = copyOf(db, 'events');
  for (let attempt = 1; attempt <= 2; attempt += 1) {
    const result = await setup.run(['archive', 'run'], now);
    expect(result.code, result.stderr).toBe(7);
    expect(result.stderr).toContain('the disk is full');
    expect(result.stderr).toContain(setup.store);
    expect(filesIn(setup.store)).toEqual([]);
    expect((await archiveStates(db)).map(({ state }) => state)).toEqual(Array(attempt).fill('failed'));
    expect(await ledgerStates(db)).toEqual([]);
    expect(copyOf(db, 'events').sort()).toEqual([...rows].sort());
  }
  const grown = spawnSync('mount', ['-o', 'remount,size=64m', disk], { encoding: 'utf8' });
  expect(grown.status, grown.stderr).toBe(0);
  const next = await setup.run(['archive', 'run'], now);
  expect(next.code, next.stderr).toBe(0);
  await expectTrueLedger(setup);
  const last = await setup.run(['archive', 'run'], later);
  expect(last.code, last.stderr).toBe(0);
  expect(await ledgerStates(db)).toEqual(['events_6 dropped']);
  await expectNothingLost(setup, rows);
});
