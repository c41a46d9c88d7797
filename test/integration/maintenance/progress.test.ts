// How far a VACUUM has come, as the server tells of one that runs.
import { expect, it } from 'vitest';
import { watchProgress } from '../../../src/maintenance/progress.ts';
import { silentLog } from '../../../src/output/log.ts';
import { createDatabase, waitUntil } from '../../support/database.ts';
import { openMaintenance } from '../../support/maintenance.ts';

it('tells of the VACUUM of its own sessions while it runs, with table, phase and share', async () => {
  const db = await createDatabase('progress');
  await db.query(`
    create table public.wide (id int, text text) with (autovacuum_enabled = off);
    insert into public.wide select n, repeat('x', 500) from generate_series(1, 3000) as n;
    delete from public.wide where id % 2 = 0`);
  const job = await openMaintenance(db.url);
  const session = await job.db.openAnother();
  const lines: string[] = [];
  const log = { ...silentLog, info: (_fields: object, message: string) => lines.push(message) };
  const progress = watchProgress({ db: job.db, log }, [session], 20);
  try {
    await session.execute('set vacuum_cost_delay = 10; set vacuum_cost_limit = 1');
    const vacuum = session.execute('vacuum public.wide').catch(() => undefined);
    // Before it scans it knows no size.
    const told = /^vacuum public\.wide: [a-z ]+, \d+ % of 1\.\d MB/;
    await waitUntil(() => lines.some((line) => told.test(line)), { what: 'a line of progress' });
    await db.query('select pg_cancel_backend($1)', [session.server.pid]);
    await vacuum;
    expect(lines.filter((line) => !line.startsWith('vacuum public.wide: '))).toEqual([]);
  } finally {
    await progress.end();
    await session.close();
    await job.db.close();
    await db.drop();
  }
});
