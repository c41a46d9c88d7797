import fs from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { withPin } from '../../../src/backup/catalogue/pin.ts';
import { walKey } from '../../../src/backup/wal/place.ts';
import { silentLog } from '../../../src/output/log.ts';
import type { Store } from '../../../src/storage/store.ts';
import { createBackupSite, laidPhysical, type BackupSite } from '../../support/backups.ts';

interface Pruned {
  removed: { backup: string; stores: string[] }[];
  kept: { backup: string; why: string[] }[];
  wal: { files: number; why: string };
  remains: string[];
  notes: string[];
}
interface Planned {
  backups: { backup: string; goesFrom: string[]; why: string[] }[];
  wal: { keptFrom: string | null };
  remains: unknown[];
}

const day = (back: number) => new Date(Date.UTC(2026, 10, 21 - back, 3)).toISOString();
const idOf = (name: string) => `20260101T000000Z-${name}`;
const states = (site: BackupSite) =>
  site.db.query<{ id: string; state: string; stores: string[] }>(
    "select split_part(id, '-', 2) as id, state, stores from dbops.backup order by 1",
  );

describe('backup prune', () => {
  let site: BackupSite;
  beforeAll(async () => {
    site = await createBackupSite('prune', 'retain: { logical: { last: 2 }, table: { last: 1 } }');
    for (const back of [0, 1, 2, 3]) await site.lay({ id: idOf(`log${back}`), at: day(back) });
  });

  it('prints what goes, what stays and why, and then does just that, manifest first, in every store', async () => {
    const plan = await site.json<Planned>(['backup', 'prune', '--dry-run']);
    expect(
      plan.backups.map((item) => [item.backup.split('-')[1], item.goesFrom, item.why.join('; ')]),
    ).toEqual([
      ['log3', ['local', 'offsite'], 'no rule of retain.logical keeps it: last 2'],
      ['log2', ['local', 'offsite'], 'no rule of retain.logical keeps it: last 2'],
      ['log1', [], 'last 2'],
      ['log0', [], 'last 2; the newest good one'],
    ]);
    expect(await site.ids(site.local)).toEqual(['log0', 'log1', 'log2', 'log3']);
    const text = await site.run(['backup', 'prune', '--dry-run']);
    expect(text.stdout).toMatch(/log3 .* local, offsite +no rule of retain.logical keeps it: last 2/);
    const done = await site.json<Pruned>(['backup', 'prune']);
    expect(done.removed.map((item) => item.backup)).toEqual([idOf('log3'), idOf('log2')]);
    for (const store of [site.local, site.offsite]) {
      expect(await site.ids(store)).toEqual(['log0', 'log1']);
      for await (const { key } of store.list('')) expect(key).not.toMatch(/log[23]/);
    }
    expect(await states(site)).toEqual([
      { id: 'log0', state: 'done', stores: ['local', 'offsite'] },
      { id: 'log1', state: 'done', stores: ['local', 'offsite'] },
      { id: 'log2', state: 'removed', stores: [] },
      { id: 'log3', state: 'removed', stores: [] },
    ]);
    expect((await site.json<Pruned>(['backup', 'prune'])).removed).toEqual([]);
  });

  it('takes copies from one store only when it is told so', async () => {
    await site.lay({ id: idOf('log4'), at: day(4) });
    const done = await site.json<Pruned>(['backup', 'prune', '--store', 'offsite']);
    expect(done.removed).toMatchObject([{ backup: idOf('log4'), stores: ['offsite'] }]);
    expect(await site.ids(site.local)).toContain('log4');
    expect((await states(site)).find((row) => row.id === 'log4')).toMatchObject({
      state: 'done',
      stores: ['local'],
    });
    expect((await site.json<Pruned>(['backup', 'prune'])).removed).toMatchObject([{ stores: ['local'] }]);
    expect((await site.run(['backup', 'prune', '--store', 'moon'])).code).toBe(2);
  });

  it('keeps what is held, by the ledger or by any store, and what a restore reads', async () => {
    await site.lay({ id: idOf('log5'), at: day(5) });
    await site.db.query("update dbops.backup set hold = 'case 1' where id = $1", [idOf('log5')]);
    const held = await site.lay({ id: idOf('log6'), at: day(6) });
    await site.offsite.put(`${held}hold.json`, Buffer.from('not even JSON'));
    const place = await site.lay({ id: idOf('log7'), at: day(7) });
    const pin = { stores: [site.local], place };
    const done = await withPin(pin, { what: 'restore', host: 'h', log: silentLog }, () =>
      site.json<Pruned>(['backup', 'prune'], new Date().toISOString()),
    );
    expect(done.removed).toEqual([]);
    const why: Record<string, string> = Object.fromEntries(
      done.kept.map((item) => [item.backup.split('-')[1], item.why.join()]),
    ) as Record<string, string>;
    expect(why['log5']).toBe('held: case 1');
    expect(why['log6']).toContain('hold.json is there and cannot be read');
    expect(why['log7']).toContain('reads it since');
    await site.offsite.delete(`${held}hold.json`);
    await site.db.query('update dbops.backup set hold = null');
    expect((await site.json<Pruned>(['backup', 'prune'])).removed).toHaveLength(3);
  });

  it('takes a removal back that was begun when a rule keeps it, and finishes it when none does', async () => {
    const begin = (name: string) =>
      site.db.query("update dbops.backup set state = 'removed' where id = $1", [idOf(name)]);
    await site.lay({ id: idOf('log8'), at: day(8) });
    await begin('log0');
    await begin('log8');
    const done = await site.json<Pruned>(['backup', 'prune']);
    expect(done.removed.map((one) => one.backup)).toEqual([idOf('log8')]);
    expect(done.notes.join()).toContain(`the removal of backup ${idOf('log0')} was begun, and it is kept`);
    expect(await site.ids(site.local)).toEqual(['log0', 'log1']);
    expect(await states(site)).toContainEqual({ id: 'log0', state: 'done', stores: ['local', 'offsite'] });
  });

  it('groups backups of tables by the table', async () => {
    const table = (name: string) => ({
      kind: 'table' as const,
      over: {
        logical: {
          format: 'custom' as const,
          snapshot: { id: '1', lsn: null, at: day(9) },
          selected: [{ schema: 'public', name }],
          excludedData: [],
          tables: [],
          sequences: [],
          extensions: [],
          roles: [],
          largeObjects: 0,
          collations: [],
          databaseSettings: { encoding: 'UTF8', collate: 'C', ctype: 'C', localeProvider: 'c', settings: [] },
          globals: null,
          rolePasswords: false,
        },
      },
    });
    await site.lay({ id: idOf('taba'), at: day(9), ...table('a') });
    await site.lay({ id: idOf('tabb'), at: day(9), ...table('b') });
    expect((await site.json<Pruned>(['backup', 'prune'])).removed).toEqual([]);
  });

  it('removes nothing of a kind when its newest attempt failed or was interrupted, or a copy was lost', async () => {
    await site.lay({ id: idOf('log8'), at: day(8) });
    const reason = async () => {
      const { removed, kept } = await site.json<Pruned>(['backup', 'prune']);
      expect(removed).toEqual([]);
      return kept.find((item) => item.backup === idOf('log8'))!.why.join();
    };
    const attempt = (state: string) =>
      site.db.query(
        `insert into dbops.backup (id, kind, database, place, stores, state, started_at, message)
         values ('attempt', 'logical', current_database(), $1, '{}', $2, '2026-11-21T04:00:00Z', 'pg_dump failed')
         on conflict (id) do update set state = excluded.state`,
        [`${site.system}/backup/database/${site.database}/attempt/`, state],
      );
    await attempt('failed');
    expect(await reason()).toBe('the newest attempt failed: attempt, pg_dump failed');
    await attempt('running');
    expect(await reason()).toBe('the newest attempt, attempt, was interrupted');
    // It left nothing, and nobody makes it.
    expect(await states(site)).toContainEqual(expect.objectContaining({ state: 'failed' }));
    await site.db.query("delete from dbops.backup where id = 'attempt'");
    // A file that is gone from one copy, then the whole copy.
    const place = `${site.system}/backup/database/${site.database}/${idOf('log0')}/`;
    await site.offsite.delete(`${place}dump.custom.zst`);
    expect(await reason()).toMatch(
      /log0 is damaged in "offsite" .*dump.custom.zst: it is missing.* --repair/,
    );
    const manifest = await site.offsite.get(`${place}manifest.json`);
    const bytes = Buffer.concat((await manifest.toArray()) as Buffer[]);
    await site.offsite.delete(`${place}manifest.json`);
    expect(await reason()).toMatch(/log0 has lost its copy in "offsite"/);
    await site.offsite.put(`${place}manifest.json`, bytes);
    await site.offsite.put(`${place}dump.custom.zst`, Buffer.from('rows'));
    // A store that is away.
    fs.renameSync(site.folder, `${site.folder}-away`);
    const away = await site.json<Pruned>(['backup', 'prune']);
    fs.renameSync(`${site.folder}-away`, site.folder);
    expect([away.removed, away.notes.join()]).toEqual([[], expect.stringContaining('cannot be asked')]);
    expect((await site.json<Pruned>(['backup', 'prune'])).removed).toMatchObject([{ backup: idOf('log8') }]);
  });

  it('warns of a backup from the future and counts the others without it', async () => {
    await site.lay({ id: idOf('futr'), at: '2027-06-01T00:00:00Z' });
    await site.lay({ id: idOf('log9'), at: day(9) });
    const done = await site.json<Pruned>(['backup', 'prune']);
    expect(done.removed.map((item) => item.backup)).toEqual([idOf('log9')]);
    expect(done.notes.join()).toContain('is a clock wrong?');
    expect(await site.ids(site.local)).toEqual(['futr', 'log0', 'log1', 'taba', 'tabb']);
  });

  it('leaves other databases and other clusters alone', async () => {
    await site.lay({ id: idOf('othr'), at: day(300), database: 'another' }, { ledger: false });
    await site.lay({ id: idOf('clst'), at: day(300), system: '1' }, { ledger: false });
    expect((await site.json<Pruned>(['backup', 'prune'])).removed).toEqual([]);
    expect(await site.ids(site.local)).toEqual(expect.arrayContaining(['othr', 'clst']));
  });

  it('sweeps what killed runs left a day ago, finishes removals, and keeps what lost its manifest', async () => {
    const old = new Date(Date.now() + 2 * 86_400_000).toISOString();
    await site.lay({ id: idOf('dead'), at: day(1), unfinished: true });
    await site.lay({ id: idOf('half'), at: day(1) });
    await site.db.query("update dbops.backup set state = 'removed' where id = $1", [idOf('half')]);
    const soon = await site.json<Pruned>(['backup', 'prune'], new Date().toISOString());
    expect([soon.remains, soon.removed.map((item) => item.backup)]).toEqual([[], [idOf('half')]]);
    const lost = await site.lay({ id: idOf('lost'), at: day(1) });
    for (const store of [site.local, site.offsite]) await store.delete(`${lost}manifest.json`);
    // The manifest of what has none here may lie in a store that is away.
    fs.renameSync(site.folder, `${site.folder}-away`);
    const away = await site.json<Pruned>(['backup', 'prune'], old);
    fs.renameSync(`${site.folder}-away`, site.folder);
    expect(away.remains).toEqual([]);
    const later = await site.json<Pruned>(['backup', 'prune'], old);
    expect(later.remains).toEqual([idOf('dead'), idOf('dead')]);
    expect(later.notes.join()).toContain('has lost its manifest');
    await site.db.query('delete from dbops.backup where id = $1', [idOf('lost')]);
  });
});

describe('backup prune of base backups and WAL', () => {
  let site: BackupSite;
  const wal = async (store: Store) => {
    const found: string[] = [];
    for await (const { key } of store.list(`${site.system}/wal/`)) found.push(path.basename(key, '.zst'));
    return found;
  };
  const segment = (timeline: number, low: number) =>
    `${timeline.toString(16).padStart(8, '0')}00000000${low.toString(16).toUpperCase().padStart(8, '0')}`;
  const base = (name: string, back: number, low: number, parent: string | null = null, timeline = 1) =>
    site.lay({
      id: idOf(name),
      at: day(back),
      kind: parent === null ? 'base' : 'incremental',
      over: {
        physical: laidPhysical(day(back), {
          timeline,
          startWal: segment(timeline, low),
          stopWal: segment(timeline, low),
          parent: parent === null ? null : idOf(parent),
        }),
      },
    });

  beforeAll(async () => {
    site = await createBackupSite('prunewal', 'retain: { base: { last: 1 }, incremental: { last: 1 } }');
    const names = [2, 3, 4, 5, 6, 7, 8, 9].map((low) => segment(1, low));
    const all = [
      ...names,
      segment(2, 4),
      segment(2, 9),
      `${segment(1, 3)}.partial`,
      `${segment(1, 2)}.00000028.backup`,
    ];
    for (const name of [...all, '00000002.history'])
      await site.local.put(walKey(site.system, name), Buffer.from('x'));
  });

  it('keeps all WAL without a base backup to replay it onto', async () => {
    const done = await site.json<Pruned>(['backup', 'prune']);
    expect(done.wal).toMatchObject({
      files: 0,
      why: expect.stringContaining('there is no base backup') as string,
    });
  });

  it('removes dependents before parents, and WAL that no kept base needs, never a history', async () => {
    await base('bas1', 9, 2);
    await base('inc1', 8, 3, 'bas1');
    await base('bas2', 5, 5);
    await base('inc2', 4, 6, 'bas2');
    await base('bas3', 1, 8);
    const plan = await site.json<Planned>(['backup', 'prune', '--dry-run']);
    expect(plan.wal.keptFrom).toBe(segment(1, 5));
    const done = await site.json<Pruned>(['backup', 'prune']);
    // inc2 is the newest incremental, and bas2 its parent.
    expect(done.removed.map((item) => item.backup)).toEqual([idOf('inc1'), idOf('bas1')]);
    expect(done.wal.files).toBe(6);
    const kept = [5, 6, 7, 8, 9].map((low) => segment(1, low));
    expect((await wal(site.local)).sort()).toEqual([...kept, '00000002.history', segment(2, 9)].sort());
  });

  it('keeps the WAL of a backup that is in none of these stores', async () => {
    await site.local.put(walKey(site.system, segment(1, 4)), Buffer.from('x'));
    await site.db.query(
      `insert into dbops.backup (id, kind, place, stores, state, started_at)
       values ('far', 'snapshot', $1, '{tape}', 'done', '2026-11-01T11:00:00Z')`,
      [`${site.system}/backup/cluster/far/`],
    );
    const done = await site.json<Pruned>(['backup', 'prune']);
    expect(done.wal).toMatchObject({ files: 0, why: expect.stringContaining('far (snapshot)') as string });
    await site.db.query("delete from dbops.backup where id = 'far'");
    const runs = async () =>
      (
        await site.db.query<{ n: number }>(
          "select count(*)::int as n from dbops.run where command like '%prune%'",
        )
      )[0]!.n;
    const before = await runs();
    const { stderr } = await site.run(['backup', 'prune']);
    expect(stderr).toContain(`removed 1 files of WAL from local, from ${segment(1, 4)} on`);
    expect(await wal(site.local)).not.toContain(segment(1, 4));
    expect(await runs()).toBe(before + 1);
  });

  it('keeps bases and WAL while a base backup is made, from here or from elsewhere', async () => {
    await base('bas0', 12, 5);
    const lease = `${site.system}/backup/cluster/lease.json`;
    const expiresAt = '2026-11-21T12:05:00Z';
    await site.offsite.put(lease, Buffer.from(JSON.stringify({ host: 'standby', expiresAt })));
    const leased = await site.json<Pruned>(['backup', 'prune']);
    expect([leased.removed, leased.kept[0]!.why.join()]).toEqual([
      [],
      expect.stringContaining('from host standby'),
    ]);
    // What a run from elsewhere has finished of it stays as long as the lease, one that cannot be read included.
    await site.lay({ id: idOf('far'), at: day(0), kind: 'base', unfinished: true });
    await site.offsite.put(lease, Buffer.from('{"host":'));
    const torn = await site.json<Pruned>(
      ['backup', 'prune'],
      new Date(Date.now() + 2 * 86_400_000).toISOString(),
    );
    expect([torn.removed, torn.remains, torn.wal.files]).toEqual([[], [], 0]);
    expect(torn.kept[0]!.why.join()).toContain('lease.json in store "offsite"');
    for (const store of [site.local, site.offsite])
      await store.delete(`${site.system}/backup/cluster/${idOf('far')}/dump.custom.zst`);
    await site.offsite.delete(lease);
    const holder = await site.db.connect();
    await holder.query("select pg_advisory_lock(x'64626f70'::int, 5)");
    await site.db.query(
      `insert into dbops.backup (id, kind, place, stores, state, started_at)
       values ('making', 'incremental', $1, '{}', 'running', '2026-11-21T11:00:00Z')`,
      [`${site.system}/backup/cluster/making/`],
    );
    await site.lay({ id: 'making', at: day(0), kind: 'base', unfinished: true });
    const busy = await site.json<Pruned>(
      ['backup', 'prune'],
      new Date(Date.now() + 2 * 86_400_000).toISOString(),
    );
    expect([busy.removed, busy.remains, busy.wal.files]).toEqual([[], [], 0]);
    expect(busy.kept[0]!.why.join()).toContain('making (incremental) is being made');
    await holder.query('select pg_advisory_unlock_all()');
    // Killed: its session is gone. What it left goes after a day; only then bases do again.
    const after = await site.json<Pruned>(
      ['backup', 'prune'],
      new Date(Date.now() + 2 * 86_400_000).toISOString(),
    );
    expect(after.remains).toEqual(['making', 'making']);
    expect(after.removed.map((item) => item.backup)).toEqual([idOf('bas0')]);
  });
});
