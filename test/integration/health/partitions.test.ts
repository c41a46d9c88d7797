// What "partition check" finds, as findings of health.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { createRole, findingsOf } from '../../support/health.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';

let db: TestDatabase;
let work: Workspace;

beforeAll(async () => {
  db = await createDatabase('partitions');
  await db.query(`create table events (at timestamptz not null) partition by range (at)`);
  await db.query(
    `create table events_old partition of events for values from ('2026-01-01 00:00+00') to ('2026-02-01 00:00+00')`,
  );
  await db.query('create table events_default partition of events default');
  await db.query(`insert into events values ('2026-05-05')`);
  work = createWorkspace(
    db,
    'partitions:\n  - { table: public.events, key: at, interval: month, timezone: UTC, premake: 3 }\n',
  );
});
afterAll(() => db.drop());

const asked = () => ({ directory: work.dir, now: new Date('2026-02-10T00:00:00Z') });

test('each finding is one of the check of its name, and the rest is well', async () => {
  const found = await findingsOf(db, ['partitions'], asked());
  const named = (check: string) => found.filter((finding) => finding.check === `partitions.${check}`);
  expect(named('runway')).toMatchObject([
    { object: 'public.events', severity: 'crit', mend: 'dbops partition ensure public.events' },
  ]);
  expect(named('default-rows')).toMatchObject([{ object: 'public.events_default', severity: 'warn' }]);
  expect(named('ensure-overdue')).toMatchObject([{ severity: 'unknown' }]);
  const bad = found.filter(({ severity }) => severity !== 'ok').map(({ check }) => check);
  expect(new Set(bad)).toEqual(
    new Set(['partitions.runway', 'partitions.default-rows', 'partitions.ensure-overdue']),
  );
});

test('once the partitions are there nothing is found', async () => {
  await db.query(
    `create table events_new partition of events for values from ('2026-02-01 00:00+00') to ('2026-03-01 00:00+00')`,
  );
  await db.query('delete from events_default');
  const far = `from ('2026-03-01 00:00+00') to ('2026-04-01 00:00+00')`;
  await db.query(`create table events_next partition of events for values ${far}`);
  await db.query(
    `create table events_far partition of events for values from ('2026-04-01 00:00+00') to ('2026-05-01 00:00+00')`,
  );
  const found = await findingsOf(
    db,
    ['partitions.runway', 'partitions.default-rows', 'partitions.gap'],
    asked(),
  );
  expect(found.map(({ severity }) => severity)).toEqual(['ok', 'ok', 'ok']);
});

test('what a role may not read is unknown, with the GRANT', async () => {
  for (const memberOf of [[], ['pg_monitor']]) {
    const as = await createRole(db, ...memberOf);
    const found = await findingsOf(db, ['partitions.default-rows'], { ...asked(), as });
    expect(found).toMatchObject([
      {
        severity: 'unknown',
        object: 'public.events_default',
        mend: `grant select on public.events_default to ${as.name};`,
      },
    ]);
  }
});

test('without entries it is skipped', async () => {
  const found = await findingsOf(db, ['partitions']);
  expect(new Set(found.map(({ severity }) => severity))).toEqual(new Set(['skipped']));
});
