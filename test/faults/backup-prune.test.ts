// A prune that is killed at any step leaves no backup that lists and cannot be restored, and the next one finishes it.
import { beforeAll, describe, expect, it } from 'vitest';
import type { Store } from '../../src/storage/store.ts';
import { parseBackupManifest } from '../../src/backup/manifest.ts';
import { backupNow, createBackupSite, laidPhysical, type BackupSite } from '../support/backups.ts';

const idOf = (name: string) => `20260101T000000Z-${name}`;
const names = ['k0', 'k1', 'k2', 'k3', 'k4', 'k5'];
const files = Object.fromEntries(
  Array.from({ length: 12 }, (_, index) => [`part-${index}.zst`, `rows ${index}`]),
);

describe('backup prune, killed', () => {
  let site: BackupSite;
  beforeAll(async () => {
    site = await createBackupSite('prunekill', 'retain: { base: { last: 1 }, incremental: { last: 1 } }');
  });

  /** A base with a chain of incrementals that are all to go, and a newer base and incremental that stay. */
  async function layChain(): Promise<void> {
    await site.db.query('delete from dbops.backup');
    for (const store of [site.local, site.offsite])
      for await (const { key } of store.list(`${site.system}/`)) await store.delete(key);
    const lay = (name: string, day: number, parent: string | null) => {
      const at = new Date(Date.UTC(2026, 9, day)).toISOString();
      const kind = parent === null ? ('base' as const) : ('incremental' as const);
      const physical = laidPhysical(at, { parent: parent === null ? null : idOf(parent) });
      return site.lay({ id: idOf(name), at, kind, files, over: { physical } });
    };
    for (const [index, name] of names.entries()) await lay(name, index + 1, names[index - 1] ?? null);
    await lay('newb', 20, null);
    await lay('newi', 21, 'newb');
  }

  /** Every backup with a manifest has all of its files, and what it builds on, in that store. */
  async function expectWhole(store: Store): Promise<string[]> {
    const keys = new Set<string>();
    for await (const { key } of store.list(`${site.system}/backup/`)) keys.add(key);
    const found: string[] = [];
    for (const key of keys) {
      if (!key.endsWith('/manifest.json')) continue;
      const text = Buffer.concat((await (await store.get(key)).toArray()) as Buffer[]).toString();
      const manifest = parseBackupManifest(text, key);
      const place = key.slice(0, -'manifest.json'.length);
      for (const file of manifest.files)
        expect(keys, `${key} lists and lacks`).toContain(`${place}${file.name}`);
      const parent = manifest.physical?.parent ?? null;
      if (parent !== null)
        expect(keys, `${manifest.id} has no parent`).toContain(
          `${site.system}/backup/cluster/${parent}/manifest.json`,
        );
      found.push(manifest.id);
    }
    return found;
  }

  it.each([1, 2, 4])('after %i backups were removed', async (count) => {
    await layChain();
    const prune = site.work.spawn(['backup', 'prune'], { DBOPS_TEST_NOW: backupNow, DBOPS_TEST: '1' });
    await prune.waitFor(new RegExp(`(removed backup[^]*){${String(count)}}`));
    prune.kill('SIGKILL');
    await prune.done;
    for (const store of [site.local, site.offsite]) await expectWhole(store);
    // What was begun is finished at once, what is left of it too.
    const next = await site.run(['backup', 'prune']);
    expect(next.code, next.stderr).toBe(0);
    for (const store of [site.local, site.offsite]) {
      expect((await expectWhole(store)).sort()).toEqual([idOf('newb'), idOf('newi')]);
      for await (const { key } of store.list(`${site.system}/backup/`)) expect(key).not.toMatch(/-k\d\//);
    }
    const rows = await site.db.query(
      "select count(*)::int as n from dbops.backup where state = 'removed' and stores = '{}'",
    );
    expect(rows).toEqual([{ n: names.length }]);
  });

  it('keeps what a held incremental builds on, and removes what builds on it', async () => {
    await layChain();
    const list = await site.json<{ backups: { id: string }[] }>(['backup', 'list']);
    expect(list.backups).toHaveLength(8);
    const held = `${site.system}/backup/cluster/${idOf('k3')}/hold.json`;
    await site.offsite.put(held, Buffer.from('held meanwhile'));
    const done = await site.json<{ removed: { backup: string }[] }>(['backup', 'prune']);
    expect(done.removed.map((item) => item.backup)).toEqual([idOf('k5'), idOf('k4')]);
    for (const store of [site.local, site.offsite])
      expect((await expectWhole(store)).sort()).toEqual([
        ...['k0', 'k1', 'k2', 'k3'].map(idOf),
        idOf('newb'),
        idOf('newi'),
      ]);
  });
});
