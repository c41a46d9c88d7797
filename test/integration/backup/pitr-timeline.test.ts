import fs from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
import { applyPitr } from '../../../src/backup/restore/pitr/restore.ts';
import { endStarted, startPitrSite, stopServer, whyNoPitr, type PitrSite } from '../../support/pitr.ts';
import { waitUntil } from '../../support/database.ts';

const reason = whyNoPitr();

describe.skipIf(reason !== undefined)(
  `recovery along timelines${reason === undefined ? '' : ` (${reason})`}`,
  () => {
    let site: PitrSite;
    let first: string;
    let second: string;
    let branch: string;

    beforeAll(async () => {
      site = await startPitrSite();
      first = await site.base();
      await site.insert(1);
      branch = await site.now();
      await site.insert(2);
      second = await site.base();
      await site.insert(3);
      await site.push();
      // A restored server that goes on with the archive of its source: timeline 2 leaves timeline 1 before the second base.
      const plan = await site.plan(`time:${branch}`);
      const result = await applyPitr(site.context(), plan, { ...endStarted, keepsArchiving: true });
      const { socketDirectory, port } = result.server!;
      const client = new pg.Client({ host: socketDirectory, port, user: 'postgres', database: 'postgres' });
      await client.connect();
      await client.query('insert into marks values (20)');
      const { rows } = await client.query<{ name: string }>(
        'select pg_walfile_name(pg_current_wal_lsn()) as name',
      );
      await client.query('select pg_switch_wal()');
      await waitUntil(() => fs.existsSync(path.join(site.spool, rows[0]!.name)), {
        what: 'the archive of timeline 2',
      });
      await client.end();
      await stopServer(result);
      await site.push();
    });

    it('asks which timeline is meant when the newest one does not come from the newest backup', async () => {
      await expect(site.plan('latest')).rejects.toMatchObject({
        code: 'refused',
        message: 'the newest backup is on timeline 1, and the newest timeline 2 does not come from it',
        hint: expect.stringContaining('--timeline 1 or --timeline 2') as unknown,
      });
    });

    it('follows the one that was named, from a backup on the way to it', async () => {
      expect(await site.restore('latest', { timeline: 2 })).toMatchObject({
        backup: first,
        rows: [1, 20],
        reached: { timeline: 3 },
      });
      expect(await site.restore('latest', { timeline: 1 })).toMatchObject({
        backup: second,
        rows: [1, 2, 3],
      });
      expect((await site.restore('latest', { timeline: 'current', id: second })).rows).toEqual([1, 2, 3]);
    });

    it('refuses a backup that is not on the way to the timeline, and a timeline that nobody knows', async () => {
      await expect(site.plan('latest', { id: second, timeline: 2 })).rejects.toMatchObject({
        code: 'refused',
        message: `backup ${second} is not on the way to timeline 2`,
        detail: expect.stringMatching(/timeline 2 left timeline 1 at 0\/[0-9A-F]+, before that/) as unknown,
      });
      await expect(site.plan('latest', { timeline: 7 })).rejects.toMatchObject({
        code: 'refused',
        message: 'timeline 7 has no history file in the archive of WAL',
      });
    });
  },
);
