// The manifest of a base backup is read back out of the stored tar, of which only the end is decompressed.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, expect, it } from 'vitest';
import type { Making } from '../../../src/backup/create/maker.ts';
import { FrameStarts } from '../../../src/backup/create/physical/frames.ts';
import { readLastOfStored } from '../../../src/backup/create/physical/stored-manifest.ts';
import { makeSink } from '../../../src/backup/create/sink.ts';
import { FileStore } from '../../../src/storage/file.ts';
import { whyNoPzstd } from '../../support/physical.ts';

const missing = whyNoPzstd();
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-stored-'));
fs.mkdirSync(path.join(dir, 'store'));
const store = new FileStore('main', path.join(dir, 'store'));
const { signal } = new AbortController();
const place = 'backup/';
afterAll(async () => {
  await store.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

/** A tar of a file, and of a text that zstd makes half of. */
function tarOf(textBytes: number): { tar: Buffer; text: string } {
  const text = randomBytes(textBytes / 2).toString('hex');
  fs.writeFileSync(path.join(dir, 'table'), randomBytes(9_000_000));
  fs.writeFileSync(path.join(dir, 'list'), text);
  const args = ['--format=ustar', '-cf', '-', '-C', dir, 'table', 'list'];
  return { tar: execFileSync('tar', args, { maxBuffer: 2 ** 26 }), text };
}

/** Stores it, and says what is read of it. */
async function storeAndRead(file: string, stored: Buffer, name = 'list') {
  const sink = makeSink({ stores: [store], required: 1, onLost: () => undefined }, place, signal);
  const frames = new FrameStarts();
  const { sizeBytes } = await sink.put(
    file,
    frames.through(
      (async function* () {
        for (let at = 0; at < stored.byteLength; at += 65_536)
          yield await Promise.resolve(stored.subarray(at, at + 65_536));
      })(),
    ),
  );
  const read: number[] = [];
  const counting = {
    ...sink,
    get: async (...[key, range]: Parameters<typeof sink.get>) => {
      read.push(sizeBytes - range.start);
      return await sink.get(key, range);
    },
  };
  const making = { context: { signal }, place, sink: counting, stores: [store] } as unknown as Making;
  const found = await readLastOfStored(making, { file, sizeBytes, frames, zstd: 'zstd' }, name);
  return { text: found === undefined ? undefined : (await buffer(found)).toString(), read, sizeBytes };
}

const pzstd = (input: Buffer) =>
  execFileSync('pzstd', ['-q', '-1', '-p', '2', '-c'], { input, maxBuffer: 2 ** 26 });

it('decompresses the end alone', async (context) => {
  if (missing !== undefined) return context.skip(missing);
  const { tar, text } = tarOf(100_000);
  const found = await storeAndRead('small', pzstd(tar));
  expect(found.text).toBe(text);
  expect(Math.max(...found.read)).toBeLessThan(found.sizeBytes);
});

it('reads more where the last file is larger than that', async (context) => {
  if (missing !== undefined) return context.skip(missing);
  const { tar, text } = tarOf(12_000_000);
  const found = await storeAndRead('large', pzstd(tar));
  expect(found.text === text).toBe(true);
  expect(new Set(found.read).size).toBe(2);
});

it('reads all of what has no frames, and finds no file of another name', async () => {
  const { tar, text } = tarOf(100_000);
  const compressed = execFileSync('zstd', ['-q', '-1', '-c'], { input: tar, maxBuffer: 2 ** 26 });
  const found = await storeAndRead('one-frame', compressed);
  expect(found).toMatchObject({ text, read: [found.sizeBytes, found.sizeBytes] });
  expect((await storeAndRead('other', compressed, 'another')).text).toBeUndefined();
  expect((await storeAndRead('empty', Buffer.alloc(0))).text).toBeUndefined();
});

it('says so when what is stored cannot be decompressed', async () => {
  const { tar } = tarOf(1000);
  const compressed = execFileSync('zstd', ['-q', '-1', '-c'], { input: tar, maxBuffer: 2 ** 26 });
  compressed.writeUInt8(compressed.readUInt8(5_000_000) ^ 1, 5_000_000);
  await expect(storeAndRead('damaged', compressed)).rejects.toMatchObject({
    code: 'copy_damaged',
    message: 'backup/damaged in store "main" is damaged',
  });
});
