// What a base backup is read back with: where the frames of pzstd begin, and where a tar keeps its last file.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, describe, expect, it } from 'vitest';
import { FrameStarts } from '../../../src/backup/create/physical/frames.ts';
import { findLastMember, readMember } from '../../../src/backup/create/physical/tar-member.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-tar-'));
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

function inChunks(bytes: Buffer, size: number): AsyncIterable<Uint8Array> {
  return (async function* () {
    for (let at = 0; at < bytes.byteLength; at += size)
      yield await Promise.resolve(bytes.subarray(at, at + size));
  })();
}

function frame(body: string): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt32LE(0x184d2a50, 0);
  head.writeUInt32LE(4, 4);
  head.writeUInt32LE(Buffer.byteLength(body), 8);
  return Buffer.concat([head, Buffer.from(body)]);
}

async function startsIn(bytes: Buffer, size: number): Promise<FrameStarts> {
  const frames = new FrameStarts();
  expect(await buffer(frames.through(inChunks(bytes, size)))).toEqual(bytes);
  return frames;
}

describe('the frames of pzstd', () => {
  const bytes = Buffer.concat([frame('one'), frame(''), frame('the third one'), frame('4')]);

  it.each([1, 5, 12, 13, 1000])('are found in chunks of %i bytes', async (size) => {
    const frames = await startsIn(bytes, size);
    expect([1, 2, 3, 4, 5].map((count) => frames.startOfLast(count))).toEqual([52, 27, 15, 0, 0]);
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['what zstd writes', Buffer.from('28b52ffd0458190000', 'hex')],
    ['a frame that others follow which are not', Buffer.concat([bytes, Buffer.alloc(500, 'x')])],
    [
      'a skippable frame of somebody else',
      Buffer.concat([bytes, Buffer.from('502a4d180800000000000000', 'hex')]),
    ],
  ])('of %s are none', async (_, other) => {
    expect((await startsIn(other, 7)).startOfLast(1)).toBe(0);
  });
});

function tarOf(files: [name: string, bytes: Buffer | string][]): Buffer {
  const folder = fs.mkdtempSync(path.join(dir, 'files-'));
  for (const [name, bytes] of files) fs.writeFileSync(path.join(folder, name), bytes);
  return execFileSync('tar', ['--format=ustar', '-cf', '-', '-C', folder, ...files.map(([name]) => name)], {
    maxBuffer: 2 ** 25,
  });
}

describe('the last file of a tar', () => {
  const wanted = '{ "list": "of files" }\n'.repeat(100);
  const inner = tarOf([['backup_manifest', 'an older one']]);
  const tar = tarOf([
    ['table', Buffer.alloc(20_000, 'b')],
    ['base.tar', inner],
    ['backup_manifest', wanted],
  ]);
  const find = (bytes: Buffer, size = 1000) => findLastMember(inChunks(bytes, size), 'backup_manifest');

  it.each([1, 511, 512, 10_000, 1_000_000])('is found in chunks of %i bytes, and read', async (size) => {
    const place = await find(tar, size);
    expect(place?.sizeBytes).toBe(wanted.length);
    expect((await buffer(readMember(inChunks(tar, size), place!))).toString()).toBe(wanted);
  });

  it('is found in the end of one, which begins in the middle of another file', async () => {
    const end = tar.subarray(10 * 512);
    const place = await find(end);
    expect((await buffer(readMember(inChunks(end, 100), place!))).toString()).toBe(wanted);
  });

  it('is not there when the end is cut off, or another file is the last one', async () => {
    const { offset } = (await find(tar))!;
    expect(await find(tar.subarray(0, offset + wanted.length - 1))).toBeUndefined();
    expect(await find(tar.subarray(0, offset - 512))).not.toMatchObject({ offset });
    expect(await find(tarOf([['table', 'x']]))).toBeUndefined();
    expect(await find(Buffer.alloc(0))).toBeUndefined();
  });

  it('is no block that begins with its name alone', async () => {
    const block = Buffer.alloc(512);
    block.write('backup_manifest\0');
    expect(await find(Buffer.concat([block, Buffer.alloc(1024)]))).toBeUndefined();
    block.write('ustar\0', 257);
    block.write('0000012\0', 124);
    expect(await find(Buffer.concat([block, Buffer.alloc(1024)]))).toBeUndefined();
  });
});
