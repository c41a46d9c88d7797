import fs from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { putMark } from '../../../src/backup/catalogue/marks.ts';
import type { Ways } from '../../../src/backup/show/way.ts';
import { FileStore } from '../../../src/storage/file.ts';
import { filesIn } from '../../support/archive-run.ts';
import { createBackupSite, laidPhysical, type BackupSite } from '../../support/backups.ts';
import { startPitrSite, whyNoPitr, type PitrSite } from '../../support/pitr.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';

const idOf = (name: string) => `20260101T000000Z-${name}`;

describe('backup show', () => {
  let site: BackupSite;
  beforeAll(async () => {
    site = await createBackupSite('show', 'required: 2');
    for (const [name, at] of [
      ['aaaaaaaa', '2026-11-18T00:00:00Z'],
      ['bbbbbbbb', '2026-11-20T00:00:00Z'],
    ] as const) {
      const place = await site.lay({ id: idOf(name), at });
      await putMark(site.local, place, 'drill.json', {
        formatVersion: 1,
        backup: idOf(name),
        at,
        passed: true,
        restoreSeconds: 90,
        replaySeconds: null,
        replayedSegments: null,
      });
    }
  });

  it('shows everything of one, every file, where it is and who holds it', async () => {
    expect((await site.run(['backup', 'hold', idOf('aaaaaaaa'), '--reason', 'case 5'])).code).toBe(0);
    const { code, stdout } = await site.run(['backup', 'show', idOf('aaaaaaaa')]);
    expect(code).toBe(0);
    for (const text of [
      `logical of ${site.database}`,
      'dump.custom.zst',
      'offsite',
      'case 5',
      'passed',
      'never',
    ])
      expect(stdout).toContain(text);
    const data = await site.json<{ manifest: { id: string }; stores: string[] }>([
      'backup',
      'show',
      idOf('aaaaaaaa'),
    ]);
    expect(data).toMatchObject({ manifest: { id: idOf('aaaaaaaa') }, stores: ['local', 'offsite'] });
    expect((await site.run(['backup', 'show', 'nothing'])).code).toBe(2);
    expect((await site.run(['backup', 'show'])).code).toBe(2);
    expect((await site.run(['backup', 'show', '--to', '2026-11-20 14:30'])).code).toBe(2);
  });

  it('names the nearest dump before a moment, what is lost, how long it takes, and what to type', async () => {
    const ways = await site.json<Ways>(['backup', 'show', '--to', '2026-11-19 09:00+09']);
    expect(ways.ways).toEqual([
      expect.objectContaining({
        with: 'logical backup',
        backups: [idOf('aaaaaaaa')],
        lostSeconds: 86_400,
        seconds: 90,
        command: `dbops restore database ${idOf('aaaaaaaa')}`,
      }),
    ]);
    expect(ways.problems.join()).toContain('there is no base backup');
    const { stdout } = await site.run(['backup', 'show', '--to', '2026-11-19 09:00+09']);
    expect(stdout).toMatch(/cannot be reached exactly[^]*loses: at most 24 h[^]*takes: about 90 s/);
    const none = await site.json<Ways>(['backup', 'show', '--to', '2026-11-01 00:00Z'], undefined, 6);
    expect(none.ways).toEqual([]);
  });

  it('counts no base backup whose WAL is missing', async () => {
    await site.lay({
      id: idOf('cccccccc'),
      at: '2026-11-18T12:00:00Z',
      kind: 'base',
      over: { physical: laidPhysical('2026-11-18T12:00:00Z') },
    });
    const ways = await site.json<Ways>(['backup', 'show', '--to', '2026-11-19 00:00Z']);
    expect(ways.ways.map((way) => way.with)).toEqual(['logical backup']);
    expect(ways.problems.join()).toContain('WAL 000000010000000000000002 is missing');
  });
});

const missing = whyNoPitr();

describe.skipIf(missing !== undefined)(
  `backup show --to with WAL${missing === undefined ? '' : `: ${missing}`}`,
  () => {
    let pitr: PitrSite;
    let work: Workspace;
    let id: string;
    beforeAll(async () => {
      pitr = await startPitrSite();
      id = await pitr.base();
      work = createWorkspace(pitr.db, '');
      work.configure(
        `stores:\n  near: { url: "file://${pitr.near}" }\n  far: { url: "file://${pitr.far}" }\n`,
      );
    });
    const show = async (to: string, code = 0): Promise<Ways> => {
      const result = await work.run(['backup', 'show', '--json', '--to', to]);
      expect(result.code, result.stderr).toBe(code);
      return (JSON.parse(result.stdout) as { data: Ways }).data;
    };

    it('names the base backup, the segments and the command that takes one there', async () => {
      await pitr.insert(1);
      const lsn = await pitr.lsn();
      await pitr.push();
      const [way] = (await show(lsn)).ways;
      expect(way).toMatchObject({
        with: 'base backup and WAL',
        backups: [id],
        lostSeconds: 0,
        seconds: null,
      });
      expect(way!.command).toBe(
        `dbops restore pitr --to "lsn:${lsn}" --system ${pitr.system} --data-dir <directory> --start`,
      );
      const restored = await pitr.restore(`lsn:${lsn}`);
      expect(restored.rows).toEqual([1]);
    });

    it('says how long it takes once a drill has measured it', async () => {
      const [manifest = ''] = filesIn(pitr.near).filter((file) => file.endsWith(`${id}/manifest.json`));
      const near = new FileStore('near', pitr.near);
      await putMark(near, `${path.dirname(manifest)}/`, 'drill.json', {
        formatVersion: 1,
        backup: id,
        at: '2026-11-20T00:00:00Z',
        passed: true,
        restoreSeconds: 60,
        replaySeconds: 20,
        replayedSegments: 10,
      });
      const [way] = (await show(await pitr.lsn())).ways;
      expect(way!.seconds).toBe(40 + 2 * way!.wal!.segments);
    });

    it('tells what is lost behind the end of the archive and behind a gap', async () => {
      const { ways, problems } = await show('2030-01-01 00:00Z');
      expect(ways[0]).toMatchObject({
        with: 'base backup and WAL',
        command: expect.stringContaining('--to "latest"') as string,
      });
      expect(ways[0]!.lostSeconds).toBeGreaterThan(86_400);
      expect(problems.join()).toContain('the archive of WAL ends before it');
      const first = ways[0]!.wal!.first;
      for (const store of [pitr.near, pitr.far])
        for (const file of filesIn(store).filter((name) => name.endsWith(`/${first}.zst`)))
          fs.rmSync(path.join(store, file));
      const gone = await show('2030-01-01 00:00Z', 6);
      expect([gone.ways, gone.problems.join()]).toEqual([
        [],
        expect.stringContaining(`WAL ${first} is missing`),
      ]);
    });
  },
);
