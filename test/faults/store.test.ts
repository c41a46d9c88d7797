// A bucket that is busy, hangs, breaks off, loses, lies or is full while a partition is archived: the rows stay where they
// are until the archive is read back and its manifest written, and the next run finishes.
import { execFileSync } from 'node:child_process';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { DbopsError } from '../../src/errors.ts';
import { runWithStores } from '../support/archive-job.ts';
import {
  archiveSetup,
  archiveStates,
  archiveYaml,
  copyOf,
  later,
  ledgerStates,
  makeTable,
  now,
  startAfresh,
  untilSessionsEnd,
  type Setup,
  type StoredManifest,
} from '../support/archive-run.ts';
import { createDatabase, waitUntil, type TestDatabase } from '../support/database.ts';
import {
  internalError,
  slowDown,
  storageFull,
  type Fault,
  type ProxiedRequest,
} from '../support/fault-proxy.ts';
import { quick, startFaultyBucket, type FaultyBucket } from '../support/faulty-bucket.ts';
import { whyNoS3 } from '../support/s3.ts';

const noS3 = whyNoS3();

let db: TestDatabase;
let setup: Setup;
let faulty: FaultyBucket;
let proxy: FaultyBucket['proxy'];
let bucket: FaultyBucket['bucket'];
let disturb: FaultyBucket['disturb'];

beforeAll(async () => {
  if (noS3 !== undefined) return;
  db = await createDatabase('archive_store');
  faulty = await startFaultyBucket();
  ({ proxy, bucket, disturb } = faulty);
  setup = archiveSetup(db);
  setup.configure(
    archiveYaml('', {
      stores: faulty.yaml,
      top: 'archive: { jobs: 1 }',
    }),
  );
  // Text that zstd makes half as long, and no shorter.
  await db.query(`
    create schema stash;
    create table stash.bulk as
      select g as id, string_agg(md5(g::text || ' ' || i::text), '') as note
        from generate_series(1, 400) as g, generate_series(1, 1000) as i group by g`);
});
afterAll(async () => {
  await faulty?.stop();
  await db?.drop();
});

beforeEach(async (context) => {
  if (noS3 !== undefined) context.skip(noS3);
  await faulty.empty();
  await startAfresh(setup);
  await makeTable(db);
  proxy.forget();
});

/** More than one part of an upload, as "quick" cuts them. */
async function fill(): Promise<void> {
  await db.query("insert into events select 7000 + id, '2026-06-03', note from stash.bulk");
}

const verb = (name: string) => (request: ProxiedRequest) => request.verb === name;
const isPart = (request: ProxiedRequest) => request.key.endsWith('.zst');
const partOf = (name: string) => (request: ProxiedRequest) => request.verb === name && isPart(request);

async function failure(): Promise<DbopsError> {
  const { error, lines } = await runWithStores(setup, quick);
  expect(error, JSON.stringify(lines)).toBeDefined();
  return error!;
}

async function stored(): Promise<{ keys: string[]; uploads: string[] }> {
  const keys: string[] = [];
  const uploads: string[] = [];
  for await (const object of bucket.list('')) keys.push(object.key);
  for await (const upload of bucket.listUploads('')) uploads.push(upload.key);
  return { keys, uploads };
}

const linesOfPart = async (key: string) =>
  execFileSync('zstd', ['-q', '-dc'], { input: await buffer(await bucket.get(key)), maxBuffer: 2 ** 28 })
    .toString('utf8')
    .split('\n')
    .slice(0, -1);

/** Attached, with all rows, and the bucket holds nothing of it. */
async function expectUntouched(rows: string[], isClean = true): Promise<void> {
  await untilSessionsEnd(db);
  expect(await db.query("select from pg_inherits where inhrelid = 'events_6'::regclass")).toHaveLength(1);
  expect(copyOf(db, 'events_6')).toEqual(rows);
  expect(await db.query('select from dbops.partition_ledger')).toEqual([]);
  if (isClean) expect(await stored()).toEqual({ keys: [], uploads: [] });
  else expect((await stored()).keys.filter((key) => key.endsWith('manifest.json'))).toEqual([]);
}

/** One archive, which the bucket holds and nothing else, with these rows; the partition waits in its quarantine. */
async function expectArchived(rows: string[]): Promise<void> {
  const proven = (await archiveStates(db)).filter(({ state }) => state !== 'failed');
  expect(proven).toMatchObject([{ state: 'proven', stores: ['cold'] }]);
  expect((await ledgerStates(db)).at(-1)).toBe('events_6 detached');
  const { keys, uploads } = await stored();
  expect(uploads).toEqual([]);
  const folder = keys[0]!.slice(0, keys[0]!.lastIndexOf('/') + 1);
  const manifest = JSON.parse(
    (await buffer(await bucket.get(`${folder}manifest.json`))).toString('utf8'),
  ) as StoredManifest;
  const named = [...manifest.parts.map((part) => part.name), 'manifest.json', 'schema.sql'];
  expect(keys).toEqual(named.map((name) => `${folder}${name}`).sort());
  expect(manifest.id).toBe(proven[0]!.id);
  const lines = await Promise.all(manifest.parts.map((part) => linesOfPart(`${folder}${part.name}`)));
  expect(lines.flat().sort()).toEqual([...rows].sort());
}

/** What follows a failure: the store is well again, and the next run finishes. */
async function expectNextToFinish(rows: string[]): Promise<void> {
  proxy.decide(undefined);
  expect((await runWithStores(setup, quick)).error).toBeUndefined();
  await expectArchived(rows);
}

describe('a store that is busy', () => {
  it.each([
    ['500', internalError, 3],
    ['503 SlowDown', slowDown, 1],
  ])('with %s for a while is waited for', async (_name, fault, times) => {
    const rows = copyOf(db, 'events_6');
    disturb((request) => request.method === 'PUT' || request.verb === 'GetObject', fault, times);
    const result = await setup.run(['archive', 'run'], now);
    expect(result.code, result.stderr).toBe(0);
    expect(proxy.requests().filter(({ status = 0 }) => status >= 500)).toHaveLength(times);
    await expectArchived(rows);
  });

  it.each([
    ['500', internalError],
    ['503 SlowDown', slowDown],
  ])(
    'with %s for ever, to whatever it is asked, is given up, and what is left is swept',
    async (_name, fault) => {
      await fill();
      const rows = copyOf(db, 'events_6');
      // From the second part on: the first one lies there.
      const seen = () => proxy.requests().filter(partOf('UploadPart')).length > 1;
      disturb(seen, fault);
      const error = await failure();
      expect(error).toMatchObject({ exitCode: 7, code: 'store_failed' });
      expect(error.message).toMatch(/the store "cold" failed at \w+ of s3:/);
      await expectUntouched(rows, false);
      // It could not be asked to forget: the ledger remembers that there may be something.
      expect(await archiveStates(db)).toMatchObject([{ state: 'exporting' }]);
      expect((await stored()).uploads).toHaveLength(1);
      await expectNextToFinish(rows);
      expect((await archiveStates(db)).map(({ state }) => state)).toEqual(['failed', 'proven']);
    },
  );
});

describe('a store that hangs', () => {
  it.each(['UploadPart', 'CompleteMultipartUpload'])(
    'at %s is given up after the idle timeout',
    async (name) => {
      await fill();
      const rows = copyOf(db, 'events_6');
      disturb(verb(name), { kind: 'hang' });
      const startedAt = Date.now();
      const error = await failure();
      expect(error).toMatchObject({ exitCode: 7, code: 'store_failed' });
      expect(error.message).toMatch(/silent for 1 s/);
      expect(Date.now() - startedAt).toBeLessThan(15_000);
      await expectUntouched(rows);
      await expectNextToFinish(rows);
    },
  );

  it('in the middle of what is read back is given up as well', async () => {
    const rows = copyOf(db, 'events_6');
    disturb(partOf('GetObject'), { kind: 'hang-response', afterBytes: 50 });
    expect((await failure()).message).toMatch(/silent for 1 s/);
    await expectUntouched(rows);
    await expectNextToFinish(rows);
  });
});

describe('a connection that breaks', () => {
  it('in the middle of an upload is made again', async () => {
    await fill();
    const rows = copyOf(db, 'events_6');
    disturb(verb('UploadPart'), { kind: 'cut-request', afterBytes: 1_000_000 }, 2);
    expect((await runWithStores(setup, quick)).error).toBeUndefined();
    expect(proxy.requests().filter(verb('UploadPart')).length).toBeGreaterThanOrEqual(4);
    await expectArchived(rows);
  });

  it('before the answer to the manifest costs nothing', async () => {
    const rows = copyOf(db, 'events_6');
    const isManifest = (request: ProxiedRequest) =>
      request.verb === 'PutObject' && request.key.endsWith('manifest.json');
    disturb(isManifest, { kind: 'lose-answer' }, 1);
    const result = await setup.run(['archive', 'run'], now);
    expect(result.code, result.stderr).toBe(0);
    expect(proxy.requests().filter(isManifest)).toHaveLength(2);
    await expectArchived(rows);
  });

  it('in the middle of what is read back fails the archive, and the next run makes it', async () => {
    const rows = copyOf(db, 'events_6');
    disturb(partOf('GetObject'), { kind: 'cut-response', afterBytes: 50 });
    const error = await failure();
    expect(error).toMatchObject({ exitCode: 7, code: 'store_failed' });
    expect(error.message).toContain('GetObject');
    await expectUntouched(rows);
    await expectNextToFinish(rows);
  });
});

describe('a store that lies', () => {
  it('about a part of an upload that it lost is caught when the object is completed', async () => {
    await fill();
    const rows = copyOf(db, 'events_6');
    disturb((request) => request.query.get('partNumber') === '1', { kind: 'lose' });
    const error = await failure();
    expect(error).toMatchObject({ exitCode: 7, code: 'store_failed' });
    expect(error.detail).toContain('InvalidPart');
    await expectUntouched(rows);
    await expectNextToFinish(rows);
  });

  it.each([
    [
      'other bytes',
      'part-00000.copy.zst',
      { kind: 'alter', atByte: 100 },
      /its sha256 is|zstd cannot read it/,
    ],
    [
      'fewer bytes',
      'part-00000.copy.zst',
      { kind: 'shorten', toBytes: 100 },
      /it has 100 bytes, and \d+ were written/,
    ],
    ['another definition', 'schema.sql', { kind: 'alter', atByte: 20 }, /it is not what was written/],
    ['another manifest', 'manifest.json', { kind: 'alter', atByte: 20 }, /it is not what was written/],
  ] as [string, string, Fault, RegExp][])(
    'when it is read back, with %s: copy_damaged, and nothing is detached',
    async (_name, object, fault, detail) => {
      const rows = copyOf(db, 'events_6');
      disturb((request) => request.verb === 'GetObject' && request.key.endsWith(object), fault);
      const result = await setup.run(['archive', 'run', '--json'], now);
      expect(result.code, result.stderr).toBe(7);
      expect(result.stderr).toContain('copy_damaged');
      expect(result.stderr).toMatch(detail);
      expect(result.stderr).toContain(object);
      await expectUntouched(rows);
      await expectNextToFinish(rows);
    },
  );

  it('with other bytes when the rows are to be dropped keeps them', async () => {
    const rows = copyOf(db, 'events_6');
    await expectNextToFinish(rows);
    disturb(partOf('GetObject'), { kind: 'alter', atByte: 100 });
    const result = await setup.run(['archive', 'run'], later);
    expect(result.code, result.stderr).toBe(4);
    expect(result.stderr).toMatch(/events_6 is not dropped: archive \S+ is in 0 of the 1 stores/);
    expect(copyOf(db, 'events_6')).toEqual(rows);
    await expectNextToFinish(rows);
  });
});

describe('a store that is full', () => {
  it.each([
    ['507', storageFull],
    ['503', { ...slowDown, code: 'XMinioStorageFull' }],
  ])('says so with %s, and nothing is left', async (_name, fault) => {
    const rows = copyOf(db, 'events_6');
    disturb((request) => request.method === 'PUT', fault);
    const result = await setup.run(['archive', 'run'], now);
    expect(result.code, result.stderr).toBe(7);
    expect(result.stderr).toContain('the store "cold" is full');
    expect(result.stderr).toContain('Make room there');
    await expectUntouched(rows);
    await expectNextToFinish(rows);
  });
});

describe('the order', () => {
  interface Ddl {
    tag: string;
    query: string;
    ms: number;
  }

  /** What the server was told to change about tables, with its time; both clocks are those of this machine. */
  async function recordDdl(): Promise<() => Promise<Ddl[]>> {
    await db.query(`
      drop table if exists stash.ddl;
      create table stash.ddl (tag text, query text, at timestamptz default clock_timestamp());
      create or replace function stash.note() returns event_trigger language plpgsql as
        $$begin insert into stash.ddl (tag, query) values (tg_tag, current_query()); end$$;
      create event trigger note_ddl on ddl_command_start execute function stash.note()`);
    return async () => {
      await db.query('drop event trigger note_ddl');
      return await db.query<Ddl & Record<string, unknown>>(
        "select tag, query, (extract(epoch from at) * 1000)::float8 as ms from stash.ddl where query ilike '%events_6%' order by at",
      );
    };
  }

  const only = (requests: ProxiedRequest[], what: string): ProxiedRequest => {
    expect(requests, what).toHaveLength(1);
    return requests[0]!;
  };

  it('is read-back, manifest, detach; and every part is read once more before the drop', async () => {
    const recorded = await recordDdl();
    const isManifestPut = (request: ProxiedRequest) =>
      request.verb === 'PutObject' && request.key.endsWith('manifest.json');
    disturb(isManifestPut, { kind: 'delay', ms: 1500 });
    const running = setup.spawn(['archive', 'run'], now);
    await waitUntil(() => proxy.requests().find(isManifestPut), { what: 'the manifest', timeoutMs: 30_000 });
    // Held up on its way to the store: nothing has begun that needs it.
    const active = await db.query<{ query: string }>(
      `select query from pg_stat_activity where datname = current_database() and application_name like 'dbops archive%'`,
    );
    expect(active.map(({ query }) => query).filter((query) => /\bdrop\b|\bdetach\b/i.test(query))).toEqual(
      [],
    );
    expect(active.length).toBeGreaterThan(0);
    expect(await db.query("select from pg_inherits where inhrelid = 'events_6'::regclass")).toHaveLength(1);
    const { code, stderr } = await running.done;
    expect(code, stderr).toBe(0);

    const put = only(proxy.requests().filter(isManifestPut), 'the manifest is put once');
    const parts = new Set(
      proxy
        .requests()
        .filter((request) => isPart(request) && request.method !== 'GET' && request.method !== 'HEAD')
        .map(({ key }) => key),
    );
    expect(parts.size).toBeGreaterThan(0);
    for (const key of [...parts, put.key.replace('manifest.json', 'schema.sql')]) {
      const read = proxy.requests().filter((request) => request.verb === 'GetObject' && request.key === key);
      expect(read.length, key).toBeGreaterThan(0);
      expect(Math.max(...read.map(({ finishedAt = Infinity }) => finishedAt))).toBeLessThanOrEqual(
        put.startedAt,
      );
    }

    proxy.forget();
    const last = await setup.run(['archive', 'run'], later);
    expect(last.code, last.stderr).toBe(0);
    expect((await ledgerStates(db)).at(-1)).toBe('events_6 dropped');
    const ddl = await recorded();
    const detach = ddl.find(({ query }) => /detach partition/i.test(query));
    const drops = ddl.filter(({ tag }) => tag === 'DROP TABLE');
    expect(detach?.ms, JSON.stringify(ddl)).toBeGreaterThan(put.finishedAt!);
    expect(drops).toHaveLength(1);
    for (const key of [...parts, put.key]) {
      const read = proxy.requests().filter((request) => request.verb === 'GetObject' && request.key === key);
      expect(read.length, key).toBeGreaterThan(0);
      expect(Math.max(...read.map(({ finishedAt = Infinity }) => finishedAt))).toBeLessThanOrEqual(
        drops[0]!.ms,
      );
    }
  });
});
