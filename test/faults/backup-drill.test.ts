// A drill whose disk is full, or whose store answers wrongly, hangs or breaks off: it fails, says why, and leaves nothing.
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { DrillContext } from '../../src/backup/drill/context.ts';
import { runDrill } from '../../src/backup/drill/drill.ts';
import { loadSettings } from '../../src/config/settings.ts';
import { silentLog } from '../../src/output/log.ts';
import { findTools } from '../../src/process/tools.ts';
import { findStoreSettings, openStore, type StoreOptions } from '../../src/storage/open.ts';
import type { Store } from '../../src/storage/store.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { drill, drillDirectory, failedIn, leftOvers } from '../support/drill.ts';
import { startDrillSite } from '../support/drill-site.ts';
import { internalError, startFaultProxy, type Fault, type FaultProxy } from '../support/fault-proxy.ts';
import { clientDirectory, whyNoDump } from '../support/logical-backup.ts';
import { whyNoBasebackup } from '../support/physical.ts';
import { startS3, whyNoS3, type S3Server } from '../support/s3.ts';
import { createWorkspace, type Workspace } from '../support/workspace.ts';

const searchPath = () => `${clientDirectory() ?? ''}${path.delimiter}${process.env['PATH'] ?? ''}`;
const quick: StoreOptions = { retryDelayMs: 5, attempts: 3, idleTimeoutMs: 1000 };

describe('a disk that is full', () => {
  it('fails the drill with the reason, and is empty afterwards', async (context) => {
    const missing = whyNoBasebackup();
    if (missing !== undefined) return context.skip(missing);
    const site = await startDrillSite();
    await site.made('base');
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=200m', 'tmpfs', site.drills]);
    if (mounted.status !== 0) return context.skip('a small disk cannot be mounted here');
    try {
      fs.chmodSync(site.drills, 0o755);
      const run: typeof site.run = (args, env) =>
        whileFilling(path.join(site.drills, 'filler'), () => site.run(args, env));
      const nobody = { DATABASE_URL: 'postgresql://no@127.0.0.1:1/x' };
      const result = await drill({ run, drills: site.drills }, [], nobody);
      expect(result.code).toBe(6);
      expect(failedIn(result)).toEqual(['restore']);
      expect(result.detail('restore')).toMatch(/No space left/);
      expect(fs.readdirSync(site.drills)).toEqual([]);
    } finally {
      execFileSync('umount', [site.drills]);
    }
  });
});

/** Takes away what room is left as soon as the drill has its directory: it had enough when it looked. */
async function whileFilling<T>(filler: string, work: () => Promise<T>): Promise<T> {
  const folder = path.dirname(filler);
  const watch = setInterval(() => {
    if (fs.existsSync(filler) || !fs.readdirSync(folder).some((name) => name.startsWith('dbops-drill')))
      return;
    const { bavail, bsize } = fs.statfsSync(folder);
    try {
      fs.writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - 2 * 1024 ** 2)));
    } catch {
      // The drill was faster with the rest: it is full all the same.
    }
  }, 5);
  try {
    return await work();
  } finally {
    clearInterval(watch);
    fs.rmSync(filler, { force: true });
  }
}

describe('a store in trouble', () => {
  const missing = whyNoDump() ?? whyNoS3();
  let db: TestDatabase;
  let server: S3Server;
  let proxy: FaultProxy;
  let work: Workspace;
  let drills: string;

  beforeAll(async () => {
    if (missing !== undefined) return;
    db = await createDatabase('drill_faults');
    await db.query(
      'create table lines as select g as id, md5(g::text) as line from generate_series(1, 5000) as g',
    );
    server = await startS3();
    proxy = await startFaultProxy(server.endpoint);
    work = createWorkspace(db, '');
    drills = drillDirectory(work.dir);
    work.configure(
      `stores:\n${server.yaml('cold', { endpoint: proxy.endpoint })}backup: { drill: { directory: ${drills} } }\n`,
    );
    const made = await work.run(['backup', 'create', '--kind', 'logical'], { PATH: searchPath() });
    expect(made.code, made.stderr).toBe(0);
  });
  afterAll(async () => {
    await proxy?.stop();
    await server?.stop();
    await db?.drop();
  });
  beforeEach((context) => {
    if (missing !== undefined) return context.skip(missing);
  });

  async function run() {
    const settings = await loadSettings({}, work.dir, { DATABASE_URL: db.url });
    const opened: Store[] = [];
    const context: DrillContext = {
      settings,
      log: silentLog,
      signal: new AbortController().signal,
      openStore: async (name) => {
        const store = await openStore(findStoreSettings(settings.stores, name), quick);
        opened.push(store);
        return store;
      },
      findTools: (names) => findTools(names, searchPath()),
      host: os.hostname(),
      osUser: 'test',
      version: 'test',
      directory: drills,
      jobs: 2,
      source: 'nobody asked it',
      database: undefined,
      environment: {},
      restoreCommand: () => 'false',
    };
    try {
      return await runDrill(context, { id: undefined, kind: undefined, to: undefined, keep: false });
    } finally {
      for (const store of opened) await store.close();
    }
  }

  it.each<[string, Fault]>([
    ['answers 500', internalError],
    ['hangs', { kind: 'hang' }],
  ])('that %s while the dump is fetched fails the drill', async (_, fault) => {
    proxy.decide((request) =>
      request.method === 'GET' && request.key.endsWith('.dat.zst') ? fault : undefined,
    );
    const report = await run();
    proxy.decide(undefined);
    expect(report.passed).toBe(false);
    expect(report.proofs.find((proof) => proof.name === 'restore')).toMatchObject({ outcome: 'failed' });
    expect(leftOvers({ drills })).toEqual([]);
  });

  it('that cannot be asked at all is no drill, and no failed backup', async () => {
    proxy.decide(() => internalError);
    await expect(run()).rejects.toMatchObject({ code: 'store_failed' });
    proxy.decide(undefined);
    expect(leftOvers({ drills })).toEqual([]);
  });

  it('that takes no report leaves what was found as it is', async () => {
    proxy.decide((request) => (request.method === 'PUT' ? internalError : undefined));
    const report = await run();
    proxy.decide(undefined);
    expect(report.passed).toBe(true);
    expect((await run()).passed).toBe(true);
  });
});
