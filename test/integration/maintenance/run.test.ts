// All that is due in one run, and the settings of autovacuum.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { planAutovacuum } from '../../../src/maintenance/autovacuum.ts';
import { planNight } from '../../../src/maintenance/night.ts';
import {
  createDatabase,
  openSession,
  startPrivateServer,
  startStandby,
  waitUntil,
  type TestDatabase,
} from '../../support/database.ts';
import { maintained, openMaintenance, type MaintenanceJob } from '../../support/maintenance.ts';
import { createWorkspace } from '../../support/workspace.ts';

let db: TestDatabase;
let job: MaintenanceJob;

beforeAll(async () => {
  db = await createDatabase('night');
  // The row of the view is counted when its session ends, at the latest: later the view would lack statistics anew.
  const seed = await openSession(db.url);
  await seed.query(`
    create table public.outbox (id int) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.5);
    create table public.parted (id int) partition by range (id);
    create table public.parted_1 partition of public.parted for values from (0) to (10);
    create materialized view public.sums as select 1 as id;
    create unique index on public.sums (id)`);
  await seed.end();
  await waitUntil(
    async () => (await db.query("select 1 where pg_stat_get_live_tuples('public.sums'::regclass) > 0"))[0],
    { what: 'the statistics of the view' },
  );
  job = await openMaintenance(db.url, {
    autovacuum: {
      'public.outbox': { autovacuum_vacuum_scale_factor: '0.02', autovacuum_enabled: 'false' },
      'public.parted': { autovacuum_vacuum_scale_factor: '0.02' },
      'public.lost': { autovacuum_enabled: 'true' },
    },
    refresh: [{ view: 'public.sums', everyMs: 60_000 }],
  });
});
afterAll(async () => {
  await job.db.close();
  await db.drop();
});

it('sets what differs from the configuration, and leaves the rest as it is', async () => {
  const plan = await planAutovacuum(job);
  expect(plan.tasks.map(({ why }) => why)).toEqual([
    'autovacuum_vacuum_scale_factor is 0.5, and 0.02 is wanted; autovacuum_enabled is not set, and false is wanted',
  ]);
  expect(plan.leftOut.map(({ object }) => object)).toEqual(['public.parted', 'public.lost']);
});

it('does all that is due, settings first and views last, and has nothing to do then', async () => {
  const results = await maintained(job, () => planNight(job));
  expect(results.filter(({ outcome }) => outcome !== 'done')).toEqual([]);
  expect(results.map(({ verb, object }) => `${verb} ${object}`)).toEqual(
    expect.arrayContaining(['set public.outbox', 'analyze public.parted', 'refresh public.sums']),
  );
  expect(results[0]?.verb).toBe('set');
  expect(results.at(-1)?.verb).toBe('refresh');
  const [row] = await db.query<{ options: string[] }>(
    "select reloptions as options from pg_class where relname = 'outbox'",
  );
  expect(row!.options.sort()).toEqual([
    'autovacuum_enabled=false',
    'autovacuum_vacuum_scale_factor=0.02',
    'fillfactor=90',
  ]);
  const left = (await planNight(job)).tasks.filter(({ target }) => target.schema === 'public');
  expect(left).toEqual([]);
});

it('is refused on a standby, whatever the verb, with the word that helps', async () => {
  const primary = await startPrivateServer();
  const standby = await startStandby(primary);
  try {
    const workspace = createWorkspace({ url: standby.url }, '');
    const commands = [
      ...['vacuum', 'analyze', 'reindex', 'refresh', 'autovacuum', 'run'].map((verb) => [verb]),
      // A plan would find nothing to do.
      ['vacuum', '--plan'],
      ['run', '--dry-run'],
    ];
    const refused = await Promise.all(commands.map((words) => workspace.run(['maintenance', ...words])));
    for (const { code, stdout, stderr } of refused) {
      expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
      expect(stderr).toContain('is on a standby, w');
      expect(stderr).toContain('Connect to the primary.');
    }
  } finally {
    await standby.stop();
    await primary.stop();
  }
});
