// Vacuum and analyze: what is chosen, what is done, and what is said of what was not.
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exitCodeOf } from '../../../src/maintenance/run.ts';
import type { WrittenScope } from '../../../src/maintenance/scope.ts';
import { planVacuumFull } from '../../../src/maintenance/vacuum-full.ts';
import { planVacuum } from '../../../src/maintenance/vacuum.ts';
import { openWindow } from '../../../src/maintenance/window.ts';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../../support/database.ts';
import { maintained, openMaintenance, type MaintenanceJob } from '../../support/maintenance.ts';

const due: WrittenScope = { tables: [], schemas: [], all: false };
const only = (...tables: string[]) => ({ ...due, tables });

let db: TestDatabase;
let job: MaintenanceJob;
const role = `dbops_vacuum_${randomBytes(4).toString('hex')}`;

async function counted(condition: string, what: string): Promise<void> {
  const ask = () => db.query<{ is: boolean }>(`select ${condition} as is`);
  await waitUntil(async () => (await ask())[0]!.is, { what: `the statistics of ${what}` });
}

beforeAll(async () => {
  db = await createDatabase('vacuum');
  // What a session did is counted when it ends, at the latest: later it would count as changes after the vacuum.
  const seed = await openSession(db.url);
  await seed.query(`
    create table public.dead (id int primary key, text text) with (autovacuum_enabled = off);
    create table public.calm (id int primary key) with (autovacuum_enabled = off);
    create table public.fresh (id int primary key) with (autovacuum_enabled = off);
    create table public.measured (id int not null) partition by range (id);
    create table public.measured_1 partition of public.measured for values from (0) to (1000)
      with (autovacuum_enabled = off);
    insert into public.dead select n, 'x' from generate_series(1, 2000) as n;
    insert into public.calm select n from generate_series(1, 2000) as n;
    insert into public.measured select n from generate_series(1, 500) as n;
    create role ${role} login`);
  await seed.end();
  await counted("pg_stat_get_mod_since_analyze('public.measured_1'::regclass) >= 500", 'the inserts');
  await db.query('vacuum analyze public.dead');
  await db.query('vacuum analyze public.calm');
  await db.query('analyze public.measured_1');
  const session = await openSession(db.url);
  await session.query('delete from public.dead where id % 2 = 0');
  await session.query('insert into public.fresh select n from generate_series(1, 900) as n');
  // Counted when a session ends, also before PostgreSQL 15.
  await session.end();
  await counted("pg_stat_get_dead_tuples('public.dead'::regclass) >= 1000", 'the deletes');
  job = await openMaintenance(db.url);
});
afterAll(async () => {
  await job.db.close();
  await db.drop();
  const other = await createDatabase('drop_role');
  await other.query(`drop role ${role}`);
  await other.drop();
});

const objects = (results: { object: string }[]) => results.map(({ object }) => object);
const planned = async (verb: 'vacuum' | 'analyze' | 'both', scope = due) =>
  (await planVacuum(job, scope, verb)).tasks
    .map(({ target, change }) => ({ object: `${target.schema}.${target.name}`, sql: change.steps[0]!.sql }))
    .filter(({ object }) => object.startsWith('public.'));

describe('what needs it', () => {
  it('is chosen with its reason, and what does not is left alone', async () => {
    const { tasks } = await planVacuum(job, due, 'vacuum');
    const dead = tasks.find(({ target }) => target.name === 'dead');
    expect(dead?.why).toMatch(/1,000 dead rows, due from 450; 1,000 rows changed since it was analyzed/);
    expect(objects(await planned('vacuum'))).toEqual(['public.dead']);
    expect((await planned('vacuum'))[0]!.sql).toContain('vacuum (analyze) public.dead');
  });

  it('is analyzed where statistics are missing, partitioned tables too', async () => {
    expect(objects(await planned('analyze')).sort()).toEqual([
      'public.dead',
      'public.fresh',
      'public.measured',
    ]);
  });

  it('is left out by the configuration, and named', async () => {
    const skipping = {
      ...job,
      settings: { ...job.settings, maintenance: { ...job.settings.maintenance, skip: ['public.de*'] } },
    };
    const { tasks, leftOut } = await planVacuum(skipping, due, 'vacuum');
    expect(tasks.filter(({ target }) => target.schema === 'public')).toEqual([]);
    expect(leftOut.find(({ object }) => object === 'public.dead')?.why).toContain('maintenance.vacuum.skip');
  });

  it('may be named, by table, schema or all of it', async () => {
    expect(objects(await planned('vacuum', only('public.calm')))).toEqual(['public.calm']);
    expect(objects(await planned('vacuum', only('measured')))).toEqual([
      'public.measured_1',
      'public.measured',
    ]);
    expect((await planned('vacuum', { ...due, schemas: ['public'] })).length).toBe(5);
    await expect(planVacuum(job, only('public.clam'), 'vacuum')).rejects.toMatchObject({
      code: 'table_not_found',
      hint: 'Did you mean public.calm?',
    });
    await expect(planVacuum(job, { ...due, schemas: ['publik'] }, 'vacuum')).rejects.toMatchObject({
      code: 'usage',
    });
  });
});

describe('what cannot be done', () => {
  it('is skipped where another role owns it, although the server calls that a success', async () => {
    const url = new URL(db.url);
    url.username = role;
    const stranger = await openMaintenance(url.href);
    try {
      const [result] = await maintained(stranger, () => planVacuum(stranger, only('public.calm'), 'vacuum'));
      expect(result).toMatchObject({
        outcome: 'skipped',
        // 16 and later say: permission denied to vacuum "calm", skipping it.
        reason: expect.stringMatching(/skipping.*calm|calm.*skipping/) as string,
      });
      expect(exitCodeOf([result!])).toBe(4);
      const { leftOut } = await planVacuum(stranger, due, 'vacuum');
      expect(leftOut.find(({ object }) => object === 'public.dead')?.why).toContain('neither owns it');
    } finally {
      await stranger.db.close();
    }
  });

  it('is skipped behind a lock that stays, with who holds it; the others go on, and one that is gone is told', async () => {
    await db.query('create table public.gone (id int)');
    const holder = await openSession(db.url);
    await holder.begin();
    await holder.query('lock table public.calm in access exclusive mode');
    const results = await maintained(job, async () => {
      const plan = await planVacuum(job, only('public.calm', 'public.gone', 'public.fresh'), 'vacuum');
      await db.query('drop table public.gone');
      return plan;
    });
    await holder.end();
    const of = (object: string) => results.find((result) => result.object === object);
    expect(of('public.calm')).toMatchObject({
      outcome: 'skipped',
      reason: expect.stringContaining(`pid ${String(holder.pid)}`) as string,
    });
    expect(of('public.gone')).toMatchObject({ outcome: 'vanished' });
    expect(of('public.fresh')).toMatchObject({ outcome: 'done' });
    expect(exitCodeOf(results)).toBe(5);
  });

  it('is left when the window has closed, and a window that has passed is refused', async () => {
    const closed = { until: '05:00', endsAt: performance.now() - 1 };
    const results = await maintained(job, () => planVacuum(job, only('public.calm'), 'vacuum'), {
      window: closed,
    });
    expect(results).toMatchObject([{ outcome: 'left' }]);
    const at = (minutes: number) =>
      new Date(job.now.getTime() + minutes * 60_000).toISOString().slice(11, 16);
    await expect(openWindow(job, at(-10))).rejects.toMatchObject({ code: 'refused' });
    expect((await openWindow(job, at(60))).endsAt - performance.now()).toBeGreaterThan(58 * 60_000);
    await expect(openWindow(job, '25:00')).rejects.toMatchObject({ code: 'usage' });
  });

  it('names who keeps dead rows from being removed', async () => {
    const holder = await openSession(db.url);
    await holder.query('begin isolation level repeatable read');
    await holder.query('select count(*) from public.calm');
    await db.query(
      'do $$ begin for n in 1..10050 loop perform pg_current_xact_id(); commit; end loop; end $$',
    );
    const { warnings } = await planVacuum(job, due, 'vacuum');
    await holder.end();
    expect(warnings.join()).toContain(`session ${String(holder.pid)}`);
    expect((await planVacuum(job, due, 'vacuum')).warnings).toEqual([]);
  });
});

const slow = [
  ['statement_timeout', '100ms'],
  ['vacuum_cost_delay', '3ms'],
  ['vacuum_cost_limit', '1'],
] as const;

describe('what is done', () => {
  it('shows what it was like before and after, in sessions of its own without the timeout of the role', async () => {
    // A slow VACUUM under a timeout that is shorter.
    for (const [name, value] of slow) await db.query(`alter database ${db.name} set ${name} = '${value}'`);
    const results = await maintained(job, () => planVacuum(job, due, 'both'), { jobs: 2 });
    for (const [name] of slow) await db.query(`alter database ${db.name} reset ${name}`);
    expect(results.filter(({ outcome }) => outcome !== 'done')).toEqual([]);
    const dead = results.find(({ object }) => object === 'public.dead');
    expect(dead?.seconds).toBeGreaterThan(0.1);
    expect(dead?.before?.deadRows).toBe(1000);
    expect(dead?.after?.deadRows).toBe(0);
    expect(await planned('both')).toEqual([]);
  });

  it('writes a table anew only in a window, and when its name is given twice', async () => {
    const full = { tables: ['public.dead'], confirm: undefined, isPlan: false, until: '05:00' };
    await expect(planVacuumFull(job, { ...full, until: undefined })).rejects.toMatchObject({
      code: 'refused',
    });
    await expect(planVacuumFull(job, full)).rejects.toMatchObject({ code: 'confirmation_required' });
    const [result] = await maintained(job, () => planVacuumFull(job, { ...full, confirm: 'public.dead' }));
    expect(result?.outcome).toBe('done');
    expect(result!.after!.sizeBytes!).toBeLessThan(result!.before!.sizeBytes!);
  });
});
