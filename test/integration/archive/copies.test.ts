import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createArchiveSite, type ArchiveSite } from '../../support/archive.ts';

const later = '2026-12-05T12:00:00Z';
const both = 'archive: { required: 1 }\n';

let site: ArchiveSite;
beforeAll(async () => {
  site = await createArchiveSite('copies', { stores: ['local'], file: both });
  await site.json(['archive', 'run', '--max', '2']);
});
afterAll(() => site.db.drop());

const stores = async () =>
  (
    await site.db.query<{ stores: string[] }>(
      "select stores from dbops.archive where state <> 'failed' order by id",
    )
  ).map((row) => row.stores.join());

it('gives every archive the copies that it lacks, with its hold, and shows them in the dry run', async () => {
  const held = site.files('local', 'manifest.json')[0]!;
  const id = path.basename(path.dirname(held));
  await site.json(['archive', 'hold', id, '--reason', 'case 4711']);
  site.configure({ file: both });
  const dry = await site.run(['archive', 'run', '--until', 'verified', '--max', '1', '--dry-run']);
  expect(dry.stdout).toContain(`-- copy archive ${id} from local to offsite`);

  // The disk of the store is not mounted: one copy is enough here, so the run goes on and says so.
  fs.rmdirSync(site.folder('offsite'));
  const failed = await site.run(['archive', 'run', '--until', 'verified', '--max', '1']);
  expect(failed.stderr).toContain(`archive ${id} has no copy in "offsite" still`);
  expect(new Set(await stores())).toEqual(new Set(['local']));
  fs.mkdirSync(site.folder('offsite'));

  const { code, stderr, stdout } = await site.run(['archive', 'run', '--until', 'verified', '--max', '1']);
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(new RegExp(`${id} .*local, offsite +copied`));
  expect(new Set(await stores())).toEqual(new Set(['local,offsite']));
  const copied = site.files('offsite', 'manifest.json').find((file) => file.includes(id))!;
  expect(fs.readFileSync(copied)).toEqual(fs.readFileSync(held));
  expect(fs.readdirSync(path.dirname(copied)).sort()).toEqual(fs.readdirSync(path.dirname(held)).sort());
  const verified = await site.run(['archive', 'verify', '--all', '--level', 'digest']);
  expect(verified.code, verified.stdout).toBe(0);
  expect(
    (await site.run(['archive', 'run', '--until', 'verified', '--max', '1', '--dry-run'])).stdout,
  ).not.toContain('-- copy archive');
});

it('lets nothing go whose required copy cannot be made', async () => {
  const damaged = site.files('offsite', 'manifest.json').at(-1)!;
  const id = path.basename(path.dirname(damaged));
  fs.rmSync(path.dirname(damaged), { recursive: true });
  await site.db.query("update dbops.archive set stores = '{local}' where id = $1", [id]);
  fs.unlinkSync(site.files('local', '.zst').find((file) => file.includes(id))!);
  site.configure({});
  const { code, stderr } = await site.run(['archive', 'run', '--until', 'verified', '--max', '1'], later);
  expect([code, stderr]).toEqual([
    7,
    expect.stringContaining(`archive ${id} is whole in none of its stores`),
  ]);
});
