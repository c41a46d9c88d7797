// `dbops doctor` with stores: one line each, and what is missing by its name.
import { CreateMultipartUploadCommand } from '@aws-sdk/client-s3';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DbopsError } from '../../../src/errors.ts';
import { openStore } from '../../../src/storage/open.ts';
import { probeStore } from '../../../src/storage/probe.ts';
import { abandonedAfterMs, sweepUploads } from '../../../src/storage/sweep.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { accessDenied, startFaultProxy, type FaultProxy } from '../../support/fault-proxy.ts';
import { startS3, whyNoS3, type S3Server } from '../../support/s3.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';

interface Finding {
  check: string;
  status: string;
  text: string;
  hint?: string;
}

const noS3 = whyNoS3();
const partSizeBytes = 5 * 1024 * 1024;
let database: TestDatabase;
let workspace: Workspace;
let server: S3Server;
let proxy: FaultProxy;

beforeAll(async () => {
  database = await createDatabase('stores');
  workspace = createWorkspace(database, '');
  if (noS3 !== undefined) return;
  server = await startS3();
  proxy = await startFaultProxy(server.endpoint);
});

afterAll(async () => {
  await proxy?.stop();
  await server?.stop();
  await database.drop();
});

async function doctor(): Promise<{ code: number | null; findings: Finding[] }> {
  const { code, stdout, stderr } = await workspace.run(['doctor', '--json']);
  expect(stdout, stderr).not.toBe('');
  expect(stderr).toBe('');
  const { data } = JSON.parse(stdout) as { data: { findings: Finding[] } };
  return { code, findings: data.findings.filter((item) => item.check.startsWith('store.')) };
}

const folder = (name: string) => path.join(workspace.dir, name);

describe('doctor', () => {
  it('says nothing of stores where there are none', async () => {
    workspace.configure('');
    expect((await doctor()).findings).toEqual([]);
  });

  it('tries a directory, and leaves nothing in it', async () => {
    workspace.configure(`stores:\n  local: { url: "file://${folder('store')}" }\n`);
    const { code, findings } = await doctor();
    expect(code).toBe(0);
    expect(findings).toMatchObject([{ check: 'store.local', status: 'ok' }]);
    expect(findings[0]!.text).toContain(
      'can write, list, list uploads, read, read in parts, refuse to replace',
    );
    expect(fs.readdirSync(folder('store'))).toEqual([]);
  });

  it('names a directory that cannot be written, and goes on with the next store', async () => {
    fs.writeFileSync(folder('file'), 'not a directory');
    workspace.configure(
      `stores:\n  broken: { url: "file://${folder('file')}" }\n  local: { url: "file://${folder('store')}" }\n`,
    );
    const { code, findings } = await doctor();
    expect(code).toBe(6);
    expect(findings.map((item) => [item.check, item.status])).toEqual([
      ['store.broken', 'crit'],
      ['store.local', 'ok'],
    ]);
    expect(findings[0]!.text).toContain('cannot write');
    expect(findings[0]!.text).toContain(folder('file'));
  });

  it('says how to make a directory that is not there', async () => {
    workspace.configure(`stores:\n  local: { url: "file://${folder('unmounted')}" }\n`);
    fs.rmdirSync(folder('unmounted'));
    const { code, findings } = await doctor();
    expect(code).toBe(6);
    expect(findings).toMatchObject([{ check: 'store.local', status: 'crit' }]);
    expect(findings[0]!.text).toContain('is not there');
    expect(findings[0]!.hint).toContain('Is the disk mounted?');
    expect(findings[0]!.hint).toContain(`mkdir -p -m 750 '${folder('unmounted')}'`);
    expect(fs.existsSync(folder('unmounted'))).toBe(false);
  });

  it('warns of uploads that nobody finished', async () => {
    const leftover = path.join(folder('store'), 'a', '.upload-0123456789abcdef-part-00000.copy.zst');
    fs.mkdirSync(path.dirname(leftover), { recursive: true });
    fs.writeFileSync(leftover, 'half');
    const old = new Date(Date.now() - 3 * 86_400_000);
    fs.utimesSync(leftover, old, old);
    workspace.configure(`stores:\n  local: { url: "file://${folder('store')}" }\n`);
    const { code, findings } = await doctor();
    expect(code).toBe(0);
    expect(findings[1]).toMatchObject({ check: 'store.local.uploads', status: 'warn' });
    expect(findings[1]!.text).toContain('a/part-00000.copy.zst');
    expect(findings[1]!.text).toContain(old.toISOString().slice(0, 10));
  });

  describe('with a store at S3', () => {
    beforeEach((context) => {
      if (noS3 !== undefined) context.skip(noS3);
      proxy.decide(undefined);
      workspace.configure(`stores:\n${server.yaml('offsite', { endpoint: proxy.endpoint })}`);
    });

    it('tries it, and leaves nothing in it', async () => {
      const { code, findings } = await doctor();
      expect(findings).toMatchObject([{ check: 'store.offsite', status: 'ok' }]);
      expect(code).toBe(0);
      const store = await openStore(server.settings());
      expect(await store.listFolders('')).toEqual([]);
      await store.close();
    });

    it.each([
      ['PutObject', 'crit', 'cannot write', 's3:PutObject'],
      ['ListObjectsV2', 'crit', 'cannot list', 's3:ListBucket'],
      ['CreateMultipartUpload', 'crit', 'cannot write in parts', 's3:PutObject'],
      ['DeleteObject', 'warn', 'cannot delete', 's3:DeleteObject'],
      ['AbortMultipartUpload', 'warn', 'cannot drop an upload', 's3:AbortMultipartUpload'],
      ['ListMultipartUploads', 'warn', 'cannot list uploads', 's3:ListBucketMultipartUploads'],
    ])('names the right that is missing for %s', async (verb, status, words, action) => {
      proxy.decide((request) => (request.verb === verb ? accessDenied : undefined));
      const { code, findings } = await doctor();
      expect(findings[0]).toMatchObject({ check: 'store.offsite', status });
      expect(findings[0]!.text).toContain(words);
      expect(findings[0]!.hint).toContain(action);
      expect(code).toBe(status === 'crit' ? 6 : 0);
    });

    it('says when objects are replaced that must not be', async () => {
      // A store that does not know If-None-Match takes the second write as well.
      proxy.decide((request) =>
        request.headers['if-none-match'] === undefined ? undefined : { kind: 'lose' },
      );
      const { code, findings } = await doctor();
      expect(findings[0]).toMatchObject({ status: 'warn' });
      expect(findings[0]!.text).toContain('cannot refuse to replace (an object is replaced');
      expect(findings[0]!.hint).toContain('If-None-Match');
      expect(code).toBe(0);
    });

    it('says when the store knows no condition', async () => {
      proxy.decide((request) =>
        request.headers['if-none-match'] === undefined
          ? undefined
          : { kind: 'answer', status: 501, code: 'NotImplemented' },
      );
      const { findings } = await doctor();
      expect(findings[0]).toMatchObject({ status: 'warn' });
      expect(findings[0]!.text).toMatch(/cannot refuse to replace \(.*501 NotImplemented/);
    });

    it('says that it cannot be reached, within seconds', async () => {
      workspace.configure(`stores:\n${server.yaml('offsite', { endpoint: 'http://127.0.0.1:1' })}`);
      const { code, findings } = await doctor();
      expect(code).toBe(6);
      expect(findings[0]).toMatchObject({ status: 'crit' });
      expect(findings[0]!.text).toContain(
        'cannot write, list, list uploads (cannot reach the store "offsite"',
      );
      expect(findings[0]!.hint).toContain('stores.offsite.endpoint');
    });
  });
});

describe('the probe', () => {
  it('ends with the interruption, and cleans up after itself', async () => {
    fs.mkdirSync(folder('probe'));
    const store = await openStore({ name: 'x', url: `file://${folder('probe')}`, pathStyle: false });
    const controller = new AbortController();
    const put = store.put.bind(store);
    store.put = async (...args) => {
      const stored = await put(...args);
      controller.abort('SIGINT');
      return stored;
    };
    const probing = probeStore(store, { partSizeBytes, now: new Date(), signal: controller.signal });
    await expect(probing).rejects.toMatchObject({ code: 'interrupted' });
    expect(fs.readdirSync(folder('probe'))).toEqual([]);
  });
});

describe('the sweep', () => {
  it('drops the uploads that are old enough, and no other', async (context) => {
    if (noS3 !== undefined) context.skip(noS3);
    const store = await openStore(server.settings({ url: `s3://${server.bucket}/sweep` }));
    const begin = async (key: string) =>
      server.client.send(new CreateMultipartUploadCommand({ Bucket: server.bucket, Key: `sweep/${key}` }));
    await begin('mine/a');
    await begin('other/b');
    expect(await sweepUploads(store, 'mine/', new Date(Date.now() - abandonedAfterMs))).toEqual([]);
    const dropped = await sweepUploads(store, 'mine/', new Date(Date.now() + 5000));
    expect(dropped.map((upload) => upload.key)).toEqual(['mine/a']);
    expect(await sweepUploads(store, '', new Date(Date.now() + 5000))).toMatchObject([{ key: 'other/b' }]);
    expect(await sweepUploads(store, '', new Date(Date.now() + 5000))).toEqual([]);
    await store.close();
  });

  it('says why an upload cannot be dropped', async (context) => {
    if (noS3 !== undefined) context.skip(noS3);
    const store = await openStore(server.settings({ endpoint: proxy.endpoint }));
    proxy.decide((request) => (request.verb === 'AbortMultipartUpload' ? accessDenied : undefined));
    await server.client.send(new CreateMultipartUploadCommand({ Bucket: server.bucket, Key: 'dbops/stuck' }));
    const error = await sweepUploads(store, '', new Date(Date.now() + 5000)).catch(
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(DbopsError);
    expect((error as DbopsError).hint).toContain('s3:AbortMultipartUpload');
    await store.close();
  });
});
