import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, openSession, type TestDatabase } from '../support/database.ts';
import { createWorkspace, type Workspace } from '../support/workspace.ts';

const now = { DBOPS_TEST_NOW: '2026-11-21T12:00:00Z' };
const later = { DBOPS_TEST_NOW: '2026-12-05T12:00:00Z' };
const config = `
locking: { deadline: 3s }
partitions:
  - table: public.events
    key: at
    interval: month
    premake: 1
    retention: { hot: 3 months, then: delete }
    quarantine: 7 days
`;

let db: TestDatabase;
let work: Workspace;

beforeAll(async () => {
  db = await createDatabase('attach');
  work = createWorkspace(db, config);
});
afterAll(() => db.drop());

beforeEach(async () => {
  work.configure(config);
  await db.query('drop schema if exists dbops cascade');
  await db.query('drop schema public cascade');
  await db.query('create schema public');
  await db.query(
    'create table events (id int8 not null, at timestamptz not null, note text) partition by range (at)',
  );
  for (const month of [6, 7, 8, 9, 10, 11]) {
    await db.query(
      `create table events_${month} partition of events for values from ('2026-${month}-01 00:00:00+00') to ('2026-${month + 1}-01 00:00:00+00')`,
    );
    await db.query(`insert into events select g, '2026-${month}-02' from generate_series(1, 50) as g`);
  }
});

const exists = async (table: string) =>
  (await db.query<{ found: boolean }>(`select to_regclass('public.${table}') is not null as found`))[0]!
    .found;
const states = async () =>
  (await db.query<{ state: string }>('select state from dbops.partition_ledger order by id')).map(
    (row) => row.state,
  );

describe('attach', () => {
  it('brings a detached partition back by its mark, without a scan', async () => {
    const before = await db.query('select count(*) from events');
    expect((await work.run(['partition', 'detach', 'events_8', '--yes'], now)).code).toBe(0);
    const result = await work.run(['partition', 'attach', 'events_8', '--to', 'events', '--yes', '-v'], now);
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).not.toContain('validate constraint');
    expect(await db.query('select count(*) from events')).toEqual(before);
    expect(await states()).toEqual(['attached again']);
    const [row] = await db.query<{ bound: string; comment: string | null }>(
      `select pg_get_expr(relpartbound, oid) as bound, obj_description(oid) as comment from pg_class where relname = 'events_8'`,
    );
    expect(row!.bound).toContain('2026-08-01');
    expect(row!.comment).toBeNull();
  });

  it('attaches another table for a range, proving its rows first', async () => {
    await db.query('create table loaded (like events)');
    await db.query(`insert into loaded select g, '2026-05-03' from generate_series(1, 10) as g`);
    const result = await work.run([
      'partition',
      'attach',
      'loaded',
      '--to',
      'events',
      '--from',
      '2026-05-01',
      '--until',
      '2026-06-01',
      '--yes',
      '-v',
    ]);
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).toContain('validate constraint');
    expect(await db.query(`select from events where at < '2026-06-01'`)).toHaveLength(10);
    expect(
      await db.query(
        `select from pg_constraint where conrelid = 'loaded'::regclass and conname = 'dbops_bound'`,
      ),
    ).toHaveLength(0);
  });

  it('refuses a table with rows outside the range, and leaves it as it was but for the CHECK', async () => {
    await db.query('create table loaded (like events)');
    await db.query(`insert into loaded values (1, '2020-01-01')`);
    const result = await work.run([
      'partition',
      'attach',
      'loaded',
      '--to',
      'events',
      '--from',
      '2026-05-01',
      '--until',
      '2026-06-01',
      '--yes',
    ]);
    expect(result.code).toBe(5);
    expect(result.stderr).toContain('violated by some row');
    expect(await db.query(`select from pg_inherits where inhrelid = 'loaded'::regclass`)).toHaveLength(0);
  });

  it('names the partition that has the bounds already', async () => {
    expect((await work.run(['partition', 'detach', 'events_8', '--yes'], now)).code).toBe(0);
    await db.query(
      `create table twin partition of events for values from ('2026-08-01 00:00:00+00') to ('2026-09-01 00:00:00+00')`,
    );
    const result = await work.run(['partition', 'attach', 'events_8', '--to', 'events', '--yes'], now);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('public.twin has these bounds already');
  });

  it('wants bounds for a table without a mark', async () => {
    await db.query('create table loaded (like events)');
    const result = await work.run(['partition', 'attach', 'loaded', '--to', 'events', '--yes']);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('--from');
  });
});

describe('drop', () => {
  beforeEach(async () => {
    expect((await work.run(['partition', 'detach', '--due'], now)).code).toBe(0);
  });

  it('drops nothing before its date', async () => {
    const result = await work.run(['partition', 'drop', '--due'], now);
    expect(result.code).toBe(0);
    expect(result.stdout).toContain('nothing is due');
    expect(await exists('events_6')).toBe(true);
  });

  it('drops what is due after its quarantine, and the ledger says so', async () => {
    const result = await work.run(['partition', 'drop', '--due'], later);
    expect(result.code, result.stderr).toBe(0);
    expect(await exists('events_6')).toBe(false);
    expect(await exists('events_7')).toBe(false);
    expect(await exists('events_8')).toBe(true);
    expect(await states()).toEqual(['dropped', 'dropped']);
  });

  it('drops no more of one table than --max', async () => {
    const result = await work.run(['partition', 'drop', '--due', '--max', '1'], later);
    expect(result.code, result.stderr).toBe(0);
    expect(await exists('events_6')).toBe(false);
    expect(await exists('events_7')).toBe(true);
  });

  it('keeps what the configuration no longer gives away, and waits for a longer quarantine', async () => {
    work.configure(config.replace('7 days', '90 days'));
    const longer = await work.run(['partition', 'drop', '--due'], later);
    expect(longer.stdout).toContain('nothing is due');
    work.configure(config.replace(/^ +retention.*$/m, ''));
    const none = await work.run(['partition', 'drop', '--due'], { DBOPS_TEST_NOW: '2030-01-01T00:00:00Z' });
    expect(none.code, none.stderr).toBe(0);
    expect(none.stderr).toContain('no longer says');
    expect(await exists('events_6')).toBe(true);
  });

  it('a table that something depends on does not stop the others', async () => {
    await db.query('create view watcher as select * from events_6');
    const result = await work.run(['partition', 'drop', '--due'], later);
    expect(result.code).toBe(5);
    expect(result.stderr).toContain('events_6');
    expect(await exists('events_6')).toBe(true);
    expect(await exists('events_7')).toBe(false);
  });

  it('keeps a table that was attached again, and one whose mark was removed', async () => {
    expect((await work.run(['partition', 'attach', 'events_6', '--to', 'events', '--yes'], now)).code).toBe(
      0,
    );
    await db.query('comment on table events_7 is null');
    const result = await work.run(['partition', 'drop', '--due'], later);
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).toContain('its mark was removed');
    expect(await exists('events_6')).toBe(true);
    expect(await exists('events_7')).toBe(true);
  });

  it('by name wants the name once more before the date', async () => {
    const without = await work.run(['partition', 'drop', 'events_6'], now);
    expect(without.code).toBe(4);
    expect(without.stderr).toContain('--confirm events_6');
    const wrong = await work.run(['partition', 'drop', 'events_6', '--confirm', 'events_7'], now);
    expect(wrong.code).toBe(4);
    expect(await exists('events_6')).toBe(true);
    const right = await work.run(['partition', 'drop', 'events_6', '--confirm', 'events_6'], now);
    expect(right.code, right.stderr).toBe(0);
    expect(await exists('events_6')).toBe(false);
  });

  it('never drops what is attached, or what it has not detached', async () => {
    const attached = await work.run(['partition', 'drop', 'events_11', '--confirm', 'events_11'], now);
    expect(attached.code).toBe(4);
    expect(attached.stderr).toContain('is attached to public.events');
    await db.query('create table stranger (a int)');
    const stranger = await work.run(['partition', 'drop', 'stranger', '--confirm', 'stranger'], now);
    expect(stranger.code).toBe(4);
    expect(stranger.stderr).toContain('was not detached by dbops');
    expect(await exists('stranger')).toBe(true);
  });

  it('gives up on a table that a reader holds, naming the reader, and drops it later', async () => {
    const reader = await openSession(db.url);
    await reader.begin();
    await reader.query('select count(*) from events_6');
    const result = await work.run(['partition', 'drop', '--due'], later);
    expect([4, 5]).toContain(result.code);
    expect(result.stderr).toContain(`pid ${reader.pid}`);
    await reader.end();
    const again = await work.run(['partition', 'drop', '--due'], later);
    expect(again.code, again.stderr).toBe(0);
    expect(await exists('events_6')).toBe(false);
  });
});

describe('list, plan and check', () => {
  it('plan shows on one screen what is created, due, in quarantine and dropped', async () => {
    const plan = await work.run(['partition', 'plan', '--json'], now);
    expect(plan.code, plan.stderr).toBe(0);
    const { data } = JSON.parse(plan.stdout) as {
      data: { create: string[]; due: { partition: string }[]; inQuarantine: number }[];
    };
    expect(data[0]).toMatchObject({
      create: ['events_y2026m12'],
      due: [
        { partition: 'events_6', action: 'detach' },
        { partition: 'events_7', action: 'detach' },
      ],
      inQuarantine: 0,
    });
    expect((await work.run(['partition', 'detach', '--due'], now)).code).toBe(0);
    const after = JSON.parse((await work.run(['partition', 'plan', '--json'], later)).stdout) as {
      data: object[];
    };
    expect(after.data[0]).toMatchObject({ drop: ['events_6', 'events_7'], inQuarantine: 0 });
    const listed = await work.run(['partition', 'list', '--detached']);
    expect(listed.stdout).toContain('public.events_6');
  });

  it('check finds the runway, the default rows, a forgotten index and a stranger, with what mends them', async () => {
    await db.query('create table events_default partition of events default');
    await db.query(`insert into events values (1, '2031-01-01')`);
    await db.query('create index events_note on only events (note)');
    await db.query('create table other (a date) partition by range (a)');
    await db.query('alter table events_11 replica identity full');
    const result = await work.run(['partition', 'check', '--json'], now);
    expect(result.code).toBe(6);
    const { data } = JSON.parse(result.stdout) as {
      data: { findings: { check: string; object: string; severity: string; mend: string }[] };
    };
    const seen = (check: string) => data.findings.find((finding) => finding.check === check);
    expect(seen('runway')).toMatchObject({ severity: 'crit', mend: 'dbops partition ensure public.events' });
    expect(seen('default-rows')?.mend).toContain('drain public.events --from public.events_default');
    expect(seen('index')?.object).toBe('public.events_note');
    expect(seen('not-configured')?.object).toBe('public.other');
    expect(seen('leaf-differs')?.object).toBe('public.events_11');
    expect(seen('ensure-overdue')).toMatchObject({ severity: 'unknown' });
  });

  it('check is quiet and exits 0 after ensure has run', async () => {
    expect((await work.run(['partition', 'ensure'], now)).code).toBe(0);
    const result = await work.run(['partition', 'check'], { DBOPS_TEST_NOW: new Date().toISOString() });
    expect(result.stdout + result.stderr).not.toContain('ensure-overdue');
  });

  it('check --fail-on crit exits 0 when there are only warnings', async () => {
    expect((await work.run(['partition', 'ensure'], now)).code).toBe(0);
    await db.query('create table other (a date) partition by range (a)');
    const warn = await work.run(['partition', 'check'], now);
    expect(warn.code, warn.stdout).toBe(6);
    const crit = await work.run(['partition', 'check', '--fail-on', 'crit'], now);
    expect(crit.code, crit.stdout).toBe(0);
  });
});
