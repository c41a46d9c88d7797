import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { putMark } from '../../../src/backup/catalogue/marks.ts';
import { createArchiveSite, type ArchiveSite } from '../../support/archive.ts';
import { createBackupSite, laidPhysical, type BackupSite } from '../../support/backups.ts';

interface Line {
  id: string;
  kind: string;
  of: string;
  state: string;
  ageSeconds: number;
  copies: { store: string; problem: string | null; verifiedAt: string | null }[];
  missing: string[];
  parent: string | null;
  needs: string | null;
  verifiedAt: string | null;
  drilledAt: string | null;
  drillPassed: boolean | null;
  hold: string | null;
  keptBy: string[];
}
interface Listed {
  backups: Line[];
  differences: string[];
  changes: number;
}

const idOf = (name: string) => `20260101T000000Z-${name}`;
const nobody = { DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none' };

describe('backup list', () => {
  let site: BackupSite;
  let dump: string;
  const list = (args: string[] = []) => site.json<Listed>(['backup', 'list', ...args]);
  const ledger = () =>
    site.db.query(
      `select id, kind, database, place, stores, state, parent, tables, moment, needs, stored_bytes, hold, verified_at,
              drilled_at, drill_passed from dbops.backup order by id`,
    );

  beforeAll(async () => {
    site = await createBackupSite('backuplist', 'retain: { logical: { daily: 7 }, base: { last: 1 } }');
    dump = await site.lay({ id: idOf('log1'), at: '2026-11-20T12:00:00Z' });
    await site.lay({ id: idOf('log0'), at: '2026-11-01T12:00:00Z' }, { stores: [site.local] });
    const physical = (parent: string | null) => laidPhysical('2026-11-21T00:00:00Z', { parent });
    await site.lay({
      id: idOf('bas1'),
      at: '2026-11-21T00:00:00Z',
      kind: 'base',
      over: { physical: physical(null) },
    });
    await site.lay({
      id: idOf('inc1'),
      at: '2026-11-21T01:00:00Z',
      kind: 'incremental',
      over: { physical: physical(idOf('bas1')) },
    });
  });

  it('says where each is, how old, what it needs, what lacks and what keeps it', async () => {
    const { backups } = await list();
    const lines = Object.fromEntries(backups.map((line) => [line.id.split('-')[1], line])) as Record<
      string,
      Line
    >;
    expect(lines['log1']).toMatchObject({
      kind: 'logical',
      ageSeconds: 86_400,
      missing: [],
      keptBy: ['daily 7: 2026-11-20', 'the newest good one'],
    });
    expect(lines['log0']).toMatchObject({ missing: ['offsite'], copies: [{ store: 'local' }] });
    expect(lines['inc1']).toMatchObject({ parent: idOf('bas1'), needs: 'WAL 000000010000000000000002' });
    expect(lines['bas1']!.keptBy).toEqual(['last 1', 'the newest good one', `${idOf('inc1')} builds on it`]);
    const { stdout } = await site.run(['backup', 'list', '--kind', 'logical']);
    expect(stdout).toMatch(/^backup .* lacks .* kept by/);
    expect(stdout).not.toContain('bas1');
    expect((await list(['--store', 'offsite'])).backups.map((line) => line.id)).not.toContain(idOf('log0'));
    expect((await site.run(['backup', 'list', '--kind', 'film'])).code).toBe(2);
  });

  it('shows failed and removed ones only when asked', async () => {
    await site.db.query(
      `insert into dbops.backup (id, kind, database, place, stores, state, message, started_at)
       values ('failure', 'logical', current_database(), 'x/backup/database/y/failure/', '{}', 'failed', 'pg_dump ended with 1', now())`,
    );
    expect((await list()).backups.map((line) => line.id)).not.toContain('failure');
    expect((await list(['--all'])).backups.find((line) => line.id === 'failure')).toMatchObject({
      state: 'failed',
      message: 'pg_dump ended with 1',
    });
    await site.db.query("delete from dbops.backup where id = 'failure'");
  });

  it('says what to type where the database cannot be reached, and --rebuild does without it', async () => {
    const refused = await site.work.run(['backup', 'list'], nobody);
    expect([refused.code, refused.stderr]).toEqual([
      3,
      expect.stringContaining('dbops backup list --rebuild'),
    ]);
    const { code, stdout } = await site.work.run(['backup', 'list', '--rebuild', '--json'], nobody);
    expect(code).toBe(0);
    const { data, warnings } = JSON.parse(stdout) as { data: Listed; warnings: string[] };
    expect(data.backups.map((line) => line.id.split('-')[1])).toEqual(['log0', 'log1', 'bas1', 'inc1']);
    expect(warnings.join()).toContain('the ledger was not compared');
  });

  it('brings a ledger back that was lost, with what lies beside the backups, and finds nothing to do then', async () => {
    const by = { dbops: '0.1.0', host: 'h', osUser: 'u' };
    await putMark(site.offsite, dump, 'verified.json', {
      formatVersion: 1,
      backup: idOf('log1'),
      at: '2026-11-20T13:00:00.000Z',
      passed: true,
      files: 1,
      bytes: 4,
      problems: [],
      unknown: [],
      by,
    });
    await putMark(site.local, dump, 'drill.json', {
      formatVersion: 1,
      backup: idOf('log1'),
      at: '2026-11-20T14:00:00.000Z',
      passed: false,
      restoreSeconds: 12,
      replaySeconds: null,
      replayedSegments: null,
    });
    await site.run(['backup', 'hold', idOf('log1'), '--reason', 'case 9']);
    const before = await ledger();
    await site.db.query('delete from dbops.backup');
    const planned = await site.run(['backup', 'list', '--rebuild', '--dry-run']);
    expect(planned.stdout).toContain('insert into dbops.backup');
    expect(await ledger()).toEqual([]);
    const rebuilt = await list(['--rebuild']);
    expect(rebuilt.changes).toBe(4);
    expect(rebuilt.backups.find((line) => line.id === idOf('log1'))).toMatchObject({
      hold: 'case 9',
      verifiedAt: '2026-11-20T13:00:00.000Z',
      drilledAt: '2026-11-20T14:00:00.000Z',
      drillPassed: false,
      copies: [
        { store: 'local', verifiedAt: null },
        { store: 'offsite', verifiedAt: '2026-11-20T13:00:00.000Z' },
      ],
    });
    const marked = {
      verified_at: new Date('2026-11-20T13:00:00Z'),
      drilled_at: new Date('2026-11-20T14:00:00Z'),
      drill_passed: false,
    };
    expect(await ledger()).toEqual(
      before.map((row) => (row['id'] === idOf('log1') ? { ...row, ...marked } : row)),
    );
    expect(await list(['--rebuild'])).toMatchObject({ changes: 0, differences: [] });
  });

  it('learns of a lost copy and a found one, and leaves what a prune has begun', async () => {
    await site.offsite.delete(`${dump}manifest.json`);
    const lost = await list(['--rebuild']);
    expect([lost.changes, lost.differences.join()]).toEqual([
      1,
      expect.stringContaining('in offsite, where the ledger has a copy'),
    ]);
    expect((await list()).backups.find((line) => line.id === idOf('log1'))!.missing).toEqual(['offsite']);
    await site.db.query("update dbops.backup set state = 'removed' where id = $1", [idOf('log0')]);
    const begun = await list(['--rebuild']);
    expect([begun.changes, begun.differences.join()]).toEqual([0, expect.stringContaining('was begun')]);
    await site.db.query("update dbops.backup set state = 'failed', stores = '{}' where id = $1", [
      idOf('log0'),
    ]);
    expect((await list(['--rebuild'])).differences.join()).toContain('the ledger had it as failed');
  });

  it('holds every copy and releases it, with who, when and why', async () => {
    const id = idOf('bas1');
    const again = await site.run(['backup', 'hold', idOf('log1'), '--reason', 'other']);
    expect([again.code, again.stderr]).toEqual([4, expect.stringContaining('is held already')]);
    expect((await site.run(['backup', 'hold', id, '--reason', 'deploy'])).code).toBe(0);
    expect((await list()).backups.find((line) => line.id === id)!.hold).toBe('deploy');
    for (const store of [site.local, site.offsite])
      expect(await store.head(`${site.system}/backup/cluster/${id}/hold.json`)).toBeDefined();
    expect((await site.run(['backup', 'release', id, '--reason', 'done'])).code).toBe(4);
    expect((await site.run(['backup', 'release', id, '--reason', 'done', '--yes'])).code).toBe(0);
    expect((await list()).backups.find((line) => line.id === id)!.hold).toBeNull();
    await site.db.query('update dbops.backup set hold = $2 where id = $1', [id, 'of a store that is gone']);
    const left = await site.run(['backup', 'release', id, '--reason', 'mended', '--yes']);
    expect([left.code, left.stdout]).toEqual([0, expect.stringContaining('is released in the ledger')]);
    expect((await list()).backups.find((line) => line.id === id)!.hold).toBeNull();
    const away = await site.work.run(['backup', 'hold', id, '--reason', 'audit'], nobody);
    expect([away.code, away.stderr]).toEqual([0, expect.stringContaining('the ledger does not know of it')]);
  });
});

describe('backup list beside archives', () => {
  let site: ArchiveSite;
  beforeAll(async () => {
    site = await createArchiveSite('backuplistarchives');
    await site.json(['archive', 'run', '--partition', 'events_5', '--until', 'verified']);
  });
  afterAll(() => site.db.drop());

  it('shows archived partitions, from the ledger and from the stores', async () => {
    for (const args of [[], ['--rebuild']]) {
      const { backups } = await site.json<Listed>(['backup', 'list', ...args]);
      expect(backups.map((line) => [line.kind, line.of])).toEqual([
        ['archive', 'archive of public.events_5'],
      ]);
    }
    expect((await site.json<Listed>(['backup', 'list', '--kind', 'base'])).backups).toEqual([]);
  });
});
