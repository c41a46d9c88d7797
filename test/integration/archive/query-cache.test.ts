// Where the rows of a query come from when they do not lie on this host as Parquet, and how a query ends early.
import { PutObjectCommand } from '@aws-sdk/client-s3';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCache } from '../../../src/archive/query/cache.ts';
import { runProgram } from '../../support/cli.ts';
import { sharedDirectory } from '../../support/copied.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { startS3, whyNoS3, type S3Server } from '../../support/s3.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';

const directory = sharedDirectory();
let parents = 0;

/** A directory for one cache. */
function parent(): string {
  parents += 1;
  const made = path.join(directory, `parent-${String(parents)}`);
  fs.mkdirSync(made);
  return made;
}

/** Makes an entry with a file of 100 bytes, used so many hours ago. */
async function addEntry(cache: Awaited<ReturnType<typeof openCache>>, name: string, hoursAgo: number) {
  const make = (made: string) =>
    fs.promises.writeFile(path.join(made, 'part-00000.parquet'), 'x'.repeat(100));
  const paths = await cache.entry(name, make);
  const then = new Date(Date.now() - hoursAgo * 3_600_000);
  fs.utimesSync(path.dirname(paths[0]!), then, then);
  return paths;
}

describe('the cache of queries', () => {
  it('removes what was not used for the longest time, and nothing of the last hour', async () => {
    const cache = await openCache(parent(), 150);
    for (const [name, hours] of Object.entries({ old: 5, older: 9, young: 2, fresh: 0 })) {
      await addEntry(cache, name, hours);
    }
    // Used again: it is no longer the oldest.
    await cache.entry('older', () => Promise.reject(new Error('it is there already')));
    await cache.evict();
    expect(fs.readdirSync(cache.directory).sort()).toEqual(['fresh', 'older']);
  });

  it('keeps nothing of an entry that could not be made, and one of two made at once', async () => {
    const cache = await openCache(parent(), 1000);
    await expect(cache.entry('broken', () => Promise.reject(new Error('no room')))).rejects.toThrow(
      'no room',
    );
    expect(fs.readdirSync(cache.directory)).toEqual([]);
    const both = await Promise.all([addEntry(cache, 'twice', 0), addEntry(cache, 'twice', 0)]);
    expect(both[0]).toEqual(both[1]);
    expect(fs.readdirSync(cache.directory)).toEqual(['twice']);
  });

  it('is refused where others may write to it', async () => {
    const at = parent();
    const { directory: made } = await openCache(at, 1000);
    fs.chmodSync(made, 0o777);
    await expect(openCache(at, 1000)).rejects.toMatchObject({ code: 'refused' });
  });
});

describe('a query', () => {
  let database: TestDatabase;
  let work: Workspace;

  beforeAll(async () => {
    database = await createDatabase('query_cache');
    afterAll(() => database.drop());
    await database.query(`
      create table public.events (id bigint, at timestamptz not null, note text) partition by range (at);
      create table public.events_y2020m01 partition of public.events for values from ('2020-01-01 00:00+00') to ('2020-02-01 00:00+00');
      create table public.events_y2020m02 partition of public.events for values from ('2020-02-01 00:00+00') to ('2020-03-01 00:00+00');
      insert into public.events select n, '2020-01-01 00:00+00'::timestamptz + n * interval '1 min', 'note ' || n from generate_series(1, 1000) as n`);
    work = createWorkspace(database, '');
    fs.mkdirSync(path.join(work.dir, 'work'));
  });

  async function archive(stores: string, parquet: boolean): Promise<void> {
    work.configure(`
stores:
${stores}
archive: { parquet: ${String(parquet)}, workDirectory: "${work.dir}/work" }
partitions:
  - { table: public.events, key: at, interval: month, retention: { hot: 1 year, cold: 20 years } }
`);
    const run = await work.run([
      'archive',
      'run',
      '--partition',
      'public.events_y2020m01',
      '--until',
      'verified',
    ]);
    expect(run.code, run.stderr).toBe(0);
    await database.query('delete from dbops.archive');
  }

  const cached = () =>
    fs
      .readdirSync(path.join(work.dir, 'work'), { recursive: true })
      .filter((name) => String(name).endsWith('.parquet'));
  const sum = ['archive', 'query', 'select sum(id) as total from events', '--json'];

  it('fetches Parquet from S3 once, compared with the manifest', async (context) => {
    const reason = whyNoS3();
    if (reason !== undefined) context.skip(reason);
    const s3: S3Server = await startS3();
    try {
      await archive(s3.yaml('bucket'), true);
      for (const use of ['fetched', 'from the cache']) {
        const run = await work.run(sum);
        expect(run.code, run.stderr).toBe(0);
        expect(JSON.parse(run.stdout)).toMatchObject({
          data: { rows: [{ total: 500500 }], archives: [{ use }] },
        });
      }
      fs.rmSync(path.join(work.dir, 'work'), { recursive: true });
      fs.mkdirSync(path.join(work.dir, 'work'));
      await damage(s3);
      expect(await work.run(sum)).toMatchObject({ code: 7, stdout: '' });
      expect(cached()).toEqual([]);
    } finally {
      await s3.stop();
    }
  });

  it('makes no Parquet of a part that is not what was written', async () => {
    await archive(`  near: { url: "file://${work.dir}/near" }`, false);
    const parts = fs
      .readdirSync(path.join(work.dir, 'near'), { recursive: true })
      .filter((name) => String(name).endsWith('.zst'));
    const part = path.join(work.dir, 'near', String(parts[0]));
    const whole = fs.readFileSync(part);
    fs.writeFileSync(part, whole.subarray(0, -20));
    const cut = await work.run(sum);
    expect({ code: cut.code, stdout: cut.stdout }).toEqual({ code: 7, stdout: '' });
    expect(cut.stderr).toContain('part-00000.copy.zst has other bytes than the manifest says');
    fs.writeFileSync(part, Buffer.from('not zstd'));
    expect(await work.run(sum)).toMatchObject({ code: 7, stdout: '' });
    expect(cached()).toEqual([]);
    fs.writeFileSync(part, whole);
    expect((await work.run(sum)).code).toBe(0);
    expect(cached()).toHaveLength(1);
  });

  it('ends with 130 when it is interrupted', async () => {
    const running = work.spawn([
      'archive',
      'query',
      'select count(*) from range(100000000000) as t (n) where hash(n) = 1',
    ]);
    await running.waitFor(/0 of 0 archives are read/);
    running.kill('SIGINT');
    expect(await running.done).toMatchObject({ code: 130, stdout: '' });
  });

  it('says how to get DuckDB where it is not installed', async () => {
    const bare = parent();
    const root = path.resolve(import.meta.dirname, '../../..');
    for (const folder of ['bin', 'dist'])
      fs.cpSync(path.join(root, folder), path.join(bare, folder), { recursive: true });
    fs.copyFileSync(path.join(root, 'package.json'), path.join(bare, 'package.json'));
    const entry = path.join(bare, 'bin', 'dbops.js');
    const run = await runProgram([
      process.execPath,
      entry,
      'archive',
      'query',
      'select 1',
      '--store',
      `file://${bare}`,
    ]);
    expect({ code: run.code, stdout: run.stdout }).toEqual({ code: 7, stdout: '' });
    expect(run.stderr).toContain('npm install --global @duckdb/node-api');
  });

  it('says what is wrong with a work directory that cannot be used', async () => {
    const file = path.join(parent(), 'file');
    fs.writeFileSync(file, '');
    work.configure(
      `stores: { near: { url: "file://${work.dir}/near" } }\narchive: { workDirectory: "${file}/work" }\n`,
    );
    const run = await work.run(sum);
    expect(run).toMatchObject({ code: 7, stdout: '' });
    expect(JSON.parse(run.stderr)).toMatchObject({
      error: { code: 'tool_failed', message: expect.stringContaining('cannot be used') as string },
    });
  });

  async function damage(s3: S3Server): Promise<void> {
    const { openStore } = await import('../../../src/storage/open.ts');
    const store = await openStore(s3.settings());
    for await (const object of store.list('')) {
      if (!object.key.endsWith('.parquet')) continue;
      const body = Buffer.alloc(object.sizeBytes, 'x');
      await s3.client.send(
        new PutObjectCommand({ Bucket: s3.bucket, Key: `dbops/${object.key}`, Body: body }),
      );
    }
    await store.close();
  }
});
