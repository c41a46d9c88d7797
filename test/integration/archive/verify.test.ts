import fs from 'node:fs';
import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sampleOf } from '../../../src/archive/verify/targets.ts';
import { createArchiveSite, type ArchiveSite } from '../../support/archive.ts';
import { runDbops } from '../../support/cli.ts';
import { startS3, whyNoS3, type S3Server } from '../../support/s3.ts';

interface Finding {
  store: string;
  object: string;
  problem: string;
  good: string[];
}
interface Verified {
  archives: { id: string; rows: number; bytesRead: number; findings: Finding[] }[];
}

const withS3 = whyNoS3() === undefined;
let s3: S3Server | undefined;
let site: ArchiveSite;
beforeAll(async () => {
  s3 = withS3 ? await startS3() : undefined;
  site = await createArchiveSite('verify', {
    stores: s3 === undefined ? ['local', 'second'] : ['local'],
    file: `${s3?.yaml('second') ?? ''}archive: { verify: digest }\n`,
  });
  const result = await site.run(['archive', 'run']);
  expect(result.code, result.stderr).toBe(0);
});
afterAll(async () => {
  await site.db.drop();
  await s3?.stop();
});

const verify = (args: string[], code = 0) =>
  site.json<Verified>(['archive', 'verify', ...args], undefined, code);
const findings = (data: Verified) => data.archives.flatMap((item) => item.findings);

/** Changes a file of the local store for one check, and puts it back. */
async function spoiled(
  file: string,
  change: (bytes: Buffer) => Buffer | undefined,
  check: () => Promise<void>,
) {
  const bytes = fs.readFileSync(file);
  const changed = change(Buffer.from(bytes));
  if (changed === undefined) fs.unlinkSync(file);
  else fs.writeFileSync(file, changed);
  await check();
  fs.writeFileSync(file, bytes);
}
const flipped = (bytes: Buffer) => {
  const at = Math.floor(bytes.length / 2);
  bytes[at] = bytes[at]! ^ 1;
  return bytes;
};

describe('archive verify', () => {
  it('reads every byte of every copy', async () => {
    const whole = await verify(['--all', '--level', 'digest']);
    expect(whole.archives).toHaveLength(3);
    expect(findings(whole)).toEqual([]);
    const parts = site.files('local', '.zst').map((file) => fs.statSync(file).size);
    const least = 2 * parts.reduce((sum, size) => sum + size, 0);
    expect(whole.archives.reduce((sum, item) => sum + item.bytesRead, 0)).toBeGreaterThan(least);
    const { stdout } = await site.run(['archive', 'verify', '--all', '--level', 'manifest']);
    expect(stdout).toBe('3 archives with 600 rows looked at, 0 B read: all is as it was written\n');
  });

  it('names what is wrong, and the good copy', async () => {
    await spoiled(site.files('local', '.zst')[0]!, flipped, async () => {
      // The length is right, so that only reading it tells.
      expect(findings(await verify(['--all', '--level', 'manifest']))).toEqual([]);
      const found = findings(await verify(['--all'], 6));
      expect(found).toMatchObject([{ store: 'local', good: ['second'] }]);
      expect(found[0]!.problem).toMatch(/sha256|zstd cannot read it/);
    });
    await spoiled(
      site.files('local', 'schema.sql')[1]!,
      (bytes) => Buffer.concat([bytes, Buffer.from('-- x\n')]),
      async () =>
        expect(findings(await verify(['--all', '--level', 'manifest'], 6))).toMatchObject([
          { store: 'local', object: expect.stringContaining('schema.sql') as string, good: ['second'] },
        ]),
    );
    await spoiled(
      site.files('local', '.zst')[2]!,
      () => undefined,
      async () => {
        const { stdout, code } = await site.run(['archive', 'verify', '--all']);
        expect(code).toBe(6);
        expect(stdout).toMatch(/part-00000\.copy\.zst +it is missing +second/);
      },
    );
  });

  it('compares the manifests of the copies with each other', async () => {
    const change = (bytes: Buffer) => Buffer.from(bytes.toString().replace('"rows": 200', '"rows": 201'));
    await spoiled(site.files('local', 'manifest.json')[0]!, change, async () => {
      const found = findings(await verify(['--all', '--level', 'manifest'], 6));
      expect(found.map((item) => [item.store, item.good])).toEqual([
        ['local', []],
        ['second', []],
      ]);
      expect(found[0]!.problem).toContain('differ');
    });
  });

  it('misses copies that the ledger has, and does without a ledger', async () => {
    await spoiled(
      site.files('local', 'manifest.json')[0]!,
      () => undefined,
      async () => {
        expect(findings(await verify(['--all', '--level', 'manifest'], 6))).toMatchObject([
          { store: 'local', good: ['second'] },
        ]);
      },
    );
    const away = { cwd: site.work.dir, env: { DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none' } };
    const { code, stderr } = await runDbops(['archive', 'verify', '--all'], away);
    expect([code, stderr]).toEqual([0, expect.stringContaining('copies that are missing cannot be told')]);
  });

  it('takes a sample that hangs on the date', async () => {
    const { code, stderr, stdout } = await site.run(['archive', 'verify', '--sample', '34%']);
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('a sample of 2 of 3 archives, seed 2026-11-21');
    expect(stdout).toContain('2 archives with 400 rows');
    const items = Array.from({ length: 100 }, (_, index) => ({ id: `a${String(index)}` }));
    expect(sampleOf(items, 0.05, 'monday')).toEqual(sampleOf(items, 0.05, 'monday'));
    expect(sampleOf(items, 0.05, 'monday')).not.toEqual(sampleOf(items, 0.05, 'tuesday'));
    expect(sampleOf(items, 0.001, 'monday')).toHaveLength(1);
  });

  it.each([
    [['--sample', '5'], 2, '--sample is a share such as 5%'],
    [['--sample', '0%'], 2, '--sample is a share such as 5%'],
    [['--all', '--level', 'deep'], 2, '--level is manifest, bytes, digest'],
    [[], 2, 'name archives, or give --all'],
    [['nothing'], 2, 'there is no archive "nothing"'],
    [['20'], 2, '3 archives have an id that begins with "20"'],
    [['--all', '--store', 'moon'], 2, 'there is no store "moon"'],
  ])('refuses %j', async (args, code, message) => {
    const result = await site.run(['archive', 'verify', ...args]);
    expect([result.code, result.stderr]).toEqual([code, expect.stringContaining(message)]);
  });
});

it('holds and prunes in a bucket as in a directory', async (context) => {
  if (s3 === undefined) return context.skip(whyNoS3());
  const { client, bucket } = s3;
  const keys = async () => {
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }));
    return Contents.map((item) => item.Key ?? '');
  };
  await site.json(['archive', 'run'], '2026-12-05T12:00:00Z');
  const may = (await keys()).find((key) => key.includes('/events_5/') && key.endsWith('manifest.json'))!;
  const id = may.split('/').at(-2)!;
  await site.json(['archive', 'hold', id, '--reason', 'case 4711']);
  expect(await keys()).toContain(may.replace('manifest.json', 'hold.json'));
  const first = await site.run(['archive', 'prune'], '2029-01-01T00:00:00Z');
  expect(first.code, first.stderr).toBe(0);
  expect((await keys()).filter((key) => /events_[67]/.test(key))).toEqual([]);
  expect(await keys()).toContain(may);
  await site.json(['archive', 'release', id, '--reason', 'closed', '--yes']);
  await site.json(['archive', 'prune'], '2029-01-01T00:00:00Z');
  expect((await keys()).filter((key) => key.includes('/events_5/'))).toEqual([]);
});
