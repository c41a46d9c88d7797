// WAL that is archived, that cannot be, and that waits, on a server of its own.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Server } from '../../../scripts/lib/postgres-server.mjs';
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
  ]);
});
