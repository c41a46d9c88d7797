import fs from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { manifestJsonSchema } from '../../../src/archive/manifest.ts';
import { createArchiveSite, type ArchiveSite } from '../../support/archive.ts';
import { runDbops } from '../../support/cli.ts';

interface Line {
  id: string;
  partition: { name: string };
  rows: number | null;
  state: string;
  hold: string | null;
  expiresAt: string | null;
  copies: { store: string; problem: string | null }[];
}
interface Listed {
  archives: Line[];
  differences: string[];
  changes: number;
}

let site: ArchiveSite;
beforeAll(async () => {
  site = await createArchiveSite('list');
  const result = await site.run(['archive', 'run', '--max', '2']);
  expect(result.code, result.stderr).toBe(0);
});
afterAll(() => site.db.drop());

const ledger = () =>
  site.db.query(
    'select id, state, stores, row_count::int, place, hold from dbops.archive order by partition_name',
  );
const list = (args: string[] = [], now?: string) =>
  site.json<Listed>(['archive', 'list', ...args], now).then((data) => data.archives);

describe('archive list', () => {
  it('says where each archive is and what became of its partition', async () => {
    await site.json(['archive', 'run', '--partition', 'events_9', '--until', 'verified']);
    const lines = await list();
    expect(lines.map((line) => [line.partition.name, line.rows, line.state, line.expiresAt])).toEqual([
      ['events_5', 200, 'in quarantine until 2026-11-28', '2028-06-01T00:00:00.000Z'],
      ['events_6', 200, 'in quarantine until 2026-11-28', '2028-07-01T00:00:00.000Z'],
      ['events_9', 200, 'attached still', '2028-10-01T00:00:00.000Z'],
    ]);
    expect(lines.flatMap((line) => line.copies.map((copy) => copy.store))).toEqual([
      'local',
      'offsite',
      'local',
      'offsite',
      'local',
      'offsite',
    ]);
    await site.json(['archive', 'run', '--max', '2'], '2026-12-05T12:00:00Z');
    const later = await list(['public.events']);
    expect(later[0]).toMatchObject({ partition: { name: 'events_5' }, state: 'only in the store' });
    const { stdout } = await site.run(['archive', 'list']);
    expect(stdout).toMatch(/only in the store +2028-06-01/);
  });

  it('refuses tables that nobody knows, stores that are none, and flags that mean nothing here', async () => {
    const unknown = await site.run(['archive', 'list', 'public.nothing']);
    expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining('no archive is of table')]);
    expect((await site.run(['archive', 'list', '--rebuild', '--store', 'moon'])).code).toBe(2);
    expect((await site.run(['archive', 'list', '--database', 'x'])).code).toBe(2);
  });
});

describe('archive list --rebuild', () => {
  it('needs nothing but the store', async () => {
    const env = { DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none' };
    const result = await runDbops(['archive', 'list', '--rebuild', '--json'], { cwd: site.work.dir, env });
    expect(result.code, result.stderr).toBe(0);
    const { data, warnings } = JSON.parse(result.stdout) as { data: Listed; warnings: string[] };
    expect(data.archives.map((line) => line.partition.name)).toContain('events_5');
    expect(warnings.join()).toContain('the ledger was not compared');
    const narrowed = await runDbops(
      ['archive', 'list', '--rebuild', '--database', 'another', '--store', 'offsite'],
      { cwd: site.work.dir, env },
    );
    expect(narrowed.stdout).toBe('there is no archive in these stores\n');
  });

  it('brings a ledger back that was lost, and finds nothing to do the second time', async () => {
    const before = await ledger();
    await site.db.query('delete from dbops.archive');
    const planned = await site.run(['archive', 'list', '--rebuild', '--dry-run']);
    expect(planned.stdout).toContain('insert into dbops.archive');
    expect(await ledger()).toEqual([]);
    const rebuilt = await site.json<Listed>(['archive', 'list', '--rebuild']);
    expect(rebuilt.changes).toBe(before.length);
    // Nothing is said to be proven against its partition that was not looked at again.
    expect(await ledger()).toEqual(before.map((row) => ({ ...row, state: 'verified' })));
    expect(await site.json<Listed>(['archive', 'list', '--rebuild'])).toMatchObject({
      changes: 0,
      differences: [],
    });
    const next = await site.run(['archive', 'run'], '2026-12-05T12:00:00Z');
    expect(next.code, next.stderr).toBe(0);
  });

  it('tells a damaged and a newer manifest as lines, and goes on', async () => {
    const [damaged = '', newer = ''] = site.files('offsite', 'manifest.json');
    const texts = [damaged, newer].map((file) => fs.readFileSync(file, 'utf8'));
    fs.writeFileSync(damaged, texts[0]!.slice(0, 100));
    fs.writeFileSync(newer, texts[1]!.replace('"formatVersion": 1', '"formatVersion": 9'));
    const { archives: found, differences } = await site.json<Listed>(['archive', 'list', '--rebuild']);
    // Two ids of the same second come in any order.
    const archives = found.sort((a, b) => a.partition.name.localeCompare(b.partition.name));
    expect(archives[0]!.copies[1]!.problem).toContain('is not a manifest that can be read');
    expect(archives[1]!.copies[1]!.problem).toContain('format version 9');
    expect(archives[0]!.state).toBe('one copy is damaged');
    expect(differences.join('\n')).toMatch(/no manifest that can be read in offsite/);
    expect((await list())[0]!.copies.map((copy) => copy.store)).toEqual(['local']);
    fs.writeFileSync(damaged, texts[0]!);
    fs.writeFileSync(newer, texts[1]!);
    await site.json(['archive', 'list', '--rebuild']);
    expect((await list())[0]!.copies.map((copy) => copy.store)).toEqual(['local', 'offsite']);
  });

  it('takes back what was given up and is there, and leaves a removal that was begun to prune', async () => {
    const before = await ledger();
    await site.db.query(
      "update dbops.archive set state = 'failed', stores = '{}' where partition_name = 'events_5'",
    );
    await site.db.query("update dbops.archive set state = 'expired' where partition_name = 'events_6'");
    const { differences, changes } = await site.json<Listed>(['archive', 'list', '--rebuild']);
    expect(changes).toBe(1);
    expect(differences.join('\n')).toContain('had it as failed');
    expect(differences.join('\n')).toMatch(/the removal of archive .* was begun/);
    const states = await site.db.query('select state from dbops.archive order by partition_name limit 2');
    expect(states).toEqual([{ state: 'verified' }, { state: 'expired' }]);
    await site.db.query(
      `update dbops.archive set state = 'proven' where partition_name in ('events_5', 'events_6')`,
    );
    expect((await ledger()).map((row) => row['stores'] as string[])).toEqual(
      before.map((row) => row['stores'] as string[]),
    );
  });

  it('takes a store that shows nothing at all for one that is not mounted', async () => {
    const before = await ledger();
    const folders = ['local', 'offsite'].map(site.folder);
    for (const folder of folders) fs.renameSync(folder, `${folder}-away`);
    const refused = await site.run(['archive', 'list', '--rebuild']);
    expect([refused.code, refused.stderr]).toEqual([7, expect.stringContaining('is not there')]);
    expect(await ledger()).toEqual(before);
    // The directory that a disk is mounted on is there without the disk, too.
    for (const folder of folders) fs.mkdirSync(folder);
    const { archives, changes, differences } = await site.json<Listed>(['archive', 'list', '--rebuild']);
    expect([archives, changes]).toEqual([[], 0]);
    expect(differences).toHaveLength(before.length);
    for (const folder of folders) {
      fs.rmdirSync(folder);
      fs.renameSync(`${folder}-away`, folder);
    }
    expect(await ledger()).toEqual(before);
  });
});

describe('archive show', () => {
  it('shows everything of one, by the beginning of its id, and the manifest itself', async () => {
    const [first] = await list();
    const { code, stdout } = await site.run(['archive', 'show', first!.id]);
    expect(code).toBe(0);
    for (const text of ['public.events_5', 'part-00000.copy.zst', 'offsite', 'timestamp with time zone'])
      expect(stdout).toContain(text);
    const manifest = await site.json<{ id: string; rows: number }>(['archive', 'show', first!.id]);
    expect(manifest).toMatchObject({ id: first!.id, rows: 200, formatVersion: 1 });
  });

  it('refuses what is not there, and what begins several', async () => {
    const missing = await site.run(['archive', 'show', 'nothing']);
    expect([missing.code, missing.stderr]).toEqual([2, expect.stringContaining('there is no archive')]);
    const several = await site.run(['archive', 'show', '20']);
    expect([several.code, several.stderr]).toEqual([2, expect.stringContaining('Give more of the id')]);
  });
});

it('archive schema prints the schema of the manifest', async () => {
  const { stdout } = await runDbops(['archive', 'schema']);
  expect(JSON.parse(stdout)).toEqual(manifestJsonSchema());
});
