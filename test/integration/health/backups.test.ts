// Backups as the ledger and the stores have them, laid there by hand with any age.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openStore } from '../../../src/storage/open.ts';
import type { Store } from '../../../src/storage/store.ts';
import { ensureState } from '../../../src/state/history.ts';
import { connect } from '../../../src/pg/connection.ts';
import { defaultSettings } from '../../../src/config/settings.ts';
import { layBackup } from '../../support/backups.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { createRole, findingOf, findingsOf } from '../../support/health.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';

let db: TestDatabase;
let work: Workspace;
let store: Store;

const now = new Date('2026-11-21T12:00:00Z');
const daysAgo = (days: number) => new Date(now.getTime() - days * 86_400_000).toISOString();

beforeAll(async () => {
  db = await createDatabase('backups');
  work = createWorkspace(db, '');
  store = await openStore({ name: 'local', url: `file://${work.dir}/store`, pathStyle: false });
  configure('');
});
afterAll(async () => {
  await store.close();
  await db.drop();
});

function configure(backup: string): void {
  work.configure(`stores:\n  local: { url: "file://${work.dir}/store" }\n${backup}`);
}

async function makeLedger(): Promise<void> {
  const session = await connect({
    ...(await defaultSettings({ url: db.url })).connection,
    applicationName: 'test',
  });
  await ensureState(session, 'dbops');
  await session.close();
}

async function record(id: string, days: number, more: Record<string, unknown> = {}): Promise<void> {
  const row = {
    id,
    kind: 'logical',
    database: db.name,
    place: `1/backup/${id}/`,
    stores: ['local'],
    state: 'done',
    moment: daysAgo(days),
    started_at: daysAgo(days),
    ...more,
  };
  const names = Object.keys(row);
  await db.query(
    `insert into dbops.backup (${names.join(', ')}) values (${names.map((_, index) => `$${String(index + 1)}`).join(', ')})`,
    Object.values(row),
  );
}

const asked = () => ({ directory: work.dir, now });
const brief = async () =>
  (await findingsOf(db, ['backups'], asked())).map(({ check, object, severity }) => [
    check,
    object,
    severity,
  ]);

test('without a store nothing is asked of backups, without "backup:" it is not known who makes them', async () => {
  expect((await findingsOf(db, ['backups'])).map(({ severity }) => severity)).toEqual([
    'skipped',
    'skipped',
    'skipped',
    'skipped',
  ]);
  expect(await findingOf(db, 'backups.age', asked())).toMatchObject({ severity: 'unknown' });
  configure('backup: { jobs: 2 }\n');
  expect(await findingOf(db, 'backups.age', asked())).toMatchObject({ severity: 'crit' });
});

test('without a ledger the stores are asked; one that is not there is unknown', async () => {
  const [own] = await db.query<{ system: string }>(
    'select system_identifier::text as system from pg_control_system()',
  );
  await layBackup([store], {
    id: '20261121-090000-aaaa',
    at: daysAgo(0.125),
    system: own!.system,
    database: db.name,
  });
  expect(await findingOf(db, 'backups.age', asked())).toMatchObject({
    severity: 'ok',
    message: `the newest backup is 3 h old: logical of ${db.name}`,
  });
  // Of another database of the same cluster, and newer.
  await layBackup([store], {
    id: '20261121-110000-bbbb',
    at: daysAgo(0.01),
    system: own!.system,
    database: 'other',
  });
  expect((await findingOf(db, 'backups.age', asked())).message).toContain('3 h old');
  work.configure(
    `stores:\n  far: { url: "s3://bucket/x", endpoint: "http://127.0.0.1:1" }\nbackup: { jobs: 2 }\n`,
  );
  expect(await findingOf(db, 'backups.age', asked())).toMatchObject({ severity: 'unknown' });
});

test('the newest one is judged by its age, and what is old by the threshold of the configuration', async () => {
  configure('backup: { jobs: 2 }\n');
  await makeLedger();
  await record('old', 1.5);
  expect(await findingOf(db, 'backups.age', asked())).toMatchObject({
    severity: 'warn',
    unit: 'days',
    observed: 1.5,
  });
  configure('backup: { jobs: 2 }\nhealth: { thresholds: { backups.age: { warn: 3 days, crit: 4 days } } }\n');
  expect(await findingOf(db, 'backups.age', asked())).toMatchObject({ severity: 'ok' });
  // Of one table alone: nobody restores a database from it.
  await record('table', 0.1, { kind: 'table', tables: ['public.marks'] });
  configure(
    'backup: { jobs: 2 }\nhealth: { thresholds: { backups.age: { warn: 1 days, crit: 1.4 days } } }\n',
  );
  expect(await findingOf(db, 'backups.age', asked())).toMatchObject({ severity: 'crit' });
});

test('a kind that is kept by the week is judged by the week, and one that is missing is found', async () => {
  configure('backup: { retain: { base: { weekly: 4 }, logical: { daily: 7 } } }\n');
  await record('base', 7, { kind: 'base', database: null });
  expect(await findingOf(db, 'backups.age', asked())).toMatchObject({ severity: 'ok' });
  configure('backup: { retain: { base: { daily: 4 }, logical: { daily: 7 }, snapshot: { monthly: 2 } } }\n');
  const found = await findingsOf(db, ['backups.age'], asked());
  expect(found.map(({ object, severity }) => [object, severity])).toEqual([
    [null, 'ok'],
    ['base', 'warn'],
    ['logical', 'ok'],
    ['snapshot', 'warn'],
  ]);
});

test('a failed attempt, a backup that nobody read back, and a drill that failed are found', async () => {
  configure('backup: { jobs: 2 }\n');
  await record('failed', 0.2, { state: 'failed', message: 'disk full', moment: null });
  expect(await brief()).toEqual([
    ['backups.age', null, 'warn'],
    ['backups.failed', `logical of ${db.name}`, 'warn'],
    ['backups.verified', null, 'warn'],
    ['backups.drilled', null, 'warn'],
  ]);
  await record('good', 0.1, { verified_at: daysAgo(0.05), drilled_at: daysAgo(0.05), drill_passed: true });
  expect((await brief()).map(([, , severity]) => severity)).toEqual(['ok', 'ok', 'ok', 'ok']);
  await db.query(
    `update dbops.backup set drill_passed = false, verified_at = '${daysAgo(9)}' where id = 'good'`,
  );
  expect(await findingOf(db, 'backups.drilled', asked())).toMatchObject({
    severity: 'crit',
    mend: 'dbops backup show good',
  });
  expect(await findingOf(db, 'backups.verified', asked())).toMatchObject({
    severity: 'warn',
    mend: 'dbops backup verify good',
  });
});

test('who may not read the ledger is told the GRANT, which then helps', async () => {
  for (const memberOf of [[], ['pg_monitor']]) {
    const as = await createRole(db, ...memberOf);
    const mend = `grant usage on schema dbops to ${as.name}; grant select on all tables in schema dbops to ${as.name};`;
    for (const finding of await findingsOf(db, ['backups'], { ...asked(), as }))
      expect(finding).toMatchObject({ severity: 'unknown', mend });
    await db.query(mend);
    expect(await findingOf(db, 'backups.age', { ...asked(), as })).toMatchObject({ severity: 'ok' });
  }
});
