// What a store in a directory does when the disk is full, somebody else laid links or files there, or it may not write.
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DbopsError } from '../../../src/errors.ts';
import { openStore } from '../../../src/storage/open.ts';
import type { Store } from '../../../src/storage/store.ts';

const isRoot = process.getuid?.() === 0;
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-file-store-'));
const cleanups: (() => void)[] = [];
let root: string;
let store: Store;
let count = 0;

const at = (folder: string) => openStore({ name: 'local', url: `file://${folder}`, pathStyle: false });

beforeEach(async () => {
  count += 1;
  root = path.join(home, `case-${count}`, 'root');
  fs.mkdirSync(root, { recursive: true });
  store = await at(root);
});

afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

afterAll(() => fs.rmSync(home, { recursive: true, force: true }));

async function failure(run: Promise<unknown>): Promise<DbopsError> {
  const error: unknown = await run.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error, String(error)).toBeInstanceOf(DbopsError);
  return error as DbopsError;
}

async function keysOf(of: Store, prefix = ''): Promise<string[]> {
  const keys: string[] = [];
  for await (const object of of.list(prefix)) keys.push(object.key);
  return keys;
}

describe('a full disk', () => {
  it('fails the object with the path, leaves nothing of it, and what was there stays', async (context) => {
    const disk = path.join(home, `disk-${count}`);
    fs.mkdirSync(disk);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk], { stdio: 'ignore' });
    if (mounted.status !== 0) context.skip('a small disk cannot be mounted here');
    cleanups.push(() => spawnSync('umount', [disk]));
    fs.mkdirSync(path.join(disk, 'store'));
    const small = await at(path.join(disk, 'store'));
    await small.put('a/first', Buffer.from('kept'));
    async function* endless() {
      for (;;) yield await Promise.resolve(randomBytes(100_000));
    }
    for (const body of [endless(), randomBytes(5_000_000)]) {
      const error = await failure(small.put('a/b/second', body));
      expect(error).toMatchObject({ code: 'store_failed', exitCode: 7 });
      expect(error.message).toContain('the disk is full');
      expect(error.message).toContain(path.join(disk, 'store', 'a/b/second'));
    }
    expect(await keysOf(small)).toEqual(['a/first']);
    expect(fs.readdirSync(path.join(disk, 'store', 'a', 'b'))).toEqual([]);
    await small.put('a/b/second', Buffer.from('room again'));
    expect(await keysOf(small)).toEqual(['a/b/second', 'a/first']);
  });
});

describe('a root that is not there', () => {
  it('is not made, since its disk may not be mounted: put says how to make it', async () => {
    const disk = path.dirname(root);
    fs.rmdirSync(root);
    for (const options of [{}, { ifAbsent: true }]) {
      const error = await failure(store.put('a/b', Buffer.from('x'), options));
      expect(error).toMatchObject({ code: 'store_failed', exitCode: 7 });
      expect(error.message).toBe(`the directory ${root} of the store "local" is not there`);
      expect(error.hint).toContain('Is the disk mounted?');
      expect(error.hint).toContain(`mkdir -p -m 750 '${root}'`);
    }
    expect(fs.readdirSync(disk)).toEqual([]);
    fs.writeFileSync(root, 'a file');
    expect((await failure(store.put('b', Buffer.from('x')))).message).toContain('is not a directory');
    fs.unlinkSync(root);
    fs.mkdirSync(root);
    await store.put('a/b', Buffer.from('x'));
    // The disk goes away between two objects of one run.
    fs.rmSync(root, { recursive: true });
    expect((await failure(store.put('a/c', Buffer.from('x')))).message).toContain('is not there');
    expect(fs.readdirSync(disk)).toEqual([]);
  });
});

describe('a disk that is not mounted', () => {
  it('is told from one that holds nothing, whatever is asked', async () => {
    await store.put('a/object', Buffer.from('x'));
    fs.renameSync(root, `${root}-away`);
    const uploads = async () => {
      for await (const upload of store.listUploads('a/')) return upload;
      return undefined;
    };
    for (const run of [
      () => store.head('a/object'),
      () => store.get('a/object'),
      () => store.listFolders(''),
      () => store.delete('a/object'),
      () =>
        store.abortUpload({ key: 'a/object', id: '.upload-0123456789abcdef-object', startedAt: new Date() }),
      () => keysOf(store),
      uploads,
    ]) {
      const error = await failure(run());
      expect(error.code).toBe('store_failed');
      expect(error.message).toBe(`the directory ${root} of the store "local" is not there`);
    }
    fs.renameSync(`${root}-away`, root);
    expect(await keysOf(store)).toEqual(['a/object']);
    expect(await store.head('a/other')).toBeUndefined();
  });
});

describe('a folder', () => {
  /** The directories that are synced while something runs. */
  async function syncedBy(run: () => Promise<unknown>): Promise<string[]> {
    const handle = await fs.promises.open(root, 'r');
    const prototype = Object.getPrototypeOf(handle) as { sync: () => Promise<void> };
    await handle.close();
    const paths: string[] = [];
    const { sync } = prototype;
    prototype.sync = async function (this: fs.promises.FileHandle) {
      const opened = fs.readlinkSync(`/proc/self/fd/${String(this.fd)}`);
      if (fs.statSync(opened).isDirectory()) paths.push(path.relative(root, opened));
      await sync.call(this);
    };
    cleanups.push(() => (prototype.sync = sync));
    await run();
    prototype.sync = sync;
    return paths;
  }

  it('that a killed run had made is synced all the same, once', async (context) => {
    if (!fs.existsSync('/proc/self/fd')) context.skip('which file a descriptor means is seen in /proc only');
    fs.mkdirSync(path.join(root, 'a', 'b'), { recursive: true });
    expect(await syncedBy(() => store.put('a/b/one', Buffer.from('x')))).toEqual(['', 'a', 'a/b']);
    expect(await syncedBy(() => store.put('a/b/two', Buffer.from('x')))).toEqual(['a/b']);
    expect(await syncedBy(() => store.put('a/c/three', Buffer.from('x')))).toEqual(['a', 'a/c']);
    fs.rmSync(path.join(root, 'a', 'b'), { recursive: true });
    expect(await syncedBy(() => store.put('a/b/one', Buffer.from('x')))).toEqual(['a', 'a/b']);
  });
});

describe('a missing permission', () => {
  it('is named with the path, for writing and for reading', async (context) => {
    if (!isRoot) context.skip('changing to another user takes root');
    await store.put('a/object', Buffer.from('private'));
    fs.chmodSync(home, 0o755);
    fs.chmodSync(path.join(root, 'a', 'object'), 0o600);
    fs.chmodSync(path.join(root, 'a'), 0o755);
    fs.chmodSync(root, 0o755);
    process.seteuid?.(65_534);
    cleanups.push(() => process.seteuid?.(0));
    for (const run of [
      () => store.put('a/other', Buffer.from('x')),
      () => store.put('b/other', Buffer.from('x')),
      () => store.get('a/object'),
      () => store.delete('a/object'),
    ]) {
      const error = await failure(run());
      expect(error.code).toBe('store_denied');
      expect(error.message).toContain(root);
      expect(error.hint).toContain('the user that runs dbops');
    }
    expect(await store.head('a/object')).toMatchObject({ sizeBytes: 7 });
  });
});

describe('a symbolic link', () => {
  it('as the root is what its owner chose', async () => {
    const real = path.join(home, `real-${count}`);
    fs.mkdirSync(real);
    fs.rmdirSync(root);
    fs.symlinkSync(real, root);
    await store.put('a/b', Buffer.from('x'));
    expect(fs.readFileSync(path.join(real, 'a/b'), 'utf8')).toBe('x');
    expect(await keysOf(store)).toEqual(['a/b']);
    await store.delete('a/b');
    expect(fs.readdirSync(real)).toEqual([]);
  });

  it('below it leads nowhere', async () => {
    const outside = path.join(home, `outside-${count}`);
    fs.mkdirSync(outside);
    fs.writeFileSync(path.join(outside, 'secret'), 'secret');
    await store.put('real/object', Buffer.from('x'));
    fs.symlinkSync(outside, path.join(root, 'link'));
    fs.symlinkSync(path.join(outside, 'secret'), path.join(root, 'real', 'secret'));
    for (const run of [
      () => store.put('link/new', Buffer.from('x')),
      () => store.put('link/deep/new', Buffer.from('x')),
      () => store.get('link/secret'),
      () => store.head('link/secret'),
      () => store.delete('link/secret'),
      () => store.listFolders('link/'),
      () => store.listFolders(''),
      () => keysOf(store),
      () => keysOf(store, 'real/'),
      () => store.get('real/secret'),
    ]) {
      const error = await failure(run());
      expect(error.code).toBe('store_failed');
      expect(error.message).toContain('symbolic link');
    }
    expect(await store.head('real/secret')).toBeUndefined();
    await store.delete('real/secret');
    expect(await keysOf(store, 'real/o')).toEqual(['real/object']);
    expect(fs.readdirSync(outside)).toEqual(['secret']);
    // What is put under the name of a link replaces the link, not what it points at.
    await store.put('real/secret', Buffer.from('ours'));
    expect(fs.readFileSync(path.join(outside, 'secret'), 'utf8')).toBe('secret');
    expect((await buffer(await store.get('real/secret'))).toString()).toBe('ours');
    expect(await keysOf(store, 'real/')).toEqual(['real/object', 'real/secret']);
    // What is hidden is none of the store's.
    fs.renameSync(path.join(root, 'link'), path.join(root, '.link'));
    expect(await store.listFolders('')).toEqual(['real']);
  });
});

describe('what others did in the directory', () => {
  it('is passed over when it is not an object', async () => {
    await store.put('a/object', Buffer.from('x'));
    fs.mkdirSync(path.join(root, 'empty', 'folder'), { recursive: true });
    fs.mkdirSync(path.join(root, '.snapshot'));
    fs.writeFileSync(path.join(root, '.snapshot', 'copy'), 'x');
    fs.writeFileSync(path.join(root, 'a', '.DS_Store'), 'x');
    spawnSync('mkfifo', [path.join(root, 'a', 'pipe')]);
    expect(await keysOf(store)).toEqual(['a/object']);
    expect(await store.listFolders('')).toEqual(['a']);
    expect((await failure(store.get('a/pipe'))).code).toBe('store_missing');
    expect((await failure(store.get('a'))).code).toBe('store_missing');
  });

  it('is told when a file lies where a folder is needed', async () => {
    await store.put('a', Buffer.from('x'));
    const error = await failure(store.put('a/b', Buffer.from('x')));
    expect(error.code).toBe('store_failed');
    expect(error.hint).toContain('A file lies where a folder is needed');
    expect(await store.head('a/b')).toBeUndefined();
  });

  it('shows when a file is cut while it is read', async () => {
    await store.put('long', randomBytes(5_000_000));
    const body = await store.get('long');
    const reading = (async () => {
      let isFirst = true;
      for await (const chunk of body) {
        expect((chunk as Buffer).byteLength).toBeGreaterThan(0);
        if (isFirst) fs.truncateSync(path.join(root, 'long'), 2_000_000);
        isFirst = false;
      }
    })();
    const error = await failure(reading);
    expect(error.code).toBe('store_failed');
    expect(error.detail).toMatch(/of 5000000 bytes/);
  });
});

describe('a store that several processes use', () => {
  it('takes an object into a folder that is just being removed as empty', async () => {
    const other = await at(root);
    for (let turn = 0; turn < 60; turn += 1) {
      await store.put('f/g/old', Buffer.from('old'));
      await Promise.all([
        store.delete('f/g/old'),
        other.delete('f/g/old'),
        other.put('f/g/new', Buffer.from('new')),
      ]);
      expect(await keysOf(store)).toEqual(['f/g/new']);
      await store.delete('f/g/new');
    }
    expect(fs.readdirSync(root)).toEqual([]);
  });

  it('leaves what a killed process had begun as an unfinished upload, not as an object', async () => {
    await store.put('a/object', Buffer.from('x'));
    fs.writeFileSync(path.join(root, 'a', '.upload-0123456789abcdef-part-00000'), 'half');
    expect(await keysOf(store)).toEqual(['a/object']);
    const uploads = [];
    for await (const upload of store.listUploads('a/')) uploads.push(upload);
    expect(uploads).toMatchObject([{ key: 'a/part-00000', id: '.upload-0123456789abcdef-part-00000' }]);
    for (const id of ['object', '../../outside', '.upload-x']) {
      await store.abortUpload({ key: 'a/part-00000', id, startedAt: new Date() });
    }
    expect(await keysOf(store)).toEqual(['a/object']);
    await store.abortUpload(uploads[0]!);
    expect(fs.readdirSync(path.join(root, 'a'))).toEqual(['object']);
  });

  it('keeps files from the eyes of others', async () => {
    await store.put('a/object', Buffer.from('x'));
    expect(fs.statSync(path.join(root, 'a', 'object')).mode & 0o007).toBe(0);
    expect(fs.statSync(path.join(root, 'a')).mode & 0o007).toBe(0);
  });
});
