// WAL that does not reach the archive while a base backup is made: the backup has failed, and the segment is named.
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createBase, startFaultSite, type FaultSite } from '../support/base-faults.ts';
import {
  backupFiles,
  rowsOf,
  slowly,
  unpack,
  verifyUnpacked,
  walsender,
  whyNoBasebackup,
  withRestored,
  type PhysicalSite,
} from '../support/physical.ts';

const missing = whyNoBasebackup();

let site: PhysicalSite;
let programs: FaultSite['programs'];
let startAfresh: FaultSite['startAfresh'];

beforeAll(async () => {
  if (missing !== undefined) return;
  ({ site, programs, startAfresh } = await startFaultSite());
});

describe('WAL that does not come', () => {
  beforeEach(async (context) => {
    if (missing !== undefined) return context.skip(missing);
    startAfresh();
    await site.archive();
  });

  it('archive_command says that segments are safe, and they are not: the first one is named', async () => {
    await site.archive({ skip: '*' });
    const { code, stderr } = await site.run(createBase, programs.env);
    expect([code, stderr]).toEqual([
      7,
      expect.stringMatching(
        /[0-9A-F]{24} is not in the archive of WAL, and the backup is of no use without it/,
      ),
    ]);
    expect(backupFiles(site)).toEqual([]);
    // What is missing is seen from now on: the next one takes its WAL along.
    const made = await site.made('base');
    expect(made.manifest.physical?.wal).toBe('included');
    const rows = await rowsOf(site.db);
    await withRestored(unpack(made), site.server, async (db) => expect(await rowsOf(db)).toEqual(rows));
  });

  it('a gap before the stop segment is found', async () => {
    programs.replace('pg_basebackup', slowly);
    const running = site.spawn(createBase, programs.env);
    await walsender(site);
    const [hole] = await site.db.query<{ name: string }>(
      'select pg_walfile_name(pg_current_wal_lsn() + 16777216) as name',
    );
    await site.archive({ skip: hole?.name ?? '' });
    for (let i = 0; i < 3; i += 1) {
      await site.db.query('insert into public.ping values (now())');
      await site.db.query('select pg_switch_wal()');
    }
    const { code, stderr } = await running.done;
    expect([code, stderr]).toEqual([
      7,
      expect.stringContaining(`${hole?.name ?? ''} is not in the archive of WAL`),
    ]);
    expect(backupFiles(site)).toEqual([]);
  });

  it('archive_command fails and our session is lost: it is not waited for without end', async () => {
    programs.replace('pg_basebackup', slowly);
    const running = site.spawn(createBase, programs.env);
    await walsender(site);
    await site.archive({ fail: '*' });
    const ended = await site.db.query(
      "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'",
    );
    expect(ended).toHaveLength(1);
    const { code, stderr } = await running.done;
    expect([code, stderr]).toEqual([7, expect.stringContaining('did not say for 5 s how far')]);
    expect(backupFiles(site)).toEqual([]);
  });

  it('archive_command fails from the middle on: PostgreSQL would wait for ever, and dbops does not', async () => {
    programs.replace('pg_basebackup', slowly);
    const running = site.spawn(createBase, programs.env);
    await walsender(site);
    await site.archive({ fail: '*' });
    const { code, stderr } = await running.done;
    expect([code, stderr]).toEqual([
      7,
      expect.stringMatching(/was not archived within 5 s: archiving of [0-9A-F]{24} fails/),
    ]);
    expect(backupFiles(site)).toEqual([]);
    await site.archive();
    const made = await site.made('base');
    expect(made.manifest.physical?.wal).toBe('archive');
    expect(verifyUnpacked(unpack(made), { binDir: site.server.binDir, walDir: site.walDir })).toMatchObject({
      code: 0,
    });
  });
});
