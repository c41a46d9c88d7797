// WAL that is archived, that cannot be, and that waits, on a server of its own.
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Server } from '../../../scripts/lib/postgres-server.mjs';
import { registerCluster } from '../../../src/backup/wal/cluster.ts';
import { walKey } from '../../../src/backup/wal/place.ts';
import { FileStore } from '../../../src/storage/file.ts';
import { ownDatabase, startPrivateServer, waitUntil } from '../../support/database.ts';
import { createRole, findingOf, findingsOf } from '../../support/health.ts';
import { createWorkspace } from '../../support/workspace.ts';

let server: Server;
let on: ReturnType<typeof ownDatabase>;

beforeAll(async () => {
  server = await startPrivateServer({ archive_mode: 'on', archive_command: '/bin/true' }, [
    '--wal-segsize=1',
  ]);
  on = ownDatabase(server);
  await on.query('create table marks (id int)');
});
afterAll(() => server.stop({ immediate: true }));

async function useCommand(command: string): Promise<void> {
  await on.query(`alter system set archive_command = '${command}'`);
  await on.query('select pg_reload_conf()');
}

async function switchWal(): Promise<void> {
  await on.query('insert into marks values (1)');
  await on.query('select pg_switch_wal()');
}

async function untilArchiver(condition: string): Promise<void> {
  await waitUntil(async () => (await on.query(`select 1 from pg_stat_archiver where ${condition}`))[0], {
    what: condition,
  });
}

const few = { thresholds: { 'archiving.backlog': { warn: 1, crit: 64 } } };

test('a command that fails is critical, and what waits for it is counted', async () => {
  await switchWal();
  await untilArchiver('archived_count > 0');
  expect(await findingOf(on, 'archiving.failing')).toMatchObject({ severity: 'ok' });
  await useCommand('/bin/false');
  await switchWal();
  await untilArchiver('last_failed_time > last_archived_time');
  const nothing = await createRole(on);
  const monitor = await createRole(on, 'pg_monitor');
  for (const as of [nothing, monitor])
    expect(await findingOf(on, 'archiving.failing', { as })).toMatchObject({
      severity: 'crit',
      message: expect.stringContaining('could not be archived at') as string,
    });
  expect(await findingOf(on, 'archiving.backlog', { ...few, as: monitor })).toMatchObject({
    severity: 'warn',
  });
  expect(await findingOf(on, 'archiving.backlog', { ...few, as: nothing })).toMatchObject({
    severity: 'unknown',
    mend: `grant pg_monitor to ${nothing.name};`,
  });
  await useCommand('/bin/true');
  await switchWal();
  await waitUntil(async () => (await findingOf(on, 'archiving.backlog', few)).severity === 'ok', {
    what: 'an empty backlog',
  });
  // The archiver counts after it has marked the file, and PostgreSQL 14 shows that up to a second later.
  await untilArchiver('last_archived_time > last_failed_time');
  expect(await findingOf(on, 'archiving.failing')).toMatchObject({ severity: 'ok' });
});

test('a command that is empty is critical where the configuration counts on WAL', async () => {
  expect(await findingOf(on, 'archiving.configured')).toMatchObject({ severity: 'skipped' });
  const work = createWorkspace(on, '');
  work.configure(`stores:\n  cold: { url: "file://${work.dir}/store" }\nwal: { jobs: 2 }\n`);
  const configured = { directory: work.dir };
  expect(await findingOf(on, 'archiving.configured', configured)).toMatchObject({ severity: 'ok' });
  await useCommand('');
  try {
    await waitUntil(
      async () =>
        (await on.query(`select 1 where current_setting('archive_command') in ('', '(disabled)')`))[0],
      { what: 'the reload' },
    );
    expect(await findingOf(on, 'archiving.configured', configured)).toMatchObject({ severity: 'crit' });
  } finally {
    await useCommand('/bin/true');
  }
});

test('segments that are missing between others are found, and those that another store has are told apart', async () => {
  const id = 'archiving.gaps';
  expect(await findingOf(on, id)).toMatchObject({ severity: 'skipped' });
  const work = createWorkspace(on, '');
  const stores = ['cold', 'far'].map((name) => new FileStore(name, path.join(work.dir, name)));
  work.configure(
    `stores:\n${stores.map(({ name }) => `  ${name}: { url: "file://${work.dir}/${name}" }`).join('\n')}\nwal: { jobs: 2 }\n`,
  );
  const configured = { directory: work.dir, now: new Date(Date.now() + 3_600_000) };
  const [{ system } = { system: '' }] = await on.query<{ system: string }>(
    'select system_identifier::text as system from pg_control_system()',
  );
  for (const store of stores)
    await registerCluster(store, {
      systemIdentifier: system,
      walSegmentBytes: 1024 ** 2,
      registeredAt: new Date(0).toISOString(),
      host: 'test',
      dbops: '0.0.0',
    });
  const [cold, far] = stores as [FileStore, FileStore];
  const put = async (store: FileStore, numbers: number[]) => {
    for (const number of numbers)
      await store.put(walKey(system, `0000000100000000000000${number}`), Buffer.from('x'));
  };
  await put(cold, [11, 12, 13]);
  await put(far, [11, 12, 13]);
  const nobody = await createRole(on);
  expect(await findingOf(on, id, { ...configured, as: nobody })).toMatchObject({
    severity: 'ok',
    message: '6 segments in 2 stores, none missing between others',
  });
  await put(cold, [15, 18]);
  await put(far, [14, 15]);
  expect(await findingsOf(on, [id], configured)).toMatchObject([
    { object: 'cold/000000010000000000000014', severity: 'warn' },
    {
      object: 'cold/000000010000000000000016',
      severity: 'crit',
      message: expect.stringContaining(
        'lacks 000000010000000000000016 to 000000010000000000000017',
      ) as string,
      mend: 'dbops wal status',
    },
  ]);
  const thresholds = { [id]: { objects: { 'cold/*': { ignore: true } } } };
  expect(await findingOf(on, id, { ...configured, thresholds })).toMatchObject({ severity: 'ok' });
  await put(cold, [14, 16, 17]);
  expect(await findingOf(on, id, configured)).toMatchObject({ severity: 'ok' });
  fs.rmSync(path.join(work.dir, 'far'), { recursive: true });
  expect(await findingsOf(on, [id], configured)).toMatchObject([{ object: 'far', severity: 'unknown' }]);
});

test('archive_mode off is critical where WAL is to be kept, and nothing where it is not', async () => {
  await on.query('alter system set archive_mode = off');
  await server.restart();
  const work = createWorkspace(on, '');
  work.configure(
    `stores:\n  cold: { url: "file://${work.dir}/store" }\nbackup: { retain: { base: { last: 2 } } }\n`,
  );
  const found = await findingsOf(on, ['archiving'], { directory: work.dir });
  expect(found.map(({ check, severity }) => [check, severity])).toEqual([
    ['archiving.failing', 'skipped'],
    ['archiving.backlog', 'skipped'],
    ['archiving.configured', 'crit'],
    // Nothing was ever registered there.
    ['archiving.gaps', 'unknown'],
  ]);
});
