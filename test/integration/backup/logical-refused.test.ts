import fs from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, openSession, type TestDatabase } from '../../support/database.ts';
import {
  backupsIn,
  fillDatabase,
  logicalSetup,
  logicalYaml,
  whyNoDump,
} from '../../support/logical-backup.ts';

const noDump = whyNoDump();
let db: TestDatabase;
const made: TestDatabase[] = [];

beforeAll(async () => {
  db = await createDatabase('logical_refused');
  await fillDatabase(db);
});
afterAll(async () => {
  for (const item of [db, ...made]) await item.drop();
});

describe.skipIf(noDump !== undefined)('before anything is written', () => {
  it('prints the commands as they would be run', async () => {
    const own = logicalSetup(db);
    const result = await own.run([
      'backup',
      'create',
      '--kind',
      'table',
      '--table',
      'shop.orders',
      '--dry-run',
    ]);
    expect(result.code, result.stderr).toBe(0);
    expect(result.stdout).toMatch(/pg_dump -Fd -j 2 .*'--table="shop"."orders_02"'/);
    expect(result.stdout).toContain('> local: requirements.sql.zst');
    expect(fs.readdirSync(own.store)).toEqual([]);
    expect(fs.readdirSync(own.work)).toEqual([]);
  });

  it('refuses an empty database, and tells the hook', async () => {
    const empty = await createDatabase('logical_empty');
    made.push(empty);
    const own = logicalSetup(empty);
    own.configure(logicalYaml(own.store, own.work, `  onFailure: "cat > ${own.dir}/told.json"\n`));
    const result = await own.run(['backup', 'create', '--kind', 'logical']);
    expect(result.code).toBe(4);
    expect(result.stderr).toMatch(/database ".*" has no table/);
    const told = JSON.parse(fs.readFileSync(`${own.dir}/told.json`, 'utf8')) as {
      event: string;
      kind: string;
    };
    expect(told).toMatchObject({ event: 'backup_failed', kind: 'logical' });
    // What dbops itself has in it makes it no fuller.
    await own.run(['backup', 'create', '--kind', 'logical']);
    expect((await own.run(['backup', 'create', '--kind', 'logical'])).code).toBe(4);
  });

  it('tells the hook of a server that cannot be reached, and of another run in the way', async () => {
    const own = logicalSetup(db);
    own.configure(logicalYaml(own.store, own.work, `  onFailure: "cat > ${own.dir}/told.json"\n`));
    const told = () => JSON.parse(fs.readFileSync(`${own.dir}/told.json`, 'utf8')) as object;
    const create = ['backup', 'create', '--kind', 'logical'];
    const gone = await own.run(create, { DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none' });
    expect(gone.code).toBe(3);
    expect(gone.stderr).toContain('no backup (logical)');
    expect(told()).toMatchObject({ database: null, error: { code: 'connection_failed' } });
    const holder = await openSession(db.url);
    await holder.query(`select pg_advisory_lock(${String(0x64626f70)}, 5)`);
    const busy = await own.run(create);
    await holder.end();
    expect(busy.code).toBe(4);
    expect(told()).toMatchObject({ event: 'backup_failed', error: { code: 'lock_busy' } });
    fs.rmSync(`${own.dir}/told.json`);
    expect((await own.run([...create, '--table', 'nothing'])).code).toBe(2);
    expect(fs.existsSync(`${own.dir}/told.json`)).toBe(false);
  });

  it('leaves a row of what could not even be begun, and none of what was typed wrongly', async () => {
    const emptied = await createDatabase('logical_emptied');
    made.push(emptied);
    await emptied.query('create table single as select 1 as i');
    const own = logicalSetup(emptied);
    const create = ['backup', 'create', '--kind', 'logical'];
    expect((await own.run(create)).code).toBe(0);
    await emptied.query('drop table single');
    expect((await own.run(create)).code).toBe(4);
    expect((await own.run([...create, '--table', 'single'])).code).toBe(2);
    expect((await own.run([...create, '--dry-run'])).code).toBe(4);
    const rows = await emptied.query('select state, stores, message from dbops.backup order by started_at');
    expect(rows).toEqual([
      { state: 'done', stores: ['local'], message: null },
      { state: 'failed', stores: [], message: expect.stringContaining('has no table') as string },
    ]);
  });

  it('fails below the minimum size', async () => {
    const own = logicalSetup(db);
    own.configure(logicalYaml(own.store, own.work, '  minimumSize: 1 GB\n'));
    const result = await own.run(['backup', 'create', '--kind', 'logical']);
    expect(result.code).toBe(7);
    expect(result.stderr).toContain('"backup.minimumSize" is 1.0 GB');
    expect(backupsIn(own.store)).toEqual([]);
  });
});

describe.skipIf(noDump !== undefined)('locks', () => {
  it('waits for none in a queue, and goes on when the table is free', async () => {
    const own = logicalSetup(db);
    const holder = await openSession(db.url);
    await holder.begin();
    await holder.query('lock table log_lines in access exclusive mode');
    const running = own.spawn(['backup', 'create', '--kind', 'logical', '-v']);
    await running.waitFor(/pg_dump could not lock public\.log_lines: pid \d+ .*trying again/);
    await holder.end();
    const result = await running.done;
    expect(result.code, result.stderr).toBe(0);
    expect(backupsIn(own.store).length).toBe(1);
  });

  it('gives up after the deadline, naming who is in the way', async () => {
    const own = logicalSetup(db);
    const holder = await openSession(db.url);
    await holder.begin();
    await holder.query('lock table log_lines in access exclusive mode');
    const result = await own.run(['backup', 'create', '--kind', 'logical']);
    await holder.end();
    expect(result.code, result.stderr).toBe(4);
    expect(result.stderr).toContain('could not lock public.log_lines in time');
    expect(result.stderr).toContain(`pid ${String(holder.pid)}`);
    expect(backupsIn(own.store)).toEqual([]);
    expect(fs.readdirSync(own.work)).toEqual([]);
  });
});
