// Every check of a week on a streaming standby: what it can say, and what it leaves to its primary.
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Server } from '../../../scripts/lib/postgres-server.mjs';
import { defaultSettings } from '../../../src/config/settings.ts';
import { applyRecording, planRecording } from '../../../src/health/capacity/record.ts';
import { builtIn } from '../../../src/health/checks/index.ts';
import { connect } from '../../../src/pg/connection.ts';
import { ownDatabase, startPrivateServer, startStandby, waitUntil } from '../../support/database.ts';
import { findingsOf } from '../../support/health.ts';
import { jobOf } from '../../support/job.ts';
import { createWorkspace } from '../../support/workspace.ts';

let primary: Server;
let standby: Server;

beforeAll(async () => {
  primary = await startPrivateServer();
  standby = await startStandby(primary);
  await ownDatabase(primary).query(
    `create table item (id int generated always as identity primary key, note text);
     insert into item (note) select 'x' from generate_series(1, 2000);
     create unlogged table scratch (id serial); insert into scratch default values;
     create table event (at timestamptz not null) partition by range (at);
     create table event_default partition of event default;
     create index on item (note); analyze item`,
  );
  const settings = await defaultSettings({ url: primary.url });
  const db = await connect({ ...settings.connection, applicationName: 'test' });
  const { context } = jobOf('capacity record', db, settings, new Date(Date.now() - 86_400_000), {});
  await applyRecording(context, await planRecording(context));
  await db.close();
  await waitUntil(
    async () =>
      (
        await ownDatabase(primary).query(
          `select 1 from pg_stat_replication where replay_lsn = pg_current_wal_lsn()`,
        )
      )[0],
    { what: 'a standby that has replayed all' },
  );
});
afterAll(async () => {
  await standby.stop({ immediate: true });
  await primary.stop({ immediate: true });
});

const configuration = (dir: string) => `
stores: { cold: { url: "file://${dir}/store" } }
wal: { jobs: 2 }
backup: { retain: { base: { last: 2 } } }
partitions: [{ table: public.event, key: at, interval: month, timezone: UTC, premake: 3 }]
schedule: [{ name: nightly, cron: '0 3 * * *', run: health }]
health: { checks: { own.items: { sql: select count(*) as value from public.item, warn: 10000 } } }
`;

it('answers every check of a week, or says why its primary does', async () => {
  const work = createWorkspace(standby, '');
  work.configure(configuration(work.dir));
  const weekly = builtIn.filter(({ profiles }) => profiles.includes('weekly')).map(({ id }) => id);
  const found = await findingsOf(standby, [...weekly, 'own.items'], { directory: work.dir });
  const named = (severity: string) =>
    found.filter((finding) => finding.severity === severity).map(({ check }) => check);

  // What it knows as well as its primary, or of itself.
  expect(named('ok')).toEqual(
    expect.arrayContaining([
      'connections.used',
      'transactions.long',
      'transactions.oldest-xmin',
      'locks.waits',
      'wraparound.databases',
      'replication.lag-bytes',
      'replication.replay-delay',
      'replication.receiver',
      'replication.paused',
      'replication.conflicts',
      'replication.slots-retained',
      'partitions.configuration',
      'bloat.tables',
      'bloat.indexes',
      'indexes.invalid',
      'indexes.foreign-keys',
      'sequences.used',
      'activity.deadlocks',
      'sizes.tables',
      'own.items',
    ]),
  );
  // What differs there: each says why.
  expect(named('skipped').filter((check) => !check.startsWith('backups.'))).toEqual(
    [
      'transactions.prepared',
      'wraparound.race',
      'wraparound.tables',
      'replication.synchronous',
      'archiving.failing',
      'archiving.backlog',
      'vacuum.dead-rows',
      'vacuum.overdue',
      'vacuum.analyze-overdue',
      'vacuum.statistics-missing',
      'vacuum.autovacuum-off',
      'indexes.unused',
      'checkpoints.requested',
      'checksums.failures',
    ].filter((check) => check !== 'checksums.failures' || standby.major < 18),
  );
  expect(found.filter(({ severity, message }) => severity === 'skipped' && message === '')).toEqual([]);
  // What could not be read is told with a reason of its own; nothing failed for being asked of a standby.
  for (const { message } of found) expect(message).not.toMatch(/recovery is in progress|SQLSTATE|read-only/);
  expect(found.find(({ check }) => check === 'statements.slow')).toMatchObject({
    severity: 'unknown',
    detail: 'its primary has to run that',
    mend: 'create extension pg_stat_statements;',
  });
  // The samples of the primary are there, and its counters are not those of this server.
  expect(named('unknown')).toEqual(expect.arrayContaining(['sizes.growth', 'sizes.time-left']));
});
