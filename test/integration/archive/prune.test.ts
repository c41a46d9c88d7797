import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createArchiveSite, type ArchiveSite } from '../../support/archive.ts';

interface Pruned {
  removed: { partition: string; reason: string }[];
  remains: string[];
  uploads: number;
  notes: string[];
}

const dropped = '2026-12-05T12:00:00Z';
/** Two years after the end of May; before that of June. */
const due = '2028-06-01T00:00:00Z';
const allDue = '2029-01-01T00:00:00Z';

let site: ArchiveSite;
beforeEach(async () => {
  site = await createArchiveSite('prune');
  await site.json(['archive', 'run']);
});
afterEach(() => site.db.drop());

const rows = () =>
  site.db.query<{ state: string; stores: string[] }>(
    'select state, stores from dbops.archive order by partition_name',
  );
const ids = async () =>
  (await site.db.query<{ id: string }>('select id from dbops.archive order by partition_name')).map(
    (row) => row.id,
  );
const manifests = () => [...site.files('local', 'manifest.json'), ...site.files('offsite', 'manifest.json')];
const prune = (args: string[] = [], now = due) => site.json<Pruned>(['archive', 'prune', ...args], now);
/** Detached, and dropped after the quarantine. */
const drop = async () => {
  await site.json(['archive', 'run', '--max', '3'], dropped);
};

describe('archive prune', () => {
  it('removes what is past its age and gone from the database, manifest first, and nothing else', async () => {
    const early = await prune();
    expect(early.removed).toEqual([]);
    expect(early.notes.join()).toMatch(
      /events_5: due, and kept: its partition, or a table of its name, is there/,
    );
    await drop();
    const before = manifests().length;
    expect((await prune([], '2028-05-31T23:59:59Z')).removed).toEqual([]);
    const dry = await site.run(['archive', 'prune', '--dry-run'], due);
    expect(dry.stdout).toContain('keeps them for 2 years in all');
    expect(dry.stdout).toMatch(/then delete in offsite: .*events_5\/.*manifest\.json first/);
    expect(manifests()).toHaveLength(before);
    const done = await prune();
    expect(done.removed.map((item) => item.partition)).toEqual(['public.events_5']);
    expect(manifests()).toHaveLength(before - 2);
    expect((await rows())[0]).toEqual({ state: 'expired', stores: [] });
    expect((await prune()).removed).toEqual([]);
    // The last partition that is attached still is no matter of age.
    const limited = await site.run(['archive', 'prune', '--max', '1'], allDue);
    expect(limited.stdout).toContain('public.events_6');
    expect(limited.stdout).not.toContain('public.events_7');
    expect(limited.stderr).toContain('--max lifts the limit');
  });

  it('keeps what is held, by the ledger or by any store', async () => {
    await drop();
    const [may = '', june = ''] = await ids();
    await site.json(['archive', 'hold', may, '--reason', 'case 1']);
    await site.json(['archive', 'hold', june, '--reason', 'case 2']);
    await site.db.query('update dbops.archive set hold = null where id = $1', [june]);
    fs.unlinkSync(site.files('local', 'hold.json').find((file) => file.includes(june))!);
    const done = await prune([], allDue);
    expect(done.removed.map((item) => item.partition)).not.toContain('public.events_6');
    expect(done.notes.join('\n')).toMatch(/events_5: due, and kept: it is held: case 1/);
    expect(done.notes.join('\n')).toMatch(new RegExp(`${june}: kept: held since .*case 2`));
    const named = await site.run(['archive', 'prune', '--archive', may, '--confirm', may, '--yes'], allDue);
    expect([named.code, named.stderr]).toEqual([4, expect.stringContaining('it is held')]);
  });

  it('finishes a removal that was interrupted', async () => {
    await drop();
    const manifest = site.files('offsite', 'manifest.json')[0]!;
    const folder = path.dirname(manifest);
    fs.unlinkSync(manifest);
    await site.db.query(
      "update dbops.archive set state = 'expired', stores = '{offsite}' where partition_name = 'events_5'",
    );
    const done = await prune([], dropped);
    expect(done.removed).toMatchObject([{ reason: 'its removal was begun and not finished' }]);
    expect(fs.existsSync(folder)).toBe(false);
    expect((await rows())[0]).toEqual({ state: 'expired', stores: [] });
  });

  it('says which store failed, and finishes when it answers', async () => {
    await drop();
    const folder = path.dirname(site.files('offsite', 'manifest.json')[0]!);
    // Where the folder is a link, the store refuses it: somebody else's files are not ours to delete.
    fs.renameSync(folder, `${folder}-away`);
    fs.symlinkSync(`${folder}-away`, folder);
    const failed = await site.run(['archive', 'prune'], due);
    expect(failed.code, failed.stdout).toBe(7);
    expect(fs.existsSync(path.join(`${folder}-away`, 'manifest.json'))).toBe(true);
    fs.unlinkSync(folder);
    fs.renameSync(`${folder}-away`, folder);
    expect((await prune()).removed).toHaveLength(1);
    expect((await rows())[0]).toEqual({ state: 'expired', stores: [] });
  });

  it('refuses a clock behind its archives, a name without its id once more, and what is attached', async () => {
    await drop();
    const [may = ''] = await ids();
    const idle = await site.run(['archive', 'prune'], '2020-01-01T00:00:00Z');
    expect([idle.code, idle.stderr]).toEqual([0, expect.stringContaining('the clock says 2020-01-01')]);
    await site.db.query("update dbops.archive set verified_at = '2031-01-01' where id = $1", [
      (await ids()).at(-1),
    ]);
    const old = await site.run(['archive', 'prune'], allDue);
    expect([old.code, old.stderr]).toEqual([4, expect.stringContaining('the clock says 2029-01-01')]);
    await site.db.query('update dbops.archive set verified_at = created_at');
    const unsure = await site.run(['archive', 'prune', '--archive', may, '--yes'], dropped);
    expect([unsure.code, unsure.stderr]).toEqual([4, expect.stringContaining(`--confirm ${may}`)]);
    const mute = await site.run(['archive', 'prune', '--archive', may, '--confirm', may], dropped);
    expect([mute.code, mute.stderr]).toEqual([4, expect.stringContaining('--yes')]);
    expect((await prune(['--archive', may, '--confirm', may, '--yes'], dropped)).removed).toHaveLength(1);
    await site.json(['archive', 'run', '--partition', 'events_9', '--until', 'verified']);
    const attached = (await ids()).at(-1)!;
    const refused = await site.run(
      ['archive', 'prune', '--archive', attached, '--confirm', attached, '--yes'],
      allDue,
    );
    expect([refused.code, refused.stderr]).toEqual([
      4,
      expect.stringContaining('its partition is attached still'),
    ]);
    expect((await site.run(['archive', 'prune', '--archive', 'nothing'], dropped)).code).toBe(2);
    expect((await site.run(['archive', 'prune', 'public.other'], dropped)).code).toBe(2);
  });

  it('sweeps what killed runs left, never what the ledger counts on', async () => {
    const folder = path.dirname(site.files('local', 'manifest.json')[0]!);
    const remains = path.join(path.dirname(folder), '20260101T000000Z-00000000');
    fs.cpSync(folder, remains, { recursive: true });
    fs.unlinkSync(path.join(remains, 'manifest.json'));
    fs.writeFileSync(path.join(folder, '.upload-0123456789abcdef-part-00009.copy.zst'), 'half');
    const lost = site.files('local', 'manifest.json').at(-1)!;
    fs.unlinkSync(lost);
    const now = new Date().toISOString();
    expect(await prune([], now)).toMatchObject({ remains: [], uploads: 0 });
    const done = await prune([], dropped);
    expect(done).toMatchObject({ remains: ['20260101T000000Z-00000000'], uploads: 1, removed: [] });
    expect(fs.existsSync(remains)).toBe(false);
    expect(done.notes.join()).toContain('has lost its manifest; its parts are kept');
    expect(fs.readdirSync(path.dirname(lost))).toContain('part-00000.copy.zst');
  });
});
