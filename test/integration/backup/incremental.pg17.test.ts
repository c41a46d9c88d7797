// "backup create --kind incremental" on PostgreSQL 17: chains are combined by hand and their rows compared.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgres17Directory, whyNoPostgres17 } from '../../support/postgres17.ts';
import {
  giveTo,
  rowsOf,
  startSite,
  unpack,
  verifyUnpacked,
  withRestored,
  type MadeBackup,
  type PhysicalSite,
} from '../../support/physical.ts';

const missing = whyNoPostgres17();

describe('backup create --kind incremental', () => {
  let site: PhysicalSite;
  let base: MadeBackup;
  let first: MadeBackup;

  beforeAll(async () => {
    if (missing !== undefined) return;
    site = await startSite({ binDir: postgres17Directory(), settings: { wal_summary_keep_time: '10d' } });
  });

  const text = (result: { code: number | null; stderr: string }) => [result.code, result.stderr];

  it('is refused while the server makes no summaries, naming the setting', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const refused = await site.create('incremental');
    expect(text(refused)).toEqual([4, expect.stringContaining('alter system set summarize_wal = on')]);
    await site.db.query('alter system set summarize_wal = on');
    await site.db.query('select pg_reload_conf()');
    await site.archive();
  });

  it('is refused without a backup to build on', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const refused = await site.create('incremental');
    expect(text(refused)).toEqual([4, expect.stringContaining('dbops backup create --kind base')]);
    const unknown = await site.create('incremental', '--parent', '20200101T000000Z-00000000');
    expect(unknown.code).toBe(2);
  });

  it('builds on the base, and the next one on it', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    // Large enough that what is sent of it tells.
    await site.db.query(
      'create table bulk as select i, md5(i::text) as t from generate_series(1, 200000) as i',
    );
    base = await site.made('base');
    await site.db.query("update parts set said = 'second' where i <= 100");
    first = await site.made('incremental');
    await site.db.query("insert into parts values (30000, 'third', 'third')");
    await site.db.query('update bulk set t = null where i = 77');
    const rows = [await rowsOf(site.db), await rowsOf(site.db, 'bulk')];
    const second = await site.made('incremental');
    expect([base, first, second].map((item) => item.manifest.physical?.parent)).toEqual([
      null,
      base.id,
      first.id,
    ]);
    expect(first.manifest.physical?.wal).toBe('archive');
    const sizeOf = (item: MadeBackup) => fs.statSync(path.join(item.folder, 'base.tar.zst')).size;
    expect(sizeOf(first)).toBeLessThan(sizeOf(base) / 3);
    const ledger = await site.db.query<{ parent: string | null }>(
      'select parent from dbops.backup order by started_at',
    );
    expect(ledger.map((row) => row.parent)).toEqual([null, base.id, first.id]);
    const data = combine([base, first, second]);
    const both = { binDir: postgres17Directory(), walDir: site.walDir };
    expect(verifyUnpacked(data, both)).toMatchObject({ code: 0 });
    await withRestored(data, { ...both, settings: { recovery_target: 'immediate' } }, async (db) => {
      expect(await rowsOf(db)).toEqual(rows[0]);
      expect(await rowsOf(db, 'bulk')).toEqual(rows[1]);
    });
  });

  it('builds on the one that is named', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const rows = await rowsOf(site.db);
    const made = await site.made('incremental', '--parent', base.id);
    expect(made.manifest.physical?.parent).toBe(base.id);
    const data = combine([base, made]);
    const both = { binDir: postgres17Directory(), walDir: site.walDir };
    expect(verifyUnpacked(data, both)).toMatchObject({ code: 0 });
    await withRestored(data, both, async (db) => expect(await rowsOf(db)).toEqual(rows));
    const refused = await site.create('base', '--parent', base.id);
    expect(text(refused)).toEqual([2, expect.stringContaining('--parent means nothing to --kind base')]);
  });

  it('takes tablespaces', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const place = path.join(site.dir, 'space');
    giveTo(site.server, place);
    await site.db.query(`create tablespace space location '${place}'`);
    await site.db.query('create table apart tablespace space as select i from generate_series(1, 1000) as i');
    const made = await site.made('incremental');
    expect(made.manifest.physical?.tablespaces).toHaveLength(1);
    expect(fs.readdirSync(made.folder)).toHaveLength(4);
    await site.db.query('drop table apart');
    await site.db.query('drop tablespace space');
  });

  it('passes over one of which a file is gone, and over what was built on it', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const file = path.join(first.folder, 'base.tar.zst');
    const bytes = fs.readFileSync(file);
    fs.rmSync(file);
    const refused = await site.create('incremental', '--parent', first.id);
    expect(text(refused)).toEqual([4, expect.stringContaining('no store has all of its files')]);
    const latest = await site.made('base');
    fs.truncateSync(path.join(latest.folder, 'base.tar.zst'), 100);
    const made = await site.made('incremental');
    expect(made.stderr).toContain(`not building on ${latest.id}: no store has all of its files`);
    // Those that hang on the first one are left out as well; the one that was built on the base is not.
    const parent = made.manifest.physical?.parent ?? '';
    const chain = JSON.parse(
      fs.readFileSync(path.join(path.dirname(base.folder), parent, 'manifest.json'), 'utf8'),
    ) as MadeBackup['manifest'];
    expect(await chainOf(chain)).not.toContain(first.id);
    fs.writeFileSync(file, bytes);
  });

  it('is refused when the server has removed its summaries, naming a new base', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    // The server removes them after wal_summary_keep_time, in minutes.
    const summaries = path.join(site.server.dataDir, 'pg_wal', 'summaries');
    for (const name of fs.readdirSync(summaries).sort().slice(0, -1)) fs.rmSync(path.join(summaries, name));
    const refused = await site.create('incremental', '--parent', base.id);
    expect(text(refused)).toEqual([
      4,
      expect.stringMatching(/do not reach back to backup[^]*Take a new base backup/),
    ]);
  });

  async function chainOf(manifest: MadeBackup['manifest']): Promise<string[]> {
    const parent = manifest.physical?.parent ?? null;
    if (parent === null) return [manifest.id];
    const file = path.join(path.dirname(base.folder), parent, 'manifest.json');
    return [
      manifest.id,
      ...(await chainOf(JSON.parse(fs.readFileSync(file, 'utf8')) as MadeBackup['manifest'])),
    ];
  }
});

/** pg_combinebackup of a chain, the full backup first. */
function combine(chain: MadeBackup[]): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-combined-'));
  afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));
  fs.chmodSync(dir, 0o755);
  const data = path.join(dir, 'data');
  const program = path.join(postgres17Directory(), 'pg_combinebackup');
  execFileSync(program, [...chain.map(unpack), '-o', data, '--no-sync'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return data;
}
