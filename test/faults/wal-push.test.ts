// wal push while its store is away, silent or full, and while it is killed: never 0 without the segment, never half of one.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findWal } from '../../src/backup/wal/archive.ts';
import { openStore } from '../../src/storage/open.ts';
import type { Store } from '../../src/storage/store.ts';
import type { Server } from '../../scripts/lib/postgres-server.mjs';
import { runDbops, spawnDbops } from '../support/cli.ts';
import { startPrivateServer, waitUntil } from '../support/database.ts';
import {
  accessDenied,
  startFaultProxy,
  storageFull,
  type Fault,
  type FaultProxy,
} from '../support/fault-proxy.ts';
import { startS3, whyNoS3, type S3Server } from '../support/s3.ts';
import { archivesNothing, closeSegments, register, sharedDirectory } from '../support/wal.ts';

const noS3 = whyNoS3();

let s3: S3Server;
let proxy: FaultProxy;
let store: Store;
let server: Server;
let system: string;
let config: string;
let spool: string;

beforeAll(async () => {
  if (noS3 !== undefined) return;
  s3 = await startS3();
  proxy = await startFaultProxy(s3.endpoint);
  store = await openStore(s3.settings());
  server = await startPrivateServer(archivesNothing);
  system = await register(server, [store]);
  const folder = sharedDirectory('push');
  spool = path.join(folder, 'spool');
  config = path.join(folder, 'dbops.yaml');
  fs.writeFileSync(
    config,
    `stores:\n${s3.yaml('cold', { endpoint: proxy.endpoint })}wal: { spool: ${spool} }\n`,
  );
});
afterAll(async () => {
  if (noS3 !== undefined) return;
  await server.stop();
  await store.close();
  await proxy.stop();
  await s3.stop();
});

afterEach(() => proxy?.decide(undefined));

const push = (name: string) => ['wal', 'push', `pg_wal/${name}`, '--config', config];
const marked = (names: string[]) =>
  names.filter((name) =>
    fs.existsSync(path.join(spool, system, os.hostname(), server.dataDir, 'pushed', `${name}.ok`)),
  );
const isPut = ({ verb }: { verb: string }) => verb === 'PutObject';

describe.skipIf(noS3 !== undefined)(`wal push${noS3 === undefined ? '' : `: ${noS3}`}`, () => {
  it.each<[string, Fault]>([
    ['denies', accessDenied],
    ['is full', storageFull],
    ['cuts the connection', { kind: 'cut-request', afterBytes: 100 }],
  ])('fails with 1 while the store %s, and succeeds later', async (_what, fault) => {
    const [name = ''] = await closeSegments(server, 1);
    proxy.decide((request) => (isPut(request) ? fault : undefined));
    const failed = await runDbops(push(name), { cwd: server.dataDir });
    expect(failed.code, failed.stderr).toBe(1);
    expect(failed.stderr).not.toContain(s3.secretAccessKey);
    expect(await findWal(store, system, name)).toBeUndefined();
    expect(marked([name])).toEqual([]);
    proxy.decide(undefined);
    const later = await runDbops(push(name), { cwd: server.dataDir });
    expect(later.code, later.stderr).toBe(0);
    expect(await findWal(store, system, name)).toMatchObject({ name });
  });

  it('ends with 1 on SIGTERM, and leaves neither an object nor a mark when it is killed', async () => {
    const names = await closeSegments(server, 3);
    proxy.decide((request) => (isPut(request) ? { kind: 'hang' } : undefined));
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      proxy.forget();
      const running = spawnDbops(push(names[0]!), { cwd: server.dataDir });
      await waitUntil(() => proxy.requests().filter(isPut).length >= 2, {
        timeoutMs: 20_000,
        what: 'two uploads',
      });
      running.kill(signal);
      const { code } = await running.done;
      if (signal === 'SIGTERM') expect(code).toBe(1);
      for (const name of names) expect(await findWal(store, system, name)).toBeUndefined();
      expect(marked(names)).toEqual([]);
    }
    // The answer is lost after the store has it: the next call finds it.
    proxy.decide((request) => (isPut(request) ? { kind: 'lose-answer' } : undefined));
    const lost = spawnDbops(push(names[0]!), { cwd: server.dataDir });
    await waitUntil(async () => (await findWal(store, system, names[0]!)) !== undefined, {
      timeoutMs: 20_000,
      what: 'the object',
    });
    lost.kill('SIGKILL');
    await lost.done;
    proxy.decide(undefined);
    const again = await runDbops(push(names[0]!), { cwd: server.dataDir });
    expect(again.code, again.stderr).toBe(0);
    for (const name of names) expect(await findWal(store, system, name)).toMatchObject({ name });
  });

  it('fails with 1 for whatever it is called with', async () => {
    for (const args of [
      ['wal', 'push'],
      ['wal', 'push', 'x'],
      ['wal', 'push', 'x', '--no-such-flag'],
    ]) {
      expect((await runDbops(args, { cwd: server.dataDir })).code).toBe(1);
    }
  });

  it('does without a spool whose disk is full', async () => {
    const [name = '', next = ''] = await closeSegments(server, 2);
    const full = path.join(path.dirname(config), 'full.yaml');
    fs.writeFileSync(full, fs.readFileSync(config, 'utf8').replace(spool, '/dev/full/spool'));
    const { code, stderr } = await runDbops(['wal', 'push', `pg_wal/${name}`, '--config', full], {
      cwd: server.dataDir,
    });
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('no further WAL was pushed ahead');
    expect(await findWal(store, system, name)).toMatchObject({ name });
    expect(await findWal(store, system, next)).toBeUndefined();
  });
});
