// What a store at S3 does when the server or the network fails. The server is real, the faults are a proxy's.
import { createHash, randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { StoreSettings } from '../../../src/config/stores.ts';
import { DbopsError } from '../../../src/errors.ts';
import { openStore, type StoreOptions } from '../../../src/storage/open.ts';
import type { Store } from '../../../src/storage/store.ts';
import {
  accessDenied,
  internalError,
  slowDown,
  startFaultProxy,
  storageFull,
  type FaultProxy,
} from '../../support/fault-proxy.ts';
import { startS3, whyNoS3, type S3Server } from '../../support/s3.ts';

const noS3 = whyNoS3();
const mebibyte = 1024 * 1024;
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const quick: StoreOptions = { partSizeBytes: 5 * mebibyte, retryDelayMs: 5, idleTimeoutMs: 1500 };
/** Three parts. */
const large = randomBytes(12 * mebibyte);

let server: S3Server;
let proxy: FaultProxy;
let store: Store;
let key: string;
let count = 0;
const opened: Store[] = [];

async function open(over: Partial<StoreSettings> = {}, options: StoreOptions = quick): Promise<Store> {
  const made = await openStore(server.settings({ endpoint: proxy.endpoint, ...over }), options);
  opened.push(made);
  return made;
}

beforeAll(async () => {
  if (noS3 !== undefined) return;
  server = await startS3();
  proxy = await startFaultProxy(server.endpoint);
  store = await open();
});

afterAll(async () => {
  for (const made of opened) await made.close();
  await proxy?.stop();
  await server?.stop();
});

beforeEach((context) => {
  if (noS3 !== undefined) context.skip(noS3);
  proxy.decide(undefined);
  proxy.forget();
  count += 1;
  key = `case-${count}/object`;
});

async function failure(run: Promise<unknown>): Promise<DbopsError> {
  const error: unknown = await run.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error, String(error)).toBeInstanceOf(DbopsError);
  return error as DbopsError;
}

/** Disturbs the first so many requests of a kind. */
function first(times: number, verb: string, fault: Parameters<typeof proxy.decide>[0] & object): void {
  let left = times;
  proxy.decide((request) => {
    if (request.verb !== verb || left === 0) return undefined;
    left -= 1;
    return fault(request);
  });
}

async function expectNothing(): Promise<void> {
  proxy.decide(undefined);
  expect(await store.head(key)).toBeUndefined();
  for await (const upload of store.listUploads(key)) expect.fail(`an upload was left: ${upload.id}`);
}

async function expectWhole(bytes: Buffer): Promise<void> {
  proxy.decide(undefined);
  expect(sha256(await buffer(await store.get(key)))).toBe(sha256(bytes));
  for await (const upload of store.listUploads(key)) expect.fail(`an upload was left: ${upload.id}`);
}

/** What the object carries that was begun last, as a HEAD shows it. */
function uploadOf(): Record<string, string> {
  const name = 'x-amz-meta-dbops-upload';
  return { [name]: String(asked('CreateMultipartUpload').at(-1)?.headers[name]) };
}

const asked = (verb: string) => proxy.requests().filter((request) => request.verb === verb);

describe('a store that is busy', () => {
  it.each([
    ['PutObject', slowDown],
    ['PutObject', internalError],
    ['UploadPart', slowDown],
    ['CreateMultipartUpload', internalError],
    ['CompleteMultipartUpload', slowDown],
  ])('is asked again: %s', async (verb, fault) => {
    const bytes = verb === 'PutObject' ? Buffer.from('small') : large;
    first(3, verb, () => fault);
    await store.put(key, bytes);
    expect(asked(verb).length).toBeGreaterThanOrEqual(4);
    await expectWhole(bytes);
  });

  it('is asked again for a read, a listing and a deletion', async () => {
    await store.put(key, Buffer.from('text'));
    for (const verb of ['GetObject', 'HeadObject', 'ListObjectsV2', 'DeleteObject']) {
      proxy.forget();
      first(2, verb, () => slowDown);
      if (verb === 'GetObject') expect((await buffer(await store.get(key))).toString()).toBe('text');
      if (verb === 'HeadObject') expect(await store.head(key)).toMatchObject({ sizeBytes: 4 });
      if (verb === 'ListObjectsV2') expect(await store.listFolders(`${key}/`)).toEqual([]);
      if (verb === 'DeleteObject') await store.delete(key);
      expect(asked(verb)).toHaveLength(3);
    }
    await expectNothing();
  });

  it('is given up after a bounded number of attempts, with pauses that grow, and nothing is left', async () => {
    const patient = await open({}, { ...quick, attempts: 4, retryDelayMs: 20 });
    proxy.decide((request) => (request.verb === 'UploadPart' ? slowDown : undefined));
    const error = await failure(patient.put(key, large));
    expect(error).toMatchObject({ code: 'store_failed', exitCode: 7 });
    expect(error.message).toContain('UploadPart');
    expect(error.detail).toContain('503 SlowDown');
    // Two parts are on their way at once, and the first that gives up stops the other.
    const attempts = ['1', '2'].map((part) =>
      asked('UploadPart').filter((request) => request.query.get('partNumber') === part),
    );
    const one = attempts.sort((a, b) => b.length - a.length)[0]!;
    expect(one).toHaveLength(4);
    const pauses = one.slice(1).map((request, index) => request.startedAt - one[index]!.startedAt);
    expect(pauses[2]!).toBeGreaterThan(pauses[0]!);
    await expectNothing();
  });

  it('ends its pauses at once when the run is interrupted', async () => {
    const slow = await open({}, { ...quick, retryDelayMs: 20_000 });
    const controller = new AbortController();
    proxy.decide(() => slowDown);
    const putting = failure(slow.put(key, large, { signal: controller.signal }));
    await sleep(200);
    const startedAt = Date.now();
    controller.abort('SIGINT');
    proxy.decide(undefined);
    expect((await putting).code).toBe('interrupted');
    expect(Date.now() - startedAt).toBeLessThan(5000);
    await expectNothing();
  });
});

describe('a connection that breaks', () => {
  it.each(['UploadPart', 'PutObject'])('within the body of %s is made again', async (verb) => {
    const bytes = verb === 'PutObject' ? large.subarray(0, 3 * mebibyte) : large;
    first(2, verb, () => ({ kind: 'cut-request', afterBytes: mebibyte }));
    await store.put(key, bytes);
    await expectWhole(bytes);
  });

  it.each(['PutObject', 'CompleteMultipartUpload'])(
    'before the answer to %s costs neither the object nor its honesty',
    async (verb) => {
      const bytes = verb === 'PutObject' ? Buffer.from('small') : large;
      first(1, verb, () => ({ kind: 'lose-answer' }));
      // The second attempt meets what the first had stored.
      await store.put(key, bytes, { ifAbsent: true });
      await expectWhole(bytes);
      expect((await failure(store.put(key, bytes, { ifAbsent: true }))).code).toBe('store_exists');
    },
  );

  it.each([
    { kind: 'cut-response' as const, afterBytes: 3_000_000 },
    { kind: 'cut-response' as const, afterBytes: 0 },
  ])('in the middle of a download is an error of the reader: %o', async (fault) => {
    await store.put(key, large);
    first(1, 'GetObject', () => fault);
    const error = await failure(buffer(await store.get(key)));
    expect(error).toMatchObject({ code: 'store_failed' });
    expect(error.message).toContain('GetObject');
  });
});

describe('a store that hangs', () => {
  it.each(['PutObject', 'UploadPart', 'GetObject', 'ListObjectsV2', 'CompleteMultipartUpload'])(
    'is given up after the idle timeout: %s',
    async (verb) => {
      if (verb === 'GetObject') await store.put(key, large);
      proxy.decide((request) => (request.verb === verb ? { kind: 'hang' } : undefined));
      const startedAt = Date.now();
      const run = async (): Promise<unknown> => {
        if (verb === 'GetObject') return buffer(await store.get(key));
        if (verb === 'ListObjectsV2') return store.listFolders('');
        return store.put(key, verb === 'PutObject' ? Buffer.from('x') : large);
      };
      const error = await failure(run());
      expect(error.code).toBe('store_failed');
      expect(error.message).toMatch(/silent for 1\.5 s/);
      expect(Date.now() - startedAt).toBeLessThan(8000);
      if (verb !== 'GetObject') await expectNothing();
    },
  );

  it('in the middle of a download is given up as well', async () => {
    await store.put(key, large);
    first(1, 'GetObject', () => ({ kind: 'hang-response', afterBytes: 2_000_000 }));
    const startedAt = Date.now();
    const error = await failure(buffer(await store.get(key)));
    expect(error.message).toMatch(/silent for 1\.5 s/);
    expect(Date.now() - startedAt).toBeGreaterThan(1300);
  });

  it('is not confused with a reader that is slow itself', async () => {
    await store.put(key, large);
    const body = await store.get(key);
    const hash = createHash('sha256');
    let isFirst = true;
    for await (const chunk of body) {
      hash.update(chunk as Buffer);
      // Longer than the idle timeout, and than the handler of the SDK defers its own.
      if (isFirst) await sleep(4000);
      isFirst = false;
    }
    expect(hash.digest('hex')).toBe(sha256(large));
  });
});

describe('a store that lies', () => {
  it('about a part that it lost is caught when the object is completed', async () => {
    proxy.decide((request) =>
      request.verb === 'UploadPart' && request.query.get('partNumber') === '2' ? { kind: 'lose' } : undefined,
    );
    const error = await failure(store.put(key, large));
    expect(error.code).toBe('store_failed');
    expect(error.detail).toContain('InvalidPart');
    await expectNothing();
  });

  it('about an object that it shortened is caught by its size, and half an object does not stay', async () => {
    proxy.decide((request) =>
      request.verb === 'HeadObject'
        ? { kind: 'answer', status: 200, headers: { 'content-length': '5', ...uploadOf() } }
        : undefined,
    );
    const error = await failure(store.put(key, large));
    expect(error.detail).toContain(`${String(large.byteLength)} bytes were sent, 5 are there`);
    await expectNothing();
  });

  it('or whose object another has replaced meanwhile is told, and what is not ours stays', async () => {
    for (const headers of [{ 'x-amz-meta-dbops-upload': 'of another' }, {}]) {
      proxy.forget();
      proxy.decide((request) =>
        request.verb === 'HeadObject'
          ? { kind: 'answer', status: 200, headers: { 'content-length': '5', ...headers } }
          : undefined,
      );
      const error = await failure(store.put(key, large));
      expect(error.detail).toMatch('x-amz-meta-dbops-upload' in headers ? /another upload/ : /5 are there/);
      expect(asked('DeleteObject')).toEqual([]);
      await expectWhole(large);
    }
    // Where that was to be refused, the other has won.
    const other = {
      kind: 'answer',
      status: 200,
      headers: { 'x-amz-meta-dbops-upload': 'of another' },
    } as const;
    proxy.decide((request) => (request.verb === 'HeadObject' ? other : undefined));
    const put = store.put(`${key}-late`, large, { ifAbsent: true, withoutLooking: true });
    expect((await failure(put)).code).toBe('store_exists');
    expect(asked('DeleteObject')).toEqual([]);
  });

  it('by answering with other bytes or fewer can only be caught by the hash of the caller', async () => {
    const stored = await store.put(key, large);
    first(1, 'GetObject', () => ({ kind: 'alter', atByte: 7_000_000 }));
    const altered = await buffer(await store.get(key));
    expect(altered.byteLength).toBe(large.byteLength);
    expect(sha256(altered)).not.toBe(stored.sha256);
    first(1, 'GetObject', () => ({ kind: 'shorten', toBytes: 1000 }));
    expect((await buffer(await store.get(key))).byteLength).toBe(1000);
  });
});

describe('a store that refuses', () => {
  it.each([
    ['PutObject', 's3:PutObject', (it: Store) => it.put(key, Buffer.from('x'))],
    ['UploadPart', 's3:PutObject', (it: Store) => it.put(key, large)],
    ['GetObject', 's3:GetObject', (it: Store) => it.get(key)],
    ['HeadObject', 's3:ListBucket', (it: Store) => it.head(key)],
    ['ListObjectsV2', 's3:ListBucket', (it: Store) => it.listFolders('')],
    ['DeleteObject', 's3:DeleteObject', (it: Store) => it.delete(key)],
  ] as const)('%s is named with the right that is missing', async (verb, action, run) => {
    proxy.decide((request) => (request.verb === verb ? accessDenied : undefined));
    const error = await failure(run(store));
    expect(error).toMatchObject({ code: 'store_denied', exitCode: 7 });
    expect(error.message).toContain(verb);
    expect(error.hint).toContain(action);
    expect(error.hint).toContain(`arn:aws:s3:::${server.bucket}`);
    // Two parts may be under way, each asked for once.
    const parts = asked(verb).map((request) => request.query.get('partNumber'));
    expect(new Set(parts).size).toBe(parts.length);
  });

  it.each([storageFull, { ...slowDown, code: 'XMinioStorageFull' }])('as full says so: %o', async (fault) => {
    proxy.decide((request) => (request.verb === 'UploadPart' ? fault : undefined));
    const error = await failure(store.put(key, large));
    expect(error.message).toContain('is full');
    await expectNothing();
  });

  it('conditional writes is looked at first instead', async () => {
    const needsCondition = () => ({ kind: 'answer' as const, status: 501, code: 'NotImplemented' });
    proxy.decide((request) => (request.headers['if-none-match'] === '*' ? needsCondition() : undefined));
    await store.put(key, Buffer.from('mine'), { ifAbsent: true });
    expect((await failure(store.put(key, Buffer.from('yours'), { ifAbsent: true }))).code).toBe(
      'store_exists',
    );
    await expectWhole(Buffer.from('mine'));
  });

  it.each([
    ['the right to look, is taken at its word', accessDenied],
    ['every answer after the last part, fails the object and deletes nothing', internalError],
  ])('%s', async (_, fault) => {
    proxy.decide((request) => (request.verb === 'HeadObject' ? fault : undefined));
    if (fault === accessDenied) await store.put(key, large);
    else expect((await failure(store.put(key, large))).message).toContain('HeadObject');
    expect([...asked('DeleteObject'), ...asked('AbortMultipartUpload')]).toEqual([]);
    await expectWhole(large);
  });

  it('a key that may not be listed is put all the same where it must be absent', async () => {
    proxy.decide((request) => (request.verb === 'HeadObject' ? accessDenied : undefined));
    await store.put(key, Buffer.from('mine'), { ifAbsent: true });
    expect((await failure(store.put(key, Buffer.from('x'), { ifAbsent: true }))).code).toBe('store_exists');
  });
});

describe('settings that are wrong', () => {
  it('name the bucket that does not exist', async () => {
    const other = await open({ url: 's3://no-such-bucket-here/x' });
    for (const run of [
      () => other.put('a', Buffer.from('x')),
      () => other.get('a'),
      () => other.listFolders(''),
    ]) {
      const error = await failure(run());
      expect(error.code).toBe('store_failed');
      expect(error.message).toContain('the bucket "no-such-bucket-here"');
      expect(error.hint).toContain('stores.s3.url');
    }
  });

  it('name credentials that are not accepted, without showing them', async () => {
    for (const over of [{ secretAccessKey: 'wrong-secret' }, { accessKeyId: 'nobody' }]) {
      const other = await open(over);
      const error = await failure(other.put('a', Buffer.from('x')));
      expect(error.code).toBe('store_denied');
      expect(error.message).toContain('does not accept the credentials');
      expect(JSON.stringify([error.message, error.hint, error.detail])).not.toContain('wrong-secret');
    }
  });

  it('name a server that cannot be reached', async () => {
    const other = await open({ endpoint: 'http://127.0.0.1:1' });
    const error = await failure(other.listFolders(''));
    expect(error).toMatchObject({ code: 'store_failed', message: 'cannot reach the store "s3"' });
    expect(error.hint).toContain('stores.s3.endpoint');
    const nowhere = await open({ endpoint: 'http://no-such-host.invalid' });
    expect((await failure(nowhere.listFolders(''))).message).toBe('cannot reach the store "s3"');
  });
});

describe('an object in Glacier', () => {
  const frozen = {
    kind: 'answer' as const,
    status: 403,
    code: 'InvalidObjectState',
    more: '<StorageClass>GLACIER</StorageClass>',
  };

  it('is asked back, and the wait is told', async () => {
    proxy.decide((request) => {
      if (request.verb === 'GetObject') return frozen;
      return request.verb === 'RestoreObject' ? { kind: 'answer', status: 202 } : undefined;
    });
    const error = await failure(store.get(key));
    expect(error.code).toBe('store_failed');
    expect(error.message).toContain('lies in GLACIER');
    expect(error.hint).toContain('3 to 5 hours');
    expect(asked('RestoreObject')).toHaveLength(1);
  });

  it('is not asked back twice', async () => {
    proxy.decide((request) => {
      if (request.verb === 'GetObject')
        return { ...frozen, more: '<StorageClass>DEEP_ARCHIVE</StorageClass>' };
      return request.verb === 'RestoreObject'
        ? { kind: 'answer', status: 409, code: 'RestoreAlreadyInProgress' }
        : undefined;
    });
    const error = await failure(store.get(key));
    expect(error.message).toContain('on its way');
    expect(error.hint).toContain('12 hours');
  });
});

describe('the settings of a store', () => {
  it('reach the server: storage class, KMS key, hashes, and no checksum that only AWS knows', async () => {
    const other = await open({ storageClass: 'STANDARD_IA', kmsKeyId: 'alias/archive' });
    // versitygw has no KMS; what matters is what it was asked.
    proxy.decide((request) =>
      ['PutObject', 'CreateMultipartUpload'].includes(request.verb) ? accessDenied : undefined,
    );
    const small = Buffer.from('small');
    const error = await failure(other.put(key, small));
    expect(error.hint).toContain('kms:GenerateDataKey');
    await failure(other.put(key, large));
    for (const verb of ['PutObject', 'CreateMultipartUpload']) {
      const [request] = asked(verb);
      expect(request!.headers).toMatchObject({
        'x-amz-storage-class': 'STANDARD_IA',
        'x-amz-server-side-encryption': 'aws:kms',
        'x-amz-server-side-encryption-aws-kms-key-id': 'alias/archive',
      });
    }
    const [put] = asked('PutObject');
    expect(put!.headers).toMatchObject({
      'x-amz-meta-sha256': sha256(small),
      'content-md5': createHash('md5').update(small).digest('base64'),
    });
    expect(Object.keys(put!.headers).filter((name) => /checksum|expect|trailer/.test(name))).toEqual([]);
  });

  it('bound the parts that are under way', async () => {
    let most = 0;
    proxy.decide((request) => {
      const open = asked('UploadPart').filter((item) => item.finishedAt === undefined).length;
      most = Math.max(most, open);
      return request.verb === 'UploadPart' ? { kind: 'delay', ms: 60 } : undefined;
    });
    await store.put(key, Buffer.concat([large, large, large]));
    expect(most).toBe(2);
    expect(asked('UploadPart')).toHaveLength(8);
  });
});
