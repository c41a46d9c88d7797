// What archive_command is promised: durable before 0, never replaced, nobody else's.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findWal, listWal, readWal } from '../../../src/backup/wal/archive.ts';
import { walKey } from '../../../src/backup/wal/place.ts';
import { pushWal } from '../../../src/backup/wal/push.ts';
import { spoolFolder } from '../../../src/backup/wal/spool.ts';
import { startServer, type Server } from '../../../scripts/lib/postgres-server.mjs';
import { ownDatabase, startPrivateServer, waitUntil } from '../../support/database.ts';
import { privateSettings } from '../../support/settings.ts';
import { archivesNothing, closeSegments, register, sharedDirectory, walContext } from '../../support/wal.ts';

let server: Server;
let other: Server;

beforeAll(async () => {
  [server, other] = await Promise.all([
    startPrivateServer(archivesNothing),
    startPrivateServer(archivesNothing),
  ]);
});
afterAll(async () => {
  await Promise.all([server.stop(), other.stop()]);
});

const inWal = (name: string) => path.join('pg_wal', name);
/** The same content under the name of a part. */
const partialOf = (dataDir: string, name: string) => {
  const file = path.join(dataDir, inWal(`${name}.partial`));
  fs.copyFileSync(path.join(dataDir, inWal(name)), file);
  return file;
};
const names = async (list: ReturnType<typeof listWal>) => {
  const found: string[] = [];
  for await (const item of list) found.push(item.name);
  return found;
};

describe('wal push', () => {
  it('stores what zstd alone can read, and dbops reads back checked', async () => {
    const wal = walContext([sharedDirectory('store')], { ahead: 0 });
    const [store] = wal.stores;
    const system = await register(server, wal.stores);
    const [name = ''] = await closeSegments(server, 1);
    expect((await pushWal(wal, server.dataDir, inWal(name))).asked).toMatchObject({ name, isNew: true });
    const original = fs.readFileSync(path.join(server.dataDir, inWal(name)));
    const stored = store!.localPath!(walKey(system, name));
    expect(execFileSync('zstd', ['-dc', stored], { maxBuffer: 2 ** 25 }).equals(original)).toBe(true);
    const copy = path.join(sharedDirectory('read'), 'segment');
    const envelope = await readWal(store!, system, name, copy);
    expect(fs.readFileSync(copy).equals(original)).toBe(true);
    // Never later than it was: mtime of Node rounds to the nearest millisecond.
    const { mtimeMs } = fs.statSync(path.join(server.dataDir, inWal(name)));
    expect(envelope.closedAt).toBe(new Date(Math.floor(mtimeMs)).toISOString());
    expect(fs.readdirSync(path.dirname(copy))).toEqual(['segment']);
  });

  it('says yes to the same content again, and never replaces another', async () => {
    const wal = walContext([sharedDirectory('store')], { ahead: 0 });
    const system = await register(server, wal.stores);
    const [name = ''] = await closeSegments(server, 1);
    await pushWal(wal, server.dataDir, inWal(name));
    expect((await pushWal(wal, server.dataDir, inWal(name))).asked.isNew).toBe(false);
    const before = await findWal(wal.stores[0]!, system, name);

    const file = path.join(server.dataDir, inWal(name));
    const content = fs.readFileSync(file);
    fs.writeFileSync(file, Buffer.concat([content.subarray(0, -1), Buffer.from([1])]));
    await expect(pushWal(wal, server.dataDir, inWal(name))).rejects.toThrow(`holds another ${name}`);
    fs.writeFileSync(file, content);
    expect(await findWal(wal.stores[0]!, system, name)).toEqual(before);
  });

  it('does not say yes over a stored copy that is damaged behind its envelope', async () => {
    const wal = walContext([sharedDirectory('store')], { ahead: 0 });
    const system = await register(server, wal.stores);
    const [name = ''] = await closeSegments(server, 1);
    await pushWal(wal, server.dataDir, inWal(name));
    const stored = wal.stores[0]!.localPath!(walKey(system, name));
    const content = fs.readFileSync(stored);
    fs.writeFileSync(stored, content.subarray(0, -100));
    await expect(pushWal(wal, server.dataDir, inWal(name))).rejects.toMatchObject({ code: 'copy_damaged' });
    fs.writeFileSync(stored, content);
    expect((await pushWal(wal, server.dataDir, inWal(name))).asked.isNew).toBe(false);
  });

  it('knows when a segment was closed only of a server that runs and wrote it', async () => {
    const wal = walContext([sharedDirectory('store')], { ahead: 0 });
    const system = await register(server, wal.stores);
    const [copied = '', old = '', standby = ''] = await closeSegments(server, 3);
    const closedAt = async (name: string, file: string, cwd = server.dataDir) => {
      await pushWal(wal, cwd, file);
      return (await findWal(wal.stores[0]!, system, name))?.closedAt;
    };
    const copy = sharedDirectory('copy');
    for (const folder of ['global', 'pg_wal']) fs.mkdirSync(path.join(copy, folder));
    const files = ['global/pg_control', 'postmaster.pid', inWal(copied), inWal(old)];
    for (const file of files) fs.copyFileSync(path.join(server.dataDir, file), path.join(copy, file));
    // Of a file that lies elsewhere, and of a data directory without a server.
    expect(await closedAt(copied, path.join(copy, inWal(copied)))).toBeNull();
    fs.rmSync(path.join(copy, 'postmaster.pid'));
    expect(await closedAt(`${old}.partial`, partialOf(copy, old), copy)).toBeNull();
    const file = path.join(server.dataDir, inWal(old));
    fs.utimesSync(file, new Date(1000), new Date(1000));
    expect(await closedAt(old, inWal(old))).toBeNull();
    fs.writeFileSync(path.join(server.dataDir, 'standby.signal'), '');
    try {
      expect(await closedAt(standby, inWal(standby))).toBeNull();
    } finally {
      fs.rmSync(path.join(server.dataDir, 'standby.signal'));
    }
  });

  it('takes .backup, .partial and .history files', async () => {
    const wal = walContext([sharedDirectory('store')], { ahead: 0 });
    const system = await register(server, wal.stores);
    const [name = ''] = await closeSegments(server, 1);
    const segment = fs.readFileSync(path.join(server.dataDir, inWal(name)));
    const files: [string, string | Buffer][] = [
      ['00000002.history', '1\t0/5000028\tno recovery target specified\n'],
      [`${name}.00000028.backup`, `START WAL LOCATION: 0/2000028 (file ${name})\n`],
      [`${name}.partial`, segment],
    ];
    const folder = sharedDirectory('files');
    for (const [file, content] of files) {
      fs.writeFileSync(path.join(folder, file), content);
      expect((await pushWal(wal, server.dataDir, path.join(folder, file))).asked.isNew).toBe(true);
      expect((await pushWal(wal, server.dataDir, path.join(folder, file))).asked.isNew).toBe(false);
    }
    expect(await names(listWal(wal.stores[0]!, system))).toEqual([
      `${name}.00000028.backup`,
      `${name}.partial`,
    ]);
    fs.writeFileSync(path.join(folder, '00000002.history'), '1\t0/6000028\tanother\n');
    await expect(pushWal(wal, server.dataDir, path.join(folder, '00000002.history'))).rejects.toThrow(
      'holds another 00000002.history',
    );
    fs.writeFileSync(path.join(folder, '00000003.history'), 'no history');
    await expect(pushWal(wal, server.dataDir, path.join(folder, '00000003.history'))).rejects.toThrow(
      'does not belong',
    );
  });

  it('refuses the WAL of another cluster, and a cluster that nobody registered', async () => {
    const wal = walContext([sharedDirectory('store')], { ahead: 0 });
    await register(server, wal.stores);
    const [name = ''] = await closeSegments(other, 1);
    await expect(pushWal(wal, other.dataDir, inWal(name))).rejects.toThrow('is not registered');
    // Its file, handed to the archive of the server that is registered.
    const file = path.join(other.dataDir, inWal(name));
    const stray = path.join(sharedDirectory('stray'), name);
    fs.copyFileSync(file, stray);
    await expect(pushWal(wal, server.dataDir, stray)).rejects.toMatchObject({
      code: 'refused',
      detail: expect.stringContaining('it is from the cluster') as string,
    });
  });

  it('refuses a segment that the server still writes to', async () => {
    const wal = walContext([sharedDirectory('store')], { ahead: 0 });
    await register(server, wal.stores);
    const [row] = await ownDatabase(server).query<{ name: string }>(
      `select pg_walfile_name(pg_logical_emit_message(true, 'test', 'x')) as name`,
    );
    const current = row!.name;
    await expect(pushWal(wal, server.dataDir, inWal(current))).rejects.toThrow('is not ready');
  });

  it('pushes further ready segments and leaves marks that the shell believes', async () => {
    const wal = walContext([sharedDirectory('store')]);
    const system = await register(server, wal.stores);
    await closeSegments(server, 3);
    const ready = fs
      .readdirSync(path.join(server.dataDir, 'pg_wal/archive_status'))
      .flatMap((file) => (file.endsWith('.ready') ? [file.slice(0, -6)] : []))
      .sort();
    const [asked = '', ...further] = ready;
    const { ahead } = await pushWal(wal, server.dataDir, inWal(asked));
    expect(ahead).toBe(further.length);
    expect(await names(listWal(wal.stores[0]!, system))).toEqual(ready);
    const data = { path: server.dataDir, systemIdentifier: system };
    const marks = spoolFolder(wal.settings.spool, data, 'pushed');
    expect(fs.readdirSync(marks).sort()).toEqual(further.map((name) => `${name}.ok`));
    // What is marked is not pushed again.
    expect((await pushWal(wal, server.dataDir, inWal(asked))).ahead).toBe(0);

    const believed = (name: string) =>
      execFileSync('sh', ['-c', `[ "${marks}/${name}.ok" -nt "pg_wal/${name}" ] && echo yes || echo no`], {
        cwd: server.dataDir,
        encoding: 'utf8',
      }).trim();
    const [next = ''] = further;
    expect(believed(next)).toBe('yes');
    // A server that was set back writes the segment anew: the mark is older, and is swept away.
    await sleep(20);
    fs.utimesSync(path.join(server.dataDir, inWal(next)), new Date(), new Date(Date.now() + 5));
    expect(believed(next)).toBe('no');
    await pushWal(wal, server.dataDir, inWal(asked));
    expect(believed(next)).toBe('yes');
  });

  it('reports the file that was asked for even if a further one cannot be pushed', async () => {
    const wal = walContext([sharedDirectory('store')]);
    const system = await register(server, wal.stores);
    const [asked = '', bad = ''] = await closeSegments(server, 2);
    const file = path.join(server.dataDir, inWal(bad));
    const content = fs.readFileSync(file);
    fs.writeFileSync(file, content.subarray(0, 1000));
    await pushWal(wal, server.dataDir, inWal(asked));
    expect(wal.lines.join('\n')).toMatch(/wal_ahead_stopped: .*does not belong/);
    expect(await findWal(wal.stores[0]!, system, bad)).toBeUndefined();
    await expect(pushWal(wal, server.dataDir, inWal(bad))).rejects.toThrow('does not belong');
    fs.writeFileSync(file, content);
    await pushWal(wal, server.dataDir, inWal(bad));
  });

  it('needs no spool', async () => {
    const wal = walContext([sharedDirectory('store')], { spool: '/dev/null/spool' });
    await register(server, wal.stores);
    const [name = ''] = await closeSegments(server, 1);
    await pushWal(wal, server.dataDir, inWal(name));
    expect(wal.lines.join('\n')).toContain('wal_ahead_stopped');
  });

  it('is harmless twice at once', async () => {
    const wal = walContext([sharedDirectory('store')]);
    const system = await register(server, wal.stores);
    const [name = ''] = await closeSegments(server, 4);
    const both = await Promise.all([1, 2].map(() => pushWal(wal, server.dataDir, inWal(name))));
    expect(both.map((item) => item.asked.name)).toEqual([name, name]);
    for await (const item of listWal(wal.stores[0]!, system)) {
      const copy = path.join(sharedDirectory('read'), item.name);
      await readWal(wal.stores[0]!, system, item.name, copy);
    }
  });

  it('needs as many stores as are required, and says which one failed', async () => {
    const [near, far] = [sharedDirectory('near'), sharedDirectory('far')];
    const wal = walContext([near, far], { ahead: 0, required: 1 });
    const system = await register(server, wal.stores);
    const [name = ''] = await closeSegments(server, 1);
    fs.renameSync(far, `${far}.away`);
    await pushWal(wal, server.dataDir, inWal(name));
    expect(wal.lines.join('\n')).toMatch(/wal_copy_failed: .*far/);
    const strict = { ...wal, settings: { ...wal.settings, required: 2 } };
    await expect(pushWal(strict, server.dataDir, inWal(name))).rejects.toMatchObject({ exitCode: 7 });
    fs.renameSync(`${far}.away`, far);
    expect((await pushWal(strict, server.dataDir, inWal(name))).asked.isNew).toBe(true);
    expect(await findWal(wal.stores[1]!, system, name)).toMatchObject({ name });
  });

  it('archives the history of a timeline before its segments, and refuses a clone that was promoted apart', async () => {
    let base = '';
    await server.restart({
      whileStopped: () => {
        base = path.join(sharedDirectory('clone'), 'data');
        fs.cpSync(server.dataDir, base, { recursive: true });
      },
    });
    const clone = await startServer({
      binDir: server.binDir,
      copyOf: base,
      signalFile: 'recovery.signal',
      settings: { ...privateSettings, ...archivesNothing, restore_command: 'exit 1' },
    });
    try {
      const { query } = ownDatabase(clone);
      await waitUntil(
        async () => !(await query<{ is: boolean }>('select pg_is_in_recovery() as is'))[0]!.is,
        { what: 'the promotion' },
      );
      const [name = ''] = await closeSegments(clone, 1);
      expect(name.slice(0, 8)).toBe('00000002');
      const history = path.join(clone.dataDir, 'pg_wal/00000002.history');
      const own = fs.readFileSync(history, 'utf8');

      const fresh = walContext([sharedDirectory('store')], { ahead: 0 });
      const system = await register(clone, fresh.stores);
      await pushWal(fresh, clone.dataDir, inWal(name));
      expect(await findWal(fresh.stores[0]!, system, '00000002.history')).toMatchObject({
        plainBytes: own.length,
      });

      // In this archive another server was promoted later, and went on from there.
      const taken = walContext([sharedDirectory('store')], { ahead: 0 });
      await register(clone, taken.stores);
      const other = path.join(sharedDirectory('other'), '00000002.history');
      fs.writeFileSync(other, '1\t7/5000028\tno recovery target specified\n');
      await pushWal(taken, clone.dataDir, other);
      await expect(pushWal(taken, clone.dataDir, inWal(name))).rejects.toThrow(
        'timeline 2 of this server is not that of the archive',
      );
      fs.renameSync(history, `${history}.away`);
      await expect(pushWal(taken, clone.dataDir, inWal(name))).rejects.toThrow('lies before the beginning');
      expect(await findWal(taken.stores[0]!, system, name)).toBeUndefined();
    } finally {
      await clone.stop();
    }
  });
});
