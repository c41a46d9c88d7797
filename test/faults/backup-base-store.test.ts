// A bucket that answers wrongly, hangs, breaks off or loses a part while a base backup is stored in it: nothing is left that
// a listing would show, a passing trouble is passed over, and what was made is whole.
import { execFileSync } from 'node:child_process';
import { buffer } from 'node:stream/consumers';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createWithStores } from '../support/backup-job.ts';
import {
  internalError,
  slowDown,
  storageFull,
  type Fault,
  type ProxiedRequest,
} from '../support/fault-proxy.ts';
import { quick, startFaultyBucket, type FaultyBucket } from '../support/faulty-bucket.ts';
import {
  startSite,
  verifyUnpacked,
  whyNoBasebackup,
  unpack,
  type PhysicalSite,
} from '../support/physical.ts';
import { whyNoS3 } from '../support/s3.ts';

const missing = whyNoBasebackup() ?? whyNoS3();

let site: PhysicalSite;
let faulty: FaultyBucket;
let proxy: FaultyBucket['proxy'];
let bucket: FaultyBucket['bucket'];
let disturb: FaultyBucket['disturb'];

beforeAll(async () => {
  if (missing !== undefined) return;
  site = await startSite();
  faulty = await startFaultyBucket();
  ({ proxy, bucket, disturb } = faulty);
  site.configure(`stores:\n${faulty.yaml}`);
  // zstd makes half of it: three parts of an upload.
  await site.db.query('create table bulk as select md5(i::text) as t from generate_series(1, 400000) as i');
});
afterAll(async () => {
  await faulty?.stop();
});

beforeEach(async (context) => {
  if (missing !== undefined) return context.skip(missing);
  await faulty.empty();
});

async function stored(): Promise<string[]> {
  const keys: string[] = [];
  for await (const object of bucket.list('')) keys.push(path.basename(object.key));
  for await (const upload of bucket.listUploads('')) keys.push(`unfinished ${path.basename(upload.key)}`);
  return keys;
}

const isTar = (request: ProxiedRequest) => request.key.endsWith('.tar.zst');
const isPart = (request: ProxiedRequest) => isTar(request) && request.verb === 'UploadPart';

/** Fetches the backup and lets PostgreSQL look at it. */
async function expectWhole(): Promise<void> {
  const { made, error } = await createWithStores(site, 'base', quick);
  expect(error).toBeUndefined();
  const folder = path.join(site.dir, 'fetched', made!.id);
  fs.mkdirSync(folder, { recursive: true });
  for (const { name } of made!.manifest.files)
    fs.writeFileSync(path.join(folder, name), await buffer(await bucket.get(`${made!.place}${name}`)));
  const data = unpack({ folder, manifest: made!.manifest });
  expect(verifyUnpacked(data, site.server)).toMatchObject({ code: 0 });
  expect(await stored()).toEqual(['backup_manifest', 'base.tar.zst', 'manifest.json', 'cluster.json']);
}

it.each([
  ['answers 500', isPart, internalError],
  ['is full', isPart, storageFull],
  ['hangs', isPart, { kind: 'hang' }],
  ['breaks off', isPart, { kind: 'cut-request', afterBytes: 100_000 }],
  ['loses a part', (request: ProxiedRequest) => request.query.get('partNumber') === '1', { kind: 'lose' }],
  [
    'takes no list of files',
    (request: ProxiedRequest) => request.key.endsWith('backup_manifest') && request.method === 'PUT',
    internalError,
  ],
  [
    'takes no manifest',
    (request: ProxiedRequest) => request.key.endsWith('/manifest.json') && request.method === 'PUT',
    internalError,
  ],
] as [string, (request: ProxiedRequest) => boolean, Fault][])(
  'a bucket that %s',
  async (_, isMeant, fault) => {
    disturb(isMeant, fault);
    const { error } = await createWithStores(site, 'base', quick);
    expect(error).toMatchObject({ exitCode: 7, code: expect.stringMatching(/^store_/) as string });
    proxy.decide(undefined);
    // What could not be taken away while it was disturbed is not shown as a backup.
    expect((await stored()).filter((name) => name === 'manifest.json' || name === 'lease.json')).toEqual([]);
  },
);

it.each([
  ['is busy for a moment', isPart, slowDown, 2],
  ['breaks off once', isPart, { kind: 'cut-request', afterBytes: 100_000 }, 1],
  ['loses an answer', isPart, { kind: 'lose-answer' }, 1],
] as [string, (request: ProxiedRequest) => boolean, Fault, number][])(
  'a bucket that %s: the backup is whole',
  async (_, isMeant, fault, times) => {
    disturb(isMeant, fault, times);
    await expectWhole();
  },
);

it('its lease is given back when the manifest is there, and not before', async () => {
  site.configure(`stores:\n${faulty.yaml}`);
  const asked: string[] = [];
  proxy.decide(({ method, key }) => void asked.push(`${method} ${path.basename(key)}`));
  await expectWhole();
  expect(asked.indexOf('PUT lease.json')).toBeGreaterThan(-1);
  expect(asked.indexOf('DELETE lease.json')).toBeGreaterThan(asked.lastIndexOf('PUT manifest.json'));
});

const isRead = (request: ProxiedRequest) => isTar(request) && request.verb === 'GetObject';

it.each([
  ['breaks off', isPart, internalError],
  ['cannot be read', isRead, internalError],
  ['is read with a wrong byte', isRead, { kind: 'alter', atByte: 5000 }],
] as [string, (request: ProxiedRequest) => boolean, Fault][])(
  'a first copy that %s, where one is enough: the other one is whole',
  async (_, isMeant, fault) => {
    const near = fs.mkdtempSync(path.join(site.dir, 'near-'));
    site.configure(
      `stores:\n  near: { url: "file://${near}" }\n${faulty.yaml}backup: { copies: [cold, near], required: 1 }\n`,
    );
    disturb(isMeant, fault);
    const { made, error } = await createWithStores(site, 'base', quick);
    expect(error).toBeUndefined();
    expect(made?.stores).toEqual(['near']);
    const folder = path.join(near, made!.place);
    execFileSync('zstd', ['-q', '-t', path.join(folder, 'base.tar.zst')]);
    expect(verifyUnpacked(unpack({ folder, manifest: made!.manifest }), site.server)).toMatchObject({
      code: 0,
    });
  },
);
