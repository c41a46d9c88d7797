// Files of a backup from the best of its copies: directories as stores, and zstd.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { fetchFiles, withPlain, withStored, type FetchedBackup } from '../../../src/backup/fetch.ts';
import { silentLog } from '../../../src/output/log.ts';
import { findZstd } from '../../../src/process/tools.ts';
import { FileStore } from '../../../src/storage/file.ts';

const place = 'system/backup/database/shop/20261121T000000Z-00000000/';
const plain = Buffer.from(Array.from({ length: 40_000 }, (_, line) => `${line}\t${line * 7}\n`).join(''));
const names = ['dump/toc.dat.zst', 'dump/3417.dat.zst'];

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-fetch-'));
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));
const stored = execFileSync('zstd', ['-q', '-c'], { input: plain });
const zstd = await findZstd(process.env['PATH'] ?? '');

/** A store whose objects are not files of this host, as those of S3 are not. */
class FarStore extends FileStore {
  override localPath = undefined as never;
}

let backup: FetchedBackup;
let warnings: string[];
let target: string;
beforeEach(() => {
  for (const store of ['near', 'far']) {
    for (const name of names) {
      fs.mkdirSync(path.dirname(path.join(root, store, place, name)), { recursive: true });
      fs.writeFileSync(path.join(root, store, place, name), stored);
    }
  }
  const sha256 = createHash('sha256').update(stored).digest('hex');
  backup = {
    id: '20261121T000000Z-00000000',
    place,
    manifest: { files: names.map((name) => ({ name, sizeBytes: stored.length, sha256 })) },
    stores: [new FileStore('near', path.join(root, 'near')), new FarStore('far', path.join(root, 'far'))],
  };
  warnings = [];
  target = fs.mkdtempSync(path.join(root, 'work-'));
});

const fetching = () => ({
  log: { ...silentLog, warn: (_: object, message: string) => void warnings.push(message) },
  signal: new AbortController().signal,
  zstd,
  jobs: 2,
});
const objectOf = (store: string, name = names[1]!) => path.join(root, store, place, name);
const targets = (decompressed: boolean) =>
  names.map((name) => ({ name, path: path.join(target, path.basename(name)), plain: decompressed }));
/** Whether both files are on disk with these bytes. */
const isThere = (bytes: Buffer) =>
  names.every((name) => fs.readFileSync(path.join(target, path.basename(name))).equals(bytes));
const isPlain = async (name: string) => (await withPlain(fetching(), backup, name, buffer)).equals(plain);

describe.each(['near', 'far'])('from the store "%s"', (name) => {
  beforeEach(() => (backup.stores = backup.stores.filter((store) => store.name === name)));

  it('writes files as they are stored, and decompressed', async () => {
    await fetchFiles(fetching(), backup, targets(false));
    expect(isThere(stored)).toBe(true);
    await fetchFiles(fetching(), backup, targets(true));
    expect(isThere(plain)).toBe(true);
  });

  it('hands out the plain bytes', async () => {
    expect(await isPlain(names[0]!)).toBe(true);
  });

  it('throws what the work throws, and not that its reader went away', async () => {
    const failing = withPlain(fetching(), backup, names[0]!, () => Promise.reject(new Error('mine')));
    await expect(failing).rejects.toThrow('mine');
  });

  it('says that a disk is full', async (context) => {
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', target], {
      stdio: 'ignore',
    });
    if (mounted.status !== 0) context.skip('a small disk cannot be mounted here');
    try {
      await expect(fetchFiles(fetching(), backup, targets(true))).rejects.toMatchObject({
        code: 'tool_failed',
        detail: expect.stringContaining('No space left') as string,
      });
      expect(fs.readdirSync(target)).toEqual([]);
    } finally {
      spawnSync('umount', [target]);
    }
  });
});

const flip = (file: string) => {
  const bytes = fs.readFileSync(file);
  bytes[bytes.length >> 1]! ^= 1;
  fs.writeFileSync(file, bytes);
};

describe.each<[string, (file: string) => void]>([
  ['a flipped bit', flip],
  ['a cut', (file) => fs.truncateSync(file, 100)],
  ['a file of zeros', (file) => fs.writeFileSync(file, Buffer.alloc(stored.length))],
  ['a missing file', (file) => fs.rmSync(file)],
  ['another whole file', (file) => fs.writeFileSync(file, execFileSync('zstd', ['-qc'], { input: 'other' }))],
])('%s', (_, damage) => {
  it.each([
    ['near', 'far'],
    ['far', 'near'],
  ])('in "%s": taken from "%s", and said so', async (bad, good) => {
    damage(objectOf(bad));
    backup.stores = [bad, good].map((name) => backup.stores.find((store) => store.name === name)!);
    await fetchFiles(fetching(), backup, targets(true));
    expect(isThere(plain)).toBe(true);
    expect(await isPlain(names[1]!)).toBe(true);
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toContain('3417.dat.zst');
    expect(warnings[0]).toContain(`store "${bad}"`);
  });

  it('in every copy: an error that names it, and nothing is left on disk', async () => {
    damage(objectOf('near'));
    damage(objectOf('far'));
    await expect(fetchFiles(fetching(), backup, targets(true))).rejects.toMatchObject({
      code: expect.stringMatching(/^(copy_damaged|store_missing)$/) as string,
      message: expect.stringContaining('3417.dat.zst') as string,
    });
    expect(fs.existsSync(path.join(target, '3417.dat.zst'))).toBe(false);
  });
});

it('blames the copy for a program that could not read it', async () => {
  flip(objectOf('near'));
  backup.stores = [backup.stores[0]!];
  const failing = withStored(fetching(), backup, names[1]!, () =>
    Promise.reject(new Error('the program stumbled')),
  );
  await expect(failing).rejects.toMatchObject({ code: 'copy_damaged' });
});

it('refuses a file that the manifest does not have', async () => {
  await expect(withPlain(fetching(), backup, 'other.zst', buffer)).rejects.toMatchObject({
    code: 'copy_damaged',
    message: expect.stringContaining('no file other.zst') as string,
  });
});
