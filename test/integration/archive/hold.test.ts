import fs from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createArchiveSite, type ArchiveSite } from '../../support/archive.ts';
import { runDbops } from '../../support/cli.ts';

let site: ArchiveSite;
let id: string;
beforeAll(async () => {
  site = await createArchiveSite('hold');
  const result = await site.json<{ partitions: { archive: string }[] }>([
    'archive',
    'run',
    '--partition',
    'events_5',
    '--until',
    'verified',
  ]);
  id = result.partitions[0]!.archive;
});
afterAll(() => site.db.drop());

const inLedger = async () =>
  (await site.db.query<{ hold: string | null }>('select hold from dbops.archive where id = $1', [id]))[0]!
    .hold;
const files = (ending: string) => [...site.files('local', ending), ...site.files('offsite', ending)];

describe('archive hold and release', () => {
  it('holds every copy, with who, when and why, and tells the ledger', async () => {
    const dry = await site.run(['archive', 'hold', id, '--reason', 'case 4711', '--dry-run']);
    expect([dry.code, dry.stdout]).toEqual([0, expect.stringContaining('update dbops.archive set hold')]);
    expect(files('hold.json')).toEqual([]);
    const { code, stderr } = await site.run(['archive', 'hold', id, '--reason', 'case 4711']);
    expect(code, stderr).toBe(0);
    expect(files('hold.json')).toHaveLength(2);
    const file = JSON.parse(fs.readFileSync(files('hold.json')[0]!, 'utf8')) as { entries: unknown[] };
    expect(file.entries).toMatchObject([
      { action: 'hold', reason: 'case 4711', host: expect.any(String) as string },
    ]);
    expect(await inLedger()).toBe('case 4711');
    expect((await site.run(['archive', 'list'])).stdout).toContain('case 4711');
  });

  it('refuses a second hold, and gives a copy that lost it the first one back', async () => {
    const again = await site.run(['archive', 'hold', id, '--reason', 'other']);
    expect([again.code, again.stderr]).toEqual([4, expect.stringContaining('is held already')]);
    fs.unlinkSync(site.files('offsite', 'hold.json')[0]!);
    expect((await site.run(['archive', 'hold', id, '--reason', 'other'])).code).toBe(0);
    expect(fs.readFileSync(site.files('offsite', 'hold.json')[0]!, 'utf8')).toContain('case 4711');
  });

  it('keeps a held copy that was overtaken, even if the ledger forgot the hold', async () => {
    await site.db.query('update dbops.archive set hold = null');
    await site.db.query("insert into events values (1, '2026-05-03', 'late')");
    const result = await site.run(['archive', 'run', '--partition', 'events_5', '--until', 'verified']);
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).toContain(`archive ${id}, which was overtaken, is kept: held since`);
    expect(files('manifest.json')).toHaveLength(4);
    await site.json(['archive', 'list', '--rebuild']);
    expect(await inLedger()).toBe('case 4711');
  });

  it('releases when it is told to, and remembers both', async () => {
    const unasked = await site.run(['archive', 'release', id, '--reason', 'closed']);
    expect([unasked.code, unasked.stderr]).toEqual([4, expect.stringContaining('--yes')]);
    const { code, stderr } = await site.run(['archive', 'release', id, '--reason', 'closed', '--yes']);
    expect(code, stderr).toBe(0);
    expect(files('hold.json')).toEqual([]);
    expect(await inLedger()).toBeNull();
    const { stdout } = await site.run(['archive', 'show', id]);
    expect(stdout).toMatch(/hold .*case 4711\nrelease .*closed/);
    const none = await site.run(['archive', 'release', id, '--reason', 'closed', '--yes']);
    expect([none.code, none.stdout]).toEqual([0, `archive ${id} is not held\n`]);
  });

  it('needs no database, and a reason', async () => {
    const away = { cwd: site.work.dir, env: { DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none' } };
    const held = await runDbops(['archive', 'hold', id, '--reason', 'audit'], away);
    expect([held.code, held.stderr]).toEqual([0, expect.stringContaining('the ledger does not know of it')]);
    expect(files('hold.json')).toHaveLength(2);
    const mute = await site.run(['archive', 'hold', id]);
    expect([mute.code, mute.stderr]).toEqual([2, expect.stringContaining('a hold needs a reason')]);
  });

  it('holds the copies that can be reached, and says which cannot', async () => {
    expect((await site.run(['archive', 'release', id, '--reason', 'x', '--yes'])).code).toBe(0);
    const damaged = site.files('offsite', 'manifest.json')[0]!;
    const text = fs.readFileSync(damaged, 'utf8');
    fs.writeFileSync(damaged, '{');
    const { code, stderr } = await site.run(['archive', 'hold', id, '--reason', 'case 4712']);
    expect([code, stderr]).toEqual([7, expect.stringContaining('is not a manifest that can be read')]);
    expect(site.files('local', 'hold.json')).toHaveLength(1);
    expect(await inLedger()).toBe('case 4712');
    fs.writeFileSync(damaged, text);
  });
});
