// Indexes beside a standby: its reads are not counted on the primary, nor the primary's there.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createIndex } from '../../../src/indexes/create.ts';
import { surveyIndexes } from '../../../src/indexes/list.ts';
import type { Server } from '../../../scripts/lib/postgres-server.mjs';
import { ownDatabase, startPrivateServer, startStandby, waitUntil } from '../../support/database.ts';
import { asJob, wanted } from '../../support/indexes.ts';

let primary: Server;
let standby: Server;
beforeAll(async () => {
  primary = await startPrivateServer();
  await ownDatabase(primary).query(
    'create table public.orders (id int); create index unread on public.orders (id)',
  );
  standby = await startStandby(primary);
}, 60_000);
afterAll(async () => {
  await standby?.stop({ immediate: true });
  await primary?.stop({ immediate: true });
});

describe('indexes beside a standby', () => {
  it('are not safe to drop on either side, however long they are unread', async () => {
    const ask = (server: Server) =>
      asJob(server, async (job) => {
        const survey = await surveyIndexes(job.db, new Date(job.now.getTime() + 30 * 86_400_000));
        return survey.indexes.find(({ index }) => index === 'public.unread')!;
      });
    await waitUntil(
      async () => (await ownDatabase(primary).query('select from pg_stat_replication')).length > 0,
      {
        what: 'the standby to receive WAL',
      },
    );
    for (const [server, why] of [
      [primary, 'a standby receives WAL from here'],
      [standby, 'this is a standby'],
    ] as const) {
      const unread = await ask(server);
      expect(unread).toMatchObject({ traits: ['unused'], isSafeToDrop: false });
      expect(unread.notes.join('; ')).toContain(why);
    }
  });

  it('cannot be made on the standby, which is said', async () => {
    const run = asJob(standby, (job) => createIndex(job, wanted('public.orders', ['id', 'id'])));
    await expect(run).rejects.toMatchObject({ code: 'read_only' });
  });
});
