// What restore_command is promised: whole and checked, or positively absent; anything else is no answer.
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { historyOf, surveyWal } from '../../../src/backup/wal/coverage.ts';
import { findDataDirectory, type DataDirectory } from '../../../src/backup/wal/data-directory.ts';
import { fetchWal } from '../../../src/backup/wal/fetch.ts';
import { walKey } from '../../../src/backup/wal/place.ts';
import { prefetchWal, shouldPrefetch } from '../../../src/backup/wal/prefetch.ts';
import { pushWal } from '../../../src/backup/wal/push.ts';
import { segmentName, segmentNumber } from '../../../src/backup/wal/segment.ts';
import { spoolFolder } from '../../../src/backup/wal/spool.ts';
import type { Store } from '../../../src/storage/store.ts';
import type { Server } from '../../../scripts/lib/postgres-server.mjs';
import { startPrivateServer, waitUntil } from '../../support/database.ts';
import {
  archivesNothing,
  closeSegments,
  register,
  sharedDirectory,
  walContext,
  type WalTest,
} from '../../support/wal.ts';

const segmentBytes = 16 * 1024 ** 2;
let server: Server;
let data: DataDirectory;
let system: string;

beforeAll(async () => {
  server = await startPrivateServer(archivesNothing);
  data = await findDataDirectory(server.dataDir);
  system = data.systemIdentifier;
});
afterAll(() => server.stop());

/** Stores that hold these many segments each. */
async function archive(stores: number, segments: number) {
  const wal = walContext(
    Array.from({ length: stores }, (_, index) => sharedDirectory(`store${String(index)}`)),
    { ahead: 8 },
  );
  await register(server, wal.stores);
  const names = await closeSegments(server, segments);
  for (const name of names)
    await pushWal({ ...wal, settings: { ...wal.settings, ahead: 0 } }, server.dataDir, `pg_wal/${name}`);
  const target = path.join(sharedDirectory('target'), 'RECOVERYXLOG');
  const fetch = (name: string, deadlineMs?: number, context: WalTest = wal) =>
    fetchWal(context, context.stores, {
      systemIdentifier: system,
      name,
      path: target,
      deadlineMs,
      checkWanted: () => Promise.resolve(),
    });
  const original = (name: string) => fs.readFileSync(path.join(server.dataDir, 'pg_wal', name));
  return { wal, names, target, fetch, original };
}

const fileOf = (store: Store | undefined, name: string) => store!.localPath!(walKey(system, name));
const flip = (file: string) => {
  const bytes = fs.readFileSync(file);
  bytes[bytes.length - 20] = bytes[bytes.length - 20]! ^ 1;
  fs.writeFileSync(file, bytes);
};

describe('wal fetch', () => {
  it('brings a segment whole, and says of another that no store has it', async () => {
    const { names, target, fetch, original } = await archive(2, 1);
    expect(await fetch(names[0]!)).toBe('found');
    expect(fs.readFileSync(target).equals(original(names[0]!))).toBe(true);
    fs.unlinkSync(target);
    expect(await fetch('0000000100000000000000F0')).toBe('absent');
    expect(await fetch('00000002.history')).toBe('absent');
    expect(fs.readdirSync(path.dirname(target))).toEqual([]);
  });

  it('passes over a damaged copy, and never takes damage for absence', async () => {
    const { wal, names, target, fetch, original } = await archive(2, 1);
    const [name = ''] = names;
    flip(fileOf(wal.stores[0], name));
    expect(await fetch(name)).toBe('found');
    expect(fs.readFileSync(target).equals(original(name))).toBe(true);
    fs.unlinkSync(target);
    const good = fs.readFileSync(fileOf(wal.stores[1], name));
    flip(fileOf(wal.stores[1], name));
    await expect(fetch(name, 1000)).rejects.toThrow('before the deadline');
    expect(wal.lines.join('\n')).toMatch(/wal_fetch_waits: .*is damaged/);
    expect(fs.readdirSync(path.dirname(target))).toEqual([]);
    // A copy that is truncated, and one that is another file.
    fs.writeFileSync(fileOf(wal.stores[1], name), good.subarray(0, good.length / 2));
    await expect(fetch(name, 500)).rejects.toThrow('before the deadline');
    const next = segmentName(1, segmentNumber(name, segmentBytes) + 1n, segmentBytes);
    fs.mkdirSync(path.dirname(fileOf(wal.stores[1], next)), { recursive: true });
    for (const store of wal.stores) fs.writeFileSync(fileOf(store, next), good);
    await expect(fetch(next, 500)).rejects.toThrow('before the deadline');
  });

  it('blames this host, and no store, for what it cannot write', async () => {
    const { wal, names, target, fetch } = await archive(1, 1);
    fs.rmdirSync(path.dirname(target));
    await expect(fetch(names[0]!, 1000)).rejects.toMatchObject({
      detail: expect.stringMatching(/^this host: cannot write .*RECOVERYXLOG \(ENOENT/) as string,
    });
    expect(wal.lines.join('\n')).not.toContain('store "');
  });

  it('waits for a store whose directory is gone, or empty, and goes on when it is back', async () => {
    const { wal, names, fetch } = await archive(1, 1);
    const [name = ''] = names;
    const root = wal.stores[0]!.localPath!('x').slice(0, -2);
    fs.renameSync(root, `${root}.away`);
    const missing = fetch('0000000100000000000000F0');
    await waitUntil(() => wal.lines.length > 0, { what: 'a line about the store' });
    // The mount point of a disk that is not mounted.
    fs.mkdirSync(root);
    await waitUntil(() => wal.lines.some((line) => line.includes('knows nothing')), {
      what: 'a line about the cluster',
    });
    const found = fetch(name);
    fs.rmdirSync(root);
    fs.renameSync(`${root}.away`, root);
    expect(await missing).toBe('absent');
    expect(await found).toBe('found');
  });

  it('looks through an archive in which one history is damaged', async () => {
    const { wal } = await archive(1, 1);
    const folder = sharedDirectory('histories');
    for (const name of ['00000002.history', '00000003.history']) {
      fs.writeFileSync(path.join(folder, name), '1\t0/5000028\tno recovery target specified\n');
      await pushWal(
        { ...wal, settings: { ...wal.settings, ahead: 0 } },
        server.dataDir,
        path.join(folder, name),
      );
    }
    flip(fileOf(wal.stores[0], '00000002.history'));
    const survey = await surveyWal(wal.stores[0]!, system, segmentBytes, {});
    expect(survey.timelines).toHaveLength(1);
    expect(historyOf(survey, 3).ancestors).toHaveLength(1);
    expect(() => historyOf(survey, 2)).toThrow('is damaged');
  });

  it('takes the good answer of one store at once, whatever the other does', async () => {
    const { wal, names, fetch } = await archive(2, 1);
    const [name = ''] = names;
    const silent: Store = Object.assign(Object.create(wal.stores[0]!) as Store, {
      get: (_key: string, { signal }: { signal?: AbortSignal } = {}) =>
        new Promise((_, reject) => signal?.addEventListener('abort', () => reject(new Error('aborted')))),
    });
    const half = { ...wal, stores: [silent, wal.stores[1]!] };
    expect(await fetch(name, 10_000, half)).toBe('found');
    await expect(fetch('0000000100000000000000F0', 1000, half)).rejects.toThrow('before the deadline');
  });

  it('fetches ahead what follows, and drops what is not asked for', async () => {
    const { wal, names } = await archive(1, 4);
    const [first = '', ...rest] = names;
    const folder = spoolFolder(wal.settings.spool, data, 'fetched');
    expect(await shouldPrefetch(wal, data, first, segmentBytes)).toBe(true);
    expect(await prefetchWal(wal, wal.stores, data, first, segmentBytes)).toBe(3);
    expect(fs.readdirSync(folder).sort()).toEqual(rest);
    for (const name of rest) {
      const original = fs.readFileSync(path.join(server.dataDir, 'pg_wal', name));
      expect(fs.readFileSync(path.join(folder, name)).equals(original)).toBe(true);
    }
    expect(await shouldPrefetch(wal, data, first, segmentBytes)).toBe(false);
    // The recovery went on behind them; and what is left of a run that was killed is in nobody's way.
    fs.writeFileSync(path.join(folder, 'xlogtemp.dbops-half'), 'x');
    fs.writeFileSync(path.join(folder, '.lock'), '999999999');
    expect(await prefetchWal(wal, wal.stores, data, rest[1]!, segmentBytes)).toBe(0);
    expect(fs.readdirSync(folder)).toEqual([rest[2]]);
    // After a restart of the host another process has its number.
    const lock = path.join(folder, '.lock');
    fs.writeFileSync(lock, String(process.ppid));
    expect(await shouldPrefetch(wal, data, rest[1]!.replace(/.$/, 'F'), segmentBytes)).toBe(false);
    fs.utimesSync(lock, new Date(0), new Date(0));
    expect(await shouldPrefetch(wal, data, rest[1]!.replace(/.$/, 'F'), segmentBytes)).toBe(true);
    // What was fetched before the server started may be half on disk.
    fs.utimesSync(path.join(folder, rest[2]!), new Date(0), new Date(0));
    expect(await prefetchWal(wal, wal.stores, data, rest[1]!, segmentBytes)).toBe(1);
  });
});
