// "backup create --kind base": each backup is restored by hand and its rows compared.
import fs from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  backupFiles,
  giveTo,
  replacePrograms,
  rowsOf,
  siteYaml,
  startSite,
  unpack,
  verifyUnpacked,
  whyNoBasebackup,
  whyNoPzstd,
  withRestored,
  type MadeBackup,
  type PhysicalSite,
} from '../../support/physical.ts';

const missing = whyNoBasebackup();

describe('backup create --kind base', () => {
  let site: PhysicalSite;

  beforeAll(async () => {
    if (missing !== undefined) return;
    site = await startSite({ initdbArgs: ['--data-checksums'] });
  });

  it('shows what it would run, and writes nothing', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const { code, stdout, stderr } = await site.run(['backup', 'create', '--kind', 'base', '--dry-run']);
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(
      /pg_basebackup --pgdata=- --format=tar --wal-method=fetch .*\| \S*zstd .* > base\.tar\.zst/,
    );
    expect(stdout).toContain('with the WAL that it needs in it, since');
    expect(backupFiles(site)).toEqual([]);
  });

  it('holds its WAL while nothing is archived, and opens with it alone', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const rows = await rowsOf(site.db);
    const made = await site.made('base');
    expect(made.stderr).toContain('the WAL that it needs is taken along');
    expect(made.manifest).toMatchObject({
      kind: 'base',
      database: null,
      logical: null,
      physical: { timeline: 1, wal: 'included', parent: null, tablespaces: [], dataChecksums: true },
    });
    expect(made.manifest.physical?.settings).toMatchObject({ max_connections: '200', wal_level: 'logical' });
    expect(made.manifest.physical?.databases.map((item) => item.name).sort()).toEqual([
      'postgres',
      'template0',
      'template1',
    ]);
    expect(fs.readdirSync(made.folder).sort()).toEqual(['backup_manifest', 'base.tar.zst', 'manifest.json']);
    if (whyNoPzstd() === undefined) expect(Object.keys(made.manifest.tools)).toContain('pzstd');
    const data = unpack(made);
    expect(verifyUnpacked(data, site.server)).toEqual({
      code: 0,
      output: expect.stringContaining('backup successfully verified') as string,
    });
    await withRestored(data, site.server, async (db) => expect(await rowsOf(db)).toEqual(rows));
    const ledger = await site.db.query(`select id, kind, state, place, parent from dbops.backup`);
    expect(ledger).toEqual([{ id: made.id, kind: 'base', state: 'done', place: made.place, parent: null }]);
  });

  it('leaves the WAL to an archive that is seen to work, which then has all that it needs', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    await site.archive();
    await site.db.query("update parts set said = 'second' where i <= 500");
    const rows = await rowsOf(site.db);
    const { physical, ...made } = await withPhysical(site);
    expect(physical.wal).toBe('archive');
    const segment = (name: string) => path.join(site.walDir, name);
    expect([physical.startWal, physical.stopWal].map(segment).every((file) => fs.existsSync(file))).toBe(
      true,
    );
    expect(physical.startWal <= physical.stopWal).toBe(true);
    expect(Date.parse(physical.startedAt)).toBeLessThanOrEqual(Date.parse(physical.stoppedAt));
    // What is committed later comes back only out of the archive.
    await site.db.query("insert into parts values (20000, 'later', 'third')");
    await site.archive();
    const data = unpack(made);
    // From 17 on a folder of summaries is beside that of the archiver.
    const inWal = fs.readdirSync(path.join(data, 'pg_wal')).filter((name) => name !== 'summaries');
    expect(inWal).toEqual(['archive_status']);
    expect(verifyUnpacked(data, { ...site.server, walDir: site.walDir })).toMatchObject({ code: 0 });
    const target = { recovery_target: 'immediate' };
    const both = { binDir: site.server.binDir, walDir: site.walDir };
    await withRestored(data, { ...both, settings: target }, async (db) =>
      expect(await rowsOf(db)).toEqual(rows),
    );
    await withRestored(data, both, async (db) => {
      expect(await rowsOf(db)).toHaveLength(rows.length + 1);
    });
  });

  it('is the same where there is no pzstd', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const { code, stdout, stderr } = await site.run(
      ['backup', 'create', '--kind', 'base', '--json'],
      replacePrograms(site).envWithoutPzstd,
    );
    expect(code, stderr).toBe(0);
    const { data } = JSON.parse(stdout) as { data: Pick<MadeBackup, 'manifest' | 'place'> };
    expect(Object.keys(data.manifest.tools).sort()).toEqual(['pg_basebackup', 'tar', 'zstd']);
    const unpacked = unpack({ manifest: data.manifest, folder: path.join(site.store, data.place) });
    expect(verifyUnpacked(unpacked, { ...site.server, walDir: site.walDir })).toMatchObject({ code: 0 });
  });

  it('takes tablespaces, each as a tar of its own', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const place = path.join(site.dir, 'space one');
    giveTo(site.server, place);
    await site.db.query(`create tablespace "space one" location '${place}'`);
    await site.db.query(
      'create table apart tablespace "space one" as select i from generate_series(1, 1000) as i',
    );
    const rows = await rowsOf(site.db, 'apart');
    // What a killed one has left is as large as the cluster.
    const work = path.join(site.dir, 'work');
    fs.mkdirSync(path.join(work, 'dbops-work-base-999999999-AbCdEf'), { recursive: true });
    site.configure(siteYaml(site.store, `  workDirectory: ${work}\n`));
    const made = await site.made('base');
    expect(fs.readdirSync(work)).toEqual([]);
    const [space] = made.manifest.physical?.tablespaces ?? [];
    expect(space).toMatchObject({ name: 'space one', location: place });
    expect(fs.readdirSync(made.folder).sort()).toEqual(
      [`${space?.oid ?? ''}.tar.zst`, 'backup_manifest', 'base.tar.zst', 'manifest.json'].sort(),
    );
    const data = unpack(made);
    const both = { binDir: site.server.binDir, walDir: site.walDir };
    expect(verifyUnpacked(data, both)).toMatchObject({ code: 0 });
    await withRestored(data, both, async (db) => expect(await rowsOf(db, 'apart')).toEqual(rows));
    await site.db.query('drop table apart');
    await site.db.query('drop tablespace "space one"');
  });

  it('is a snapshot with a reason, and refused without one', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const refused = await site.create('snapshot');
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('a snapshot needs a reason')]);
    const made = await site.made('snapshot', '--reason', 'deploy 2026.11.2');
    expect(made.manifest).toMatchObject({ kind: 'snapshot', reason: 'deploy 2026.11.2' });
    expect(fs.existsSync(path.join(unpack(made), 'global', 'pg_control'))).toBe(true);
  });
});

async function withPhysical(site: PhysicalSite) {
  const made = await site.made('base');
  const { physical } = made.manifest;
  if (physical === null) throw new Error('no physical part');
  return { ...made, physical };
}
