// A table that pg_dump of PostgreSQL 17 cannot lock: it asks for all tables by one statement, and shows all of it.
import path from 'node:path';
import { expect, it } from 'vitest';
import { openSession, ownDatabase, startPrivateServer } from '../../support/database.ts';
import { backupsIn, logicalSetup } from '../../support/logical-backup.ts';
import { postgres17Directory, whyNoPostgres17 } from '../../support/postgres17.ts';

it('is named alone among many, with who is in the way', async (context) => {
  const missing = whyNoPostgres17();
  if (missing !== undefined) return context.skip(missing);
  const binDir = postgres17Directory();
  const server = await startPrivateServer({}, [], binDir);
  try {
    const { query } = ownDatabase(server);
    await query(`do $$ begin
      for i in 1..300 loop execute format('create table %I (id int)', 'a table with a name that is long ' || i); end loop;
    end $$`);
    const holder = await openSession(server.url);
    await holder.begin();
    await holder.query('lock table "a table with a name that is long 150" in access exclusive mode');
    const setup = logicalSetup({ url: server.url, query });
    const PATH = `${binDir}${path.delimiter}${process.env['PATH'] ?? ''}`;
    const { code, stderr } = await setup.run(['backup', 'create', '--kind', 'logical'], { PATH });
    expect(code, stderr).toBe(4);
    expect(stderr).toContain(
      'gave up: pg_dump could not lock public."a table with a name that is long 150" in time',
    );
    expect(stderr).toContain(`pid ${String(holder.pid)} (`);
    expect(stderr.length).toBeLessThan(4000);
    expect(backupsIn(setup.store)).toEqual([]);
    await holder.end();
  } finally {
    await server.stop({ immediate: true });
  }
});
