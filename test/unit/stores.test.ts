import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { parseFile } from '../../src/config/load.ts';
import { loadSettings } from '../../src/config/settings.ts';
import { parseStoreUrl } from '../../src/config/store-url.ts';
import type { StoreSettings } from '../../src/config/stores.ts';
import { DbopsError } from '../../src/errors.ts';
import { findStoreSettings, openStore } from '../../src/storage/open.ts';
import { isTransient } from '../../src/storage/retry.ts';

/** The lines of the error that a file gives; empty when it is valid. */
function problems(text: string): string[] {
  try {
    parseFile(text, 'dbops.yaml', {});
    return [];
  } catch (error) {
    if (!(error instanceof DbopsError)) throw error;
    expect(error).toMatchObject({ code: 'config_invalid', exitCode: 2 });
    return (error.detail ?? '').split('\n');
  }
}

const withUrl = (url: string, more = '') => `stores:\n  one: { url: ${JSON.stringify(url)}${more} }\n`;

describe('the url of a store', () => {
  it('is a directory or a bucket', () => {
    expect(parseStoreUrl('file:///var/lib/dbops/')).toEqual({ kind: 'file', path: '/var/lib/dbops' });
    expect(parseStoreUrl('file:///a%20b/%C3%BC')).toEqual({ kind: 'file', path: '/a b/ü' });
    expect(parseStoreUrl('s3://bucket')).toEqual({ kind: 's3', bucket: 'bucket', prefix: '' });
    expect(parseStoreUrl('s3://my.bucket/a//b/')).toEqual({
      kind: 's3',
      bucket: 'my.bucket',
      prefix: 'a/b/',
    });
  });

  it.each([
    ['/var/lib/dbops', 'write it as "file:///var/lib/dbops"'],
    ['backups', 'must be file:///absolute/path or s3://bucket/prefix'],
    ['file:backups', 'with three slashes'],
    ['file://./backups', 'with three slashes'],
    ['file://server/share', 'with three slashes'],
    ['file:///a%2Fb', 'two hexadecimal digits, and no slash'],
    ['file:///a%00b', 'control characters'],
    ['file:///a?b', 'without ? and #'],
    ['gs://bucket/x', '"gs:" is no kind of store'],
    ['https://bucket.s3.amazonaws.com/x', '"https:" is no kind of store'],
    ['s3:///prefix', 'must name a bucket'],
    ['s3://bucket/a/../b', 'must not hold . or ..'],
    ['s3://bucket/x?versionId=1', 'without ? and #'],
    ['s3://buck et/x', 'must name a bucket of letters'],
  ])('%s is refused when the configuration is read', (url, words) => {
    const found = problems(withUrl(url));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain('dbops.yaml:2: stores.one.url: ');
    expect(found[0]).toContain(words);
  });

  it.each(['s3://AKIAKEY:s3cr3t@bucket/x', 's3://AKIAKEY@bucket', 's3://key:s3cr3t'])(
    'with credentials is refused without showing them, with the way to give them: %s',
    (url) => {
      const [problem = ''] = problems(withUrl(url));
      expect(problem).toContain('must not hold credentials');
      expect(problem).toContain('secretAccessKeyFile');
      expect(problem).not.toMatch(/s3cr3t|AKIAKEY/);
    },
  );

  it('is checked again when a store is opened', async () => {
    const settings: StoreSettings = { name: 'x', url: 'ftp://x', pathStyle: false };
    await expect(openStore(settings)).rejects.toMatchObject({ code: 'config_invalid' });
  });
});

describe('the settings of stores', () => {
  it('have all their errors told at once', () => {
    const found = problems(`
stores:
  a: { url: "file:///a", region: eu-west-1 }
  b: { url: "s3://bbb", endpoint: "ftp://x", accessKeyId: k }
  c: { url: "s3://ccc", endpoint: "http://u:s3cr3t@host", secretAccessKey: s }
  d: { url: "s3://ddd", storageClass: DEEP_ARCHIVE, accessKeyId: k, secretAccessKey: s, secretAccessKeyFile: f }
  e: { url: "file:///a/" }
archive:
  copies: [a, offsit, a]
  required: 4
partitions:
  - { table: t, key: at, interval: month, archive: { copies: [bb] } }
`);
    expect(found).toEqual([
      'dbops.yaml:3: stores.a.region: goes with s3://, not with file://',
      'dbops.yaml:4: stores.b.endpoint: must be http://host:port or https://host:port',
      'dbops.yaml:4: stores.b.accessKeyId: needs secretAccessKeyFile or secretAccessKey',
      'dbops.yaml:5: stores.c.endpoint: must not hold credentials; give accessKeyId and secretAccessKeyFile',
      'dbops.yaml:5: stores.c.secretAccessKey: needs accessKeyId',
      'dbops.yaml:6: stores.d.storageClass: must be a class that can be read at once, since every copy is read back: GLACIER_IR, or STANDARD with a lifecycle rule of the bucket that moves it later',
      'dbops.yaml:6: stores.d.secretAccessKeyFile: and secretAccessKey exclude each other',
      'dbops.yaml:7: stores.e.url: is the place of stores.a already',
      'dbops.yaml:9: archive.copies[1]: names no store; "stores:" has a, b, c, d, e',
      'dbops.yaml:9: archive.copies[2]: names "a" a second time',
      'dbops.yaml:10: archive.required: is 4, but only 3 stores get a copy',
      'dbops.yaml:12: partitions[0].archive.copies[0]: names no store; did you mean "b"?',
    ]);
  });

  it('allow for fewer copies than stores, and for one bucket behind two endpoints', () => {
    expect(
      problems(`
stores:
  a: { url: "s3://archive/x", endpoint: "https://one.example.net" }
  b: { url: "s3://archive/x", endpoint: "https://two.example.net" }
  c: { url: "file:///c" }
archive: { copies: [a, c], required: 1 }
partitions:
  - { table: t, key: at, interval: month, archive: { copies: [b] } }
`),
    ).toEqual([]);
  });
});

it.each([
  ['', ', endpoint: "https://s3.eu-west-1.amazonaws.com"'],
  ['', ', endpoint: "https://s3.amazonaws.com/"'],
  [
    ', endpoint: "https://s3.dualstack.eu-west-1.amazonaws.com"',
    ', endpoint: "HTTPS://S3.EU-WEST-1.AMAZONAWS.COM"',
  ],
  [', region: cn-north-1', ', endpoint: "https://s3.cn-northwest-1.amazonaws.com.cn"'],
  [', endpoint: "https://one.example.net:443/"', ', endpoint: "https://One.example.net"'],
])('one bucket is one place, however its server is named: "%s" and "%s"', (one, other) => {
  const stores = `stores:\n  a: { url: "s3://archive/x"${one} }\n  b: { url: "s3://archive/x"${other} }\n`;
  expect(problems(stores)).toEqual(['dbops.yaml:3: stores.b.url: is the place of stores.a already']);
});

it.each([
  [', region: eu-west-1', ', endpoint: "https://s3.cn-north-1.amazonaws.com.cn"'],
  [', region: us-east-1', ', region: us-gov-west-1'],
  ['', ', endpoint: "https://s3.amazonaws.com.example.net"'],
])('a bucket of the same name elsewhere is another place: "%s" and "%s"', (one, other) => {
  const stores = `stores:\n  a: { url: "s3://archive/x"${one} }\n  b: { url: "s3://archive/x"${other} }\n`;
  expect(problems(stores)).toEqual([]);
});

describe('several configuration files', () => {
  const cleanups: (() => void)[] = [];
  afterEach(() => {
    for (const cleanup of cleanups.splice(0)) cleanup();
  });

  async function load(project: string, user: string): Promise<string> {
    const home = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-stores-'));
    cleanups.push(() => fs.rmSync(home, { recursive: true, force: true }));
    fs.mkdirSync(path.join(home, '.config', 'dbops'), { recursive: true });
    fs.writeFileSync(path.join(home, 'dbops.yaml'), project);
    fs.writeFileSync(path.join(home, '.config', 'dbops', 'dbops.yaml'), user);
    try {
      const { stores } = await loadSettings({}, home, { HOME: home });
      return stores.map((store) => store.name).join();
    } catch (error) {
      if (!(error instanceof DbopsError)) throw error;
      return error.detail ?? '';
    }
  }

  it('may name the stores of another one', async () => {
    const stores = 'stores: { far: { url: "file:///far" } }\n';
    expect(await load('archive: { copies: [far] }\n', stores)).toBe('far');
    expect(await load('archive: { copies: [fat] }\n', stores)).toMatch(
      /dbops\.yaml:1: archive\.copies\[0\]: names no store; did you mean "far"\?$/,
    );
    expect(await load('archive: { copies: [far] }\n', '')).toContain('there is none under "stores:"');
  });

  it('may not name those of a file whose stores are replaced', async () => {
    const nearer = 'stores: { near: { url: "file:///near" } }\n';
    const farther = 'stores: { far: { url: "file:///far" } }\narchive: { copies: [far] }\n';
    expect(await load(nearer, farther)).toContain('names no store; did you mean "near"?');
  });
});

describe('a store by its name', () => {
  const stores = ['local', 'offsite'].map((name): StoreSettings => ({
    name,
    url: 'file:///x',
    pathStyle: false,
  }));

  it('is found, or the nearest is named', () => {
    expect(findStoreSettings(stores, 'local')).toBe(stores[0]);
    const missing = (name: string, among = stores) => {
      try {
        findStoreSettings(among, name);
      } catch (error) {
        return error as DbopsError;
      }
      throw new Error('nothing was thrown');
    };
    expect(missing('ofsite')).toMatchObject({ code: 'store_unknown', exitCode: 2 });
    expect(missing('ofsite').hint).toContain('did you mean "offsite"?');
    expect(missing('zzzzzzzz').hint).toContain('"stores:" has local, offsite');
    expect(missing('x', []).hint).toContain('has no stores');
  });
});

describe('another attempt', () => {
  it.each([
    [{ name: 'SlowDown', $metadata: { httpStatusCode: 503 } }, true],
    [{ name: 'InternalError', $metadata: { httpStatusCode: 500 } }, true],
    [{ name: 'Unknown', $metadata: { httpStatusCode: 502 } }, true],
    [{ name: 'TooManyRequests', $metadata: { httpStatusCode: 429 } }, true],
    [{ name: 'RequestTimeout', $metadata: { httpStatusCode: 400 } }, true],
    [{ name: 'TimeoutError', code: 'ECONNRESET' }, true],
    [{ name: 'Error', message: 'socket hang up', code: 'ECONNRESET' }, true],
    [{ name: 'TimeoutError', message: 'silent' }, false],
    [{ name: 'AccessDenied', $metadata: { httpStatusCode: 403 } }, false],
    [{ name: 'NotImplemented', $metadata: { httpStatusCode: 501 } }, false],
    [{ name: 'InsufficientStorage', $metadata: { httpStatusCode: 507 } }, false],
    [{ name: 'XMinioStorageFull', $metadata: { httpStatusCode: 507 } }, false],
    [{ name: 'PreconditionFailed', $metadata: { httpStatusCode: 412 } }, false],
  ])('after %o: %s', (error, expected) => {
    expect(isTransient(error)).toBe(expected);
  });
});
