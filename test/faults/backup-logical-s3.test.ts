// A bucket that is busy, breaks off, loses or refuses while a dump is stored: either the backup is whole or there is none.
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { openStore } from '../../src/storage/open.ts';
import type { Store } from '../../src/storage/store.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  accessDenied,
  slowDown,
  startFaultProxy,
  type Fault,
  type FaultProxy,
} from '../support/fault-proxy.ts';
import { logicalSetup, whyNoDump, type LogicalSetup } from '../support/logical-backup.ts';
import { startS3, whyNoS3, type S3Server } from '../support/s3.ts';

const why = whyNoS3() ?? whyNoDump();
let db: TestDatabase;
let setup: LogicalSetup;
let server: S3Server;
let proxy: FaultProxy;
/** The same bucket, past the proxy. */
let bucket: Store;

beforeAll(async () => {
  if (why !== undefined) return;
  db = await createDatabase('backup_s3');
  await db.query(
    `create table log_lines as select g as id, md5(g::text) as line from generate_series(1, 5000) as g`,
  );
  server = await startS3();
  proxy = await startFaultProxy(server.endpoint);
  bucket = await openStore(server.settings());
  setup = logicalSetup(db);
  setup.configure(
    `stores:\n${server.yaml('local', { endpoint: proxy.endpoint })}\nbackup:\n  workDirectory: ${setup.work}\n`,
  );
});
afterAll(async () => {
  if (why !== undefined) return;
  await bucket.close();
  await proxy.stop();
  await server.stop();
  await db.drop();
});
beforeEach(async () => {
  if (why !== undefined) return;
  proxy.decide(undefined);
  for await (const object of bucket.list('')) await bucket.delete(object.key);
});

async function keys(): Promise<string[]> {
  const found: string[] = [];
  for await (const object of bucket.list('')) found.push(object.key.split('/').slice(5).join('/'));
  return found.sort();
}

const whole = () => setup.run(['backup', 'create', '--kind', 'logical']);

const passing: [string, (times: number) => Fault | undefined][] = [
  ['is busy twice', (times) => (times < 2 ? slowDown : undefined)],
  ['breaks off once', (times) => (times < 1 ? { kind: 'cut-request', afterBytes: 100 } : undefined)],
  ['loses an answer', (times) => (times < 1 ? { kind: 'lose-answer' } : undefined)],
];
for (const [name, fault] of passing) {
  it.skipIf(why !== undefined)(`that ${name} gets the whole backup`, async () => {
    let times = 0;
    proxy.decide((request) =>
      request.method === 'PUT' && /\d\.dat\.zst$/.test(request.key) ? fault(times++) : undefined,
    );
    const result = await whole();
    expect(result.code, result.stderr).toBe(0);
    expect(times).toBeGreaterThan(1);
    expect(await keys()).toEqual(
      expect.arrayContaining(['dump/toc.dat.zst', 'globals.sql.zst', 'manifest.json']),
    );
  });
}

const lasting: [string, RegExp, Fault][] = [
  ['refuses the manifest', /manifest\.json$/, accessDenied],
  ['refuses the table of contents', /toc\.dat\.zst$/, accessDenied],
  ['drops the manifest that it took', /manifest\.json$/, { kind: 'lose' }],
];
for (const [name, key, fault] of lasting) {
  it.skipIf(why !== undefined)(
    `that ${name} has no backup and no remains, and the next run is whole`,
    async () => {
      proxy.decide((request) => (request.method === 'PUT' && key.test(request.key) ? fault : undefined));
      const result = await whole();
      expect(result.code, result.stderr).toBe(7);
      expect(result.stderr).toContain('no backup (logical)');
      expect(await keys()).toEqual([]);
      proxy.decide(undefined);
      expect((await whole()).code).toBe(0);
    },
  );
}
