// Slow statements, by an extension that a server has to load when it starts.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Server } from '../../../scripts/lib/postgres-server.mjs';
import {
  createDatabase,
  openSession,
  ownDatabase,
  startPrivateServer,
  type TestDatabase,
} from '../../support/database.ts';
import { createRole, findingOf } from '../../support/health.ts';

let server: Server;
let on: ReturnType<typeof ownDatabase>;
let without: TestDatabase;

beforeAll(async () => {
  server = await startPrivateServer({ shared_preload_libraries: 'pg_stat_statements' });
  on = ownDatabase(server);
  without = await createDatabase('statements');
});
afterAll(async () => {
  await without.drop();
  await server.stop({ immediate: true });
});

const slow = { thresholds: { 'statements.slow': { warn: '0.02', crit: 60 } } };

test('a statement that takes long on average is found with its text, in whatever schema the extension is', async () => {
  await on.query('create schema "Tools"');
  await on.query('create extension pg_stat_statements schema "Tools"');
  await on.query('select "Tools".pg_stat_statements_reset()');
  expect(await findingOf(on, 'statements.slow', slow)).toMatchObject({
    severity: 'ok',
    message: expect.stringContaining('counted for') as string,
  });
  const session = await openSession(server.url);
  const wait = () => session.query('select pg_sleep(0.03) as\n  waited');
  for (let call = 0; call < 4; call += 1) await wait();
  // Four calls are too few to say anything.
  expect(await findingOf(on, 'statements.slow', slow)).toMatchObject({ severity: 'ok' });
  await wait();
  const monitor = await createRole(on, 'pg_monitor');
  // The extension has to be within reach of the role, as public is.
  expect(await findingOf(on, 'statements.slow', { ...slow, as: monitor })).toMatchObject({
    severity: 'unknown',
    mend: `grant usage on schema "Tools" to ${monitor.name};`,
  });
  await on.query(`grant usage on schema "Tools" to ${monitor.name}`);
  for (const as of [undefined, monitor]) {
    const found = await findingOf(on, 'statements.slow', as === undefined ? slow : { ...slow, as });
    expect(found).toMatchObject({ severity: 'warn', object: expect.stringMatching(/^-?\d+$/) as string });
    expect(found.detail).toContain('role postgres: select pg_sleep($1) as waited');
    expect(found.message).toContain('in 5 calls');
  }
  expect(await findingOf(on, 'statements.slow')).toMatchObject({ severity: 'ok' });
  const nothing = await createRole(on);
  expect(await findingOf(on, 'statements.slow', { as: nothing })).toMatchObject({
    severity: 'unknown',
    mend: `grant pg_read_all_stats to ${nothing.name};`,
  });
});

test('a server without it is unknown, with what makes it known', async () => {
  expect(await findingOf(without, 'statements.slow')).toMatchObject({
    severity: 'unknown',
    mend: 'create extension pg_stat_statements;',
    advice: expect.stringContaining('shared_preload_libraries') as string,
  });
  await without.query('create extension pg_stat_statements');
  expect(await findingOf(without, 'statements.slow')).toMatchObject({
    severity: 'unknown',
    advice: expect.stringContaining('shared_preload_libraries') as string,
  });
});

test('an extension that stayed behind an upgrade is unknown', async () => {
  await without.query('drop extension if exists pg_stat_statements');
  await without.query("create extension pg_stat_statements version '1.8'");
  expect(await findingOf(without, 'statements.slow')).toMatchObject({
    severity: 'unknown',
    mend: 'alter extension pg_stat_statements update;',
  });
});

test('statements that are no longer counted are unknown, not few', async () => {
  await on.query("alter database postgres set compute_query_id = 'off'");
  expect(await findingOf(on, 'statements.slow', slow)).toMatchObject({
    severity: 'unknown',
    mend: "alter system set compute_query_id = 'auto'; select pg_reload_conf();",
  });
  await on.query('alter database postgres reset compute_query_id');
});
