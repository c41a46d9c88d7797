import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { findBackup, findLatest } from '../../../src/backup/catalogue/find.ts';
import { putMark } from '../../../src/backup/catalogue/marks.ts';
import { findPin, withPin } from '../../../src/backup/catalogue/pin.ts';
import { surveyBackups } from '../../../src/backup/catalogue/survey.ts';
import { silentLog } from '../../../src/output/log.ts';
import { openStore } from '../../../src/storage/open.ts';
import type { Store } from '../../../src/storage/store.ts';
import { layBackup } from '../../support/backups.ts';
import { startS3, whyNoS3, type S3Server } from '../../support/s3.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-catalogue-'));
const signal = new AbortController().signal;
const old = '7000000000000000001';
const current = '6000000000000000002';
let s3: S3Server | undefined;
let near: Store;
let far: Store;
let gone: Store;
let stores: Store[];
let newest: string;

const fileStore = (name: string) =>
  openStore({ name, url: `file://${path.join(dir, name)}`, pathStyle: false });

beforeAll(async () => {
  fs.mkdirSync(path.join(dir, 'near'));
  fs.mkdirSync(path.join(dir, 'far'));
  near = await fileStore('near');
  gone = await fileStore('gone');
  if (whyNoS3() === undefined) {
    s3 = await startS3();
    far = await openStore(s3.settings({ name: 'far' }));
  } else far = await fileStore('far');
  stores = [near, far];
  // The ids say the opposite of the times, and the older cluster has the larger identifier.
  await layBackup(stores, { id: '20260103T000000Z-000aaaaa', at: '2026-11-01T00:00:00Z', system: old });
  await layBackup(stores, { id: '20260102T000000Z-000bbbbb', at: '2026-11-02T00:00:00Z', system: current });
  newest = await layBackup(stores, {
    id: '20260101T000000Z-000ccccc',
    at: '2026-11-03T00:00:00Z',
    system: current,
  });
  await layBackup([far], {
    id: '20260105T000000Z-000eeeee',
    at: '2026-11-04T00:00:00Z',
    system: current,
    kind: 'base',
  });
  await layBackup([near], {
    id: '20260104T000000Z-000ddddd',
    at: '2026-11-05T00:00:00Z',
    system: current,
    unfinished: true,
  });
});
afterAll(async () => {
  await near.close();
  await far.close();
  await s3?.stop();
  fs.rmSync(dir, { recursive: true, force: true });
});

describe('surveyBackups', () => {
  it('orders by the times of the manifests within one cluster, and tells remains apart', async () => {
    const { backups, remains, asked, failed } = await surveyBackups(stores, { signal, jobs: 4 });
    expect(backups.map((item) => item.id.slice(-5))).toEqual(['bbbbb', 'ccccc', 'eeeee', 'aaaaa']);
    expect(backups.map((item) => item.copies.map((copy) => copy.store.name))).toEqual([
      ['near', 'far'],
      ['near', 'far'],
      ['far'],
      ['near', 'far'],
    ]);
    expect(remains.map((item) => item.id.slice(-5))).toEqual(['ddddd']);
    expect([asked, failed]).toEqual([['near', 'far'], []]);
  });

  it('looks at one cluster, one database and some kinds only', async () => {
    const ids = async (options: { systemIdentifier?: string; database?: string | null; kinds?: ['base'] }) =>
      (await surveyBackups(stores, { ...options, signal, jobs: 4 })).backups.map((item) => item.id.slice(-5));
    expect(await ids({ systemIdentifier: old })).toEqual(['aaaaa']);
    expect(await ids({ systemIdentifier: current, database: null })).toEqual(['eeeee']);
    expect(await ids({ systemIdentifier: current, database: 'factory' })).toEqual(['bbbbb', 'ccccc']);
    expect(await ids({ kinds: ['base'] })).toEqual(['eeeee']);
  });

  it('goes on without a store that cannot be asked, and says so', async () => {
    const told: string[] = [];
    const survey = await surveyBackups([gone, near], {
      signal,
      jobs: 4,
      onProblem: (store, error) => told.push(`${store.name}: ${error.code}`),
    });
    expect([survey.asked, survey.failed.map((item) => item.store)]).toEqual([['near'], ['gone']]);
    expect(survey.backups).toHaveLength(3);
    expect(told).toEqual(['gone: store_failed']);
  });

  it('takes a manifest that is damaged in one copy for a backup with a problem', async () => {
    const file = path.join(dir, 'near', newest, 'manifest.json');
    const text = fs.readFileSync(file, 'utf8');
    fs.writeFileSync(file, text.slice(0, 50));
    const { backups } = await surveyBackups(stores, { systemIdentifier: current, signal, jobs: 4 });
    const damaged = backups.find((item) => item.id.endsWith('ccccc'));
    expect(damaged?.copies.map((copy) => copy.problem?.code)).toEqual(['copy_damaged', undefined]);
    expect(damaged?.manifest?.id).toBe('20260101T000000Z-000ccccc');
    const found = await findBackup(stores, '20260101');
    expect(found.stores.map((store) => store.name)).toEqual(['far']);
    fs.writeFileSync(file, text);
  });
});

describe('findBackup and findLatest', () => {
  it('find by the beginning of an id, with what lies beside it', async () => {
    await putMark(near, newest, 'verified.json', {
      formatVersion: 1,
      backup: '20260101T000000Z-000ccccc',
      at: '2026-11-20T00:00:00Z',
      passed: true,
      files: 1,
      bytes: 4,
      problems: [],
      unknown: [],
      by: { dbops: '0.1.0', host: 'h', osUser: 'u' },
    });
    await far.put(`${newest}verified.json`, Buffer.from('{"at": 3}'));
    const found = await findBackup(stores, '20260101');
    expect(found.place).toBe(newest);
    expect([found.verified['near']?.passed, found.verified['far'], found.drill, found.hold]).toEqual([
      true,
      undefined,
      undefined,
      undefined,
    ]);
    await expect(findBackup(stores, '2026')).rejects.toMatchObject({ code: 'usage' });
    await expect(findBackup(stores, '2027')).rejects.toMatchObject({ code: 'backup_not_found' });
    await expect(findBackup(stores, '')).rejects.toMatchObject({ code: 'usage' });
    await expect(findBackup([gone], '2026')).rejects.toMatchObject({ code: 'store_failed' });
  });

  it('find the newest of a cluster by time, not by name, and the newest before a moment', async () => {
    const options = { system: current, database: 'factory', kinds: ['logical'] as const, signal, jobs: 4 };
    expect((await findLatest(stores, options)).id).toBe('20260101T000000Z-000ccccc');
    const before = new Date('2026-11-03T00:00:00Z');
    expect((await findLatest(stores, { ...options, before })).id).toBe('20260102T000000Z-000bbbbb');
    await expect(findLatest(stores, { ...options, kinds: ['schema'] })).rejects.toMatchObject({
      code: 'backup_not_found',
    });
    await expect(findLatest([gone], options)).rejects.toMatchObject({ code: 'store_failed' });
  });
});

it('a pin lasts while the backup is read, and a stale one is none', async () => {
  const who = { what: 'drill', host: 'h', log: silentLog } as const;
  const now = new Date();
  await withPin({ stores, place: newest }, who, async () => {
    for (const store of stores) expect(await findPin(store, newest, now)).toContain('reads it since');
    expect(await findPin(near, newest, new Date(now.getTime() + 7 * 3_600_000))).toBeUndefined();
  });
  for (const store of stores) expect(await findPin(store, newest, now)).toBeUndefined();
  const told: string[] = [];
  const log = { ...silentLog, warn: (_: object, message: string) => told.push(message) };
  expect(await withPin({ stores: [gone], place: newest }, { ...who, log }, () => Promise.resolve(1))).toBe(1);
  expect(told.join()).toContain('takes no pin');
});

it('a pin that is being renewed when the work ends is gone after it all the same', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  try {
    let puts = 0;
    // The answer to a renewal takes its time.
    const slow = Object.assign(Object.create(near) as Store, {
      put: async (...args: Parameters<Store['put']>) => {
        puts += 1;
        if (puts > 1) await new Promise((resolve) => setTimeout(resolve, 100));
        return await near.put(...args);
      },
    });
    for (const name of ['delete', 'list'] as const)
      Object.assign(slow, { [name]: near[name].bind(near) as unknown });
    const who = { what: 'drill', host: 'h', log: silentLog } as const;
    await withPin({ stores: [slow], place: newest }, who, async () => {
      await vi.advanceTimersByTimeAsync(3_600_000);
    });
    expect(puts).toBe(2);
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(await findPin(near, newest, new Date())).toBeUndefined();
  } finally {
    vi.useRealTimers();
  }
});
