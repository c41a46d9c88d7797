// "backup create --kind pgbackrest" on a real pgBackRest: what it makes, what it refuses, what counts as a failure.
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { parseBackupManifest, type BackupManifest } from '../../../src/backup/manifest.ts';
import { ownDatabase, waitUntil } from '../../support/database.ts';
import { startPgbackrest, whyNoPgbackrest, type PgbackrestSite } from '../../support/pgbackrest.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';

const missing = whyNoPgbackrest();

interface Created {
  data: { id: string; place: string; stores: string[]; manifest: BackupManifest };
}

describe('backup create --kind pgbackrest', () => {
  let site: PgbackrestSite;
  let work: Workspace;
  let db: ReturnType<typeof ownDatabase>;

  beforeAll(async () => {
    if (missing !== undefined) return;
    site = await startPgbackrest({ withStanza: false });
    db = ownDatabase(site.server);
    await db.query(
      'create table public.parts as select i, md5(i::text) as serial from generate_series(1, 10000) as i',
    );
    work = createWorkspace(db, '');
    configure();
  });
  afterAll(async () => {
    await site?.stop();
  });

  function configure(backup = site.yaml): void {
    work.configure(`stores:\n  near: { url: "file://${store()}" }\nbackup:\n${backup}`);
  }
  const store = () => path.join(work.dir, 'store');
  const create = (...args: string[]) => work.run(['backup', 'create', '--kind', 'pgbackrest', ...args]);
  const manifests = () =>
    fs
      .readdirSync(store(), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('manifest.json'));

  it('says that the stanza was never made, and how it is', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const refused = await create();
    expect([refused.code, refused.stderr]).toEqual([4, expect.stringContaining('stanza-create')]);
    expect(manifests()).toEqual([]);
    expect(site.run('stanza-create').code).toBe(0);
  });

  it('shows the command line as a dry run, and does not run it', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const { code, stdout, stderr } = await create('--dry-run');
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^pgbackrest backup --config=\S+ --stanza=main .*--type=full .*--no-expire-auto/);
    expect(site.run('info', '--output=json').output).toContain('no valid backups');
  });

  it('makes a full backup first and then increments, each with a manifest in our store', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const made: BackupManifest[] = [];
    for (const args of [[], ['--reason', 'before the deploy'], ['--type', 'diff']]) {
      const { code, stdout, stderr } = await create('--json', ...args);
      expect(code, stderr).toBe(0);
      const { data } = JSON.parse(stdout) as Created;
      const stored = fs.readFileSync(path.join(store(), data.place, 'manifest.json'), 'utf8');
      expect(parseBackupManifest(stored, data.place)).toEqual(data.manifest);
      made.push(data.manifest);
    }
    expect(made.map((item) => item.pgbackrest?.type)).toEqual(['full', 'incr', 'diff']);
    const [full, incr, diff] = made;
    expect(full?.pgbackrest).toMatchObject({ stanza: 'main', prior: null, parent: null, repositories: [1] });
    expect(incr?.pgbackrest).toMatchObject({ prior: full?.pgbackrest?.label, parent: full?.id });
    expect(diff?.pgbackrest).toMatchObject({ prior: full?.pgbackrest?.label, parent: full?.id });
    expect(incr?.reason).toBe('before the deploy');
    expect(full?.sourceBytes).toBeGreaterThan(10_000_000);
    expect(full?.pgbackrest?.archive).toBe(`${site.server.major}-1`);
    expect(full?.pgbackrest?.stopLsn).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/);
    expect(full?.files).toEqual([]);
    const info = JSON.parse(site.run('info', '--output=json').output) as {
      backup: { annotation: object }[];
    }[];
    expect(info[0]?.backup.map((item) => item.annotation)).toEqual(made.map(({ id }) => ({ dbops: id })));
    const ledger = await db.query(
      "select id, kind, parent from dbops.backup where state = 'done' order by id",
    );
    expect(ledger).toEqual(
      made.map(({ id, pgbackrest }) => ({ id, kind: 'pgbackrest', parent: pgbackrest?.parent })),
    );
  });

  it('refuses while pgBackRest is stopped, and while another backup has its lock', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const before = manifests();
    site.run('stop');
    const stopped = await create();
    expect([stopped.code, stopped.stderr]).toEqual([4, expect.stringContaining('--stanza=main start')]);
    site.run('start');
    await db.query(
      'create table public.large as select i, repeat(md5(i::text), 40) as t from generate_series(1, 100000) as i',
    );
    const other = site.start('backup', '--type=full');
    await waitUntil(() => site.run('info', '--output=json').output.includes('"held":true'), {
      what: 'its lock',
    });
    const busy = await create();
    expect([busy.code, busy.stderr]).toEqual([4, expect.stringContaining('another backup')]);
    expect(await other).toBe(0);
    expect(manifests()).toEqual(before);
  });

  it('refuses a stanza of another cluster, and a configuration that is wrong', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const foreign = await work.run(['backup', 'create', '--kind', 'pgbackrest'], {
      DATABASE_URL: inject('postgres').url,
    });
    expect([foreign.code, foreign.stderr]).toEqual([4, expect.stringContaining('of another cluster')]);
    configure('  pgbackrest: { stanza: main, config: "/nonexistent/pgbackrest.conf" }\n');
    const misplaced = await create();
    expect([misplaced.code, misplaced.stderr]).toEqual([4, expect.stringContaining('/nonexistent')]);
    configure('');
    const none = await create();
    expect([none.code, none.stderr]).toEqual([2, expect.stringContaining('backup.pgbackrest.stanza')]);
    configure();
    const nowhere = await work.run(['backup', 'create', '--kind', 'pgbackrest', '--type', 'half']);
    expect([nowhere.code, nowhere.stderr]).toEqual([2, expect.stringContaining('full, diff, incr')]);
  });

  it('counts a backup with broken pages as failed, although pgBackRest ends with 0', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const before = manifests();
    const inRepository = () =>
      (JSON.parse(site.run('info', '--output=json').output) as { backup: { label: string }[] }[])[0]?.backup;
    const sets = inRepository();
    const [row] = await db.query<{ path: string }>("select pg_relation_filepath('public.parts') as path");
    await db.query('checkpoint');
    const file = fs.openSync(path.join(site.server.dataDir, row!.path), 'r+');
    fs.writeSync(file, 'not a page', 8192 + 4000);
    fs.closeSync(file);
    const broken = await create();
    expect(broken.code).toBe(7);
    expect(broken.stderr).toContain('pages with wrong checksums');
    expect(broken.stderr).toContain(row!.path);
    expect(manifests()).toEqual(before);
    expect(broken.stderr).not.toContain('stays in its repository');
    expect(inRepository()).toEqual(sets);
    const [state] = await db.query('select state from dbops.backup order by id desc limit 1');
    expect(state).toEqual({ state: 'failed' });
  });
});
