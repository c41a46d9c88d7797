// What health says of the age of transaction ids and multixact ids.
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Server } from '../../../scripts/lib/postgres-server.mjs';
import type { Finding } from '../../../src/health/finding.ts';
import { openSession, ownDatabase, startPrivateServer, waitUntil } from '../../support/database.ts';
import { createRole, findingsOf } from '../../support/health.ts';

/** Little more than the least that a server takes, which is left to a table. */
const settings = { autovacuum: 'off', autovacuum_freeze_max_age: '105000', synchronous_commit: 'off' };

let server: Server;
beforeAll(async () => {
  server = await startPrivateServer(settings);
  const { query } = ownDatabase(server);
  await query('create table old (id int, note text) with (autovacuum_freeze_max_age = 100000)');
});
afterAll(() => server.stop());

/** Short of 131,072: the server starts a vacuum by itself at every 65,536th transaction id beyond the limit. */
async function grow(transactions: number): Promise<void> {
  const { query } = ownDatabase(server);
  await query(`create procedure spend(n int) language plpgsql as
    $$ begin for i in 1..n loop perform pg_current_xact_id(); commit; end loop; end $$`);
  await query(`call spend(${transactions})`);
}

const brief = (findings: Finding[]) => findings.map(({ object, severity }) => `${object ?? ''} ${severity}`);

it('tells a server that loses the race from one that is well, and from one that catches up', async () => {
  expect(brief(await findingsOf(server, ['wraparound']))).toEqual([' ok', ' ok', ' ok']);
  await grow(120_000);
  const race = await findingsOf(server, ['wraparound.race']);
  // A database that allows no connections counts too.
  expect(brief(race)).toEqual(['postgres warn', 'template0 warn', 'template1 warn']);
  expect(race[0]).toMatchObject({ unit: 'percent', warn: 110, mend: 'dbops maintenance vacuum' });
  expect(race[0]!.message).toMatch(
    /^its oldest transaction id is 12\d,\d{3} old, 11\d % of .* no vacuum is at work$/,
  );
  expect(race[1]!.detail).toContain('allows no connections');

  const tables = await findingsOf(server, ['wraparound.tables']);
  expect(tables.length).toBe(20);
  // Its own limit is lower than that of the server.
  expect(tables[0]).toMatchObject({
    object: 'public.old',
    severity: 'warn',
    mend: 'dbops maintenance vacuum --table public.old',
  });

  // 5 % beyond the limit VACUUM gives up everything else, when nobody has set that higher.
  await ownDatabase(server).query('alter system set vacuum_failsafe_age = 0');
  await ownDatabase(server).query('select pg_reload_conf()');
  const critical = await waitUntil(
    async () => {
      const found = await findingsOf(server, ['wraparound.databases', 'wraparound.race']);
      return found.some(({ severity }) => severity === 'crit') ? found : null;
    },
    { what: 'the new vacuum_failsafe_age' },
  );
  expect(critical.filter(({ severity }) => severity === 'crit').length).toBe(6);
  await ownDatabase(server).query('alter system reset vacuum_failsafe_age');
  await ownDatabase(server).query('select pg_reload_conf()');

  await sparesWhatIsBeingVacuumed();
  await needsPrivilege();

  // With the ages of a database beyond the limit the end of any vacuum calls autovacuum, turned off or not.
  await ownDatabase(server).query('vacuum freeze old');
  expect((await findingsOf(server, ['wraparound.tables'])).map(({ object }) => object)).not.toContain(
    'public.old',
  );
  await waitUntil(
    async () => (await findingsOf(server, ['wraparound.race'])).every(({ severity }) => severity === 'ok'),
    { what: 'autovacuum to freeze what is beyond the limit', timeoutMs: 60_000 },
  );
});

async function sparesWhatIsBeingVacuumed(): Promise<void> {
  const { query } = ownDatabase(server);
  await query('create table busy (id int, note text)');
  await query(`insert into busy select g, repeat('x', 500) from generate_series(1, 5000) as g`);
  const vacuum = await openSession(server.url);
  await vacuum.query('set vacuum_cost_delay = 100');
  await vacuum.query('set vacuum_cost_limit = 1');
  const running = vacuum.query('vacuum freeze busy').catch(() => undefined);
  await waitUntil(async () => (await query('select from pg_stat_progress_vacuum')).length > 0, {
    what: 'the vacuum',
  });
  const race = await findingsOf(server, ['wraparound.race']);
  expect(race.find(({ object }) => object === 'postgres')).toMatchObject({ severity: 'ok' });
  expect(race.find(({ object }) => object === 'template0')).toMatchObject({ severity: 'warn' });
  await query('select pg_terminate_backend($1)', [vacuum.pid]);
  await running;
}

async function needsPrivilege(): Promise<void> {
  const nobody = await createRole(server);
  for (const finding of await findingsOf(server, ['wraparound'], { as: nobody }))
    expect(finding).toMatchObject({
      severity: 'unknown',
      mend: `grant pg_read_all_stats to ${nobody.name};`,
    });
  const monitor = await createRole(server, 'pg_monitor');
  const seen = await findingsOf(server, ['wraparound.race'], { as: monitor });
  expect(brief(seen)).toContain('template0 warn');
}
