// A server that archives by itself with the line that dbops prints, a receiver, and what "wal status" says of it.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listWal, readWal } from '../../../src/backup/wal/archive.ts';
import { surveyWal } from '../../../src/backup/wal/coverage.ts';
import { walKey } from '../../../src/backup/wal/place.ts';
import { findTools } from '../../../src/process/tools.ts';
import { FileStore } from '../../../src/storage/file.ts';
import type { Server } from '../../../scripts/lib/postgres-server.mjs';
import { ownDatabase, serverVersion, startPrivateServer, waitUntil } from '../../support/database.ts';
import { hasProgram } from '../../support/logical-backup.ts';
import { closeSegments, sharedDirectory } from '../../support/wal.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';

interface Status {
  data: {
    timelines: { timeline: number; first: string; last: string; segments: number; gaps: unknown[] }[];
    lag: { segments: number; seconds: number | null } | null;
    archiver: { failedCount: number } | null;
    lastCommit: { at: string | null; unknown: string | null };
    findings: string[];
  };
}

const segmentBytes = 16 * 1024 ** 2;
let server: Server;
let work: Workspace;
let root: string;
let store: FileStore;
let system: string;
let spool: string;

beforeAll(async () => {
  server = await startPrivateServer({
    archive_mode: 'on',
    archive_command: '',
    max_wal_size: '128MB',
    min_wal_size: '32MB',
    full_page_writes: 'on',
  });
  root = sharedDirectory('store');
  spool = sharedDirectory('spool');
  work = createWorkspace(server, `stores: { near: { url: "file://${root}" } }\nwal: { spool: ${spool} }\n`);
  // The server's own user reads the configuration.
  fs.chmodSync(work.dir, 0o755);
  store = new FileStore('near', root);
});
afterAll(() => server.stop());

const setting = (text: string, name: string) =>
  new RegExp(`^${name} = '((?:[^']|'')*)'$`, 'm').exec(text)?.[1]?.replaceAll("''", "'") ?? '';

async function archivedUpTo(name: string): Promise<void> {
  const { query } = ownDatabase(server);
  await waitUntil(
    async () =>
      (await query<{ last: string | null }>('select last_archived_wal as last from pg_stat_archiver'))[0]!
        .last === name,
    { timeoutMs: 60_000, what: `${name} in the archive` },
  );
}

async function finishSegment(): Promise<string> {
  const [name = ''] = await closeSegments(server, 1);
  return name;
}

describe('a server that archives by itself', () => {
  it('does with the settings that dbops prints, and they are recognised', async () => {
    const { query } = ownDatabase(server);
    const printed = await work.run(['wal', 'commands', '--config', path.join(work.dir, 'dbops.yaml')]);
    expect(printed.code, printed.stderr).toBe(0);
    expect(printed.stderr).toContain('is registered in store "near"');
    system = /^# cluster (\d+)$/m.exec(printed.stdout)![1]!;
    // Root made it; the server's user writes to it.
    fs.chmodSync(path.join(root, system), 0o777);
    fs.chmodSync(path.join(root, system, 'cluster.json'), 0o644);
    for (const name of ['archive_command', 'archive_timeout']) {
      await query(`alter system set ${name} = '${setting(printed.stdout, name).replaceAll("'", "''")}'`);
    }
    await query('select pg_reload_conf()');
    await archivedUpTo(await finishSegment());
    const again = await work.run([
      'wal',
      'commands',
      '--config',
      path.join(work.dir, 'dbops.yaml'),
      '--json',
    ]);
    const { data } = JSON.parse(again.stdout) as {
      data: { settings: { name: string; isSet: boolean }[]; stores: { isNew: boolean }[] };
    };
    expect(data.settings.filter((item) => item.isSet).map((item) => item.name)).toEqual([
      'archive_mode',
      'archive_command',
      'archive_timeout',
    ]);
    expect(data.stores.map((item) => item.isNew)).toEqual([false]);
  });

  it('keeps up with a load: pg_wal does not grow, and nothing is missing', async () => {
    const { query } = ownDatabase(server);
    await query('create table load (id int, text text)');
    for (let round = 0; round < 6; round += 1) {
      await query(
        `insert into load select g, repeat(md5(g::text || ${String(round)}), 30) from generate_series(1, 50000) as g`,
      );
    }
    await archivedUpTo(await finishSegment());
    await query('checkpoint');
    const folder = path.join(server.dataDir, 'pg_wal');
    const segments = fs.readdirSync(folder).filter((name) => /^[0-9A-F]{24}$/.test(name));
    // max_wal_size, and what the last checkpoint cycle may be over it.
    expect(segments.length * segmentBytes).toBeLessThan(2 * 128 * 1024 ** 2);
    expect(
      fs.readdirSync(path.join(folder, 'archive_status')).filter((name) => name.endsWith('.ready')),
    ).toEqual([]);
    const { timelines } = await surveyWal(store, system, segmentBytes, {});
    expect(timelines.map((item) => item.gaps)).toEqual([[]]);
    expect(timelines[0]!.ranges[0]!.segments).toBeGreaterThan(15);
    // Marks are used up by what they spoke for.
    const marks = path.join(spool, system, os.hostname(), server.dataDir, 'pushed');
    expect(fs.readdirSync(marks)).toEqual([]);
    const [archiver] = await query<{ failed: number }>(
      'select failed_count::int as failed from pg_stat_archiver',
    );
    expect(archiver!.failed).toBe(0);
    for await (const item of listWal(store, system)) {
      await readWal(store, system, item.name, path.join(sharedDirectory('read'), item.name));
      break;
    }
  });

  it('is described by wal status, which finds a gap', async () => {
    const { query } = ownDatabase(server);
    await query('create table committed as select now()');
    await archivedUpTo(await finishSegment());
    const good = await work.run(['wal', 'status', '--json']);
    expect(good.code, good.stderr + good.stdout).toBe(0);
    const { data } = JSON.parse(good.stdout) as Status;
    expect(data.lag).toMatchObject({ segments: 0 });
    expect(data.archiver).toMatchObject({ failedCount: 0 });
    if (hasProgram('pg_waldump')) {
      expect(data.lastCommit.unknown).toBeNull();
      expect(Date.now() - Date.parse(data.lastCommit.at!)).toBeLessThan(60_000);
    } else expect(data.lastCommit.unknown).toContain('pg_waldump');
    expect(data.findings).toEqual([]);
    const [line] = data.timelines;
    const second =
      line!.first.slice(0, 16) +
      (Number.parseInt(line!.first.slice(16), 16) + 1).toString(16).toUpperCase().padStart(8, '0');
    const file = store.localPath(walKey(system, second));
    fs.renameSync(file, `${root}/taken`);
    // What came a moment ago may have overtaken what is missing.
    const newest = store.localPath(walKey(system, line!.last));
    fs.utimesSync(newest, new Date(), new Date(Date.now() - 120_000));
    const bad = await work.run(['wal', 'status']);
    expect(bad.code).toBe(6);
    expect(bad.stdout).toContain(`store "near" lacks ${second}`);
    fs.renameSync(`${root}/taken`, file);
    // Without a server what is stored can be looked at all the same.
    const alone = await work.run(['wal', 'status', '--system', system, '--json'], {
      DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none',
    });
    expect(alone.code, alone.stderr).toBe(0);
    expect((JSON.parse(alone.stdout) as Status).data.lag).toBeNull();
  });
});

describe('wal receive', () => {
  it('archives what is streamed, keeps nothing but the newest segment, and ends cleanly', async (context) => {
    const receivers = await findTools(['pg_receivewal'], process.env['PATH'] ?? '');
    const newest = Math.max(0, ...receivers.map(({ major = 0 }) => major));
    const isTooOld = newest < Math.floor(serverVersion() / 10_000);
    context.skip(isTooOld, 'pg_receivewal takes no WAL of a server that came after it');
    const other = await startPrivateServer({ wal_level: 'replica' });
    try {
      const folder = sharedDirectory('receive');
      const far = path.join(folder, 'far');
      fs.mkdirSync(far);
      const receiver = createWorkspace(
        other,
        `stores: { far: { url: "file://${far}" } }\nwal: { spool: ${folder}/spool }\n`,
      );
      const refused = await receiver.run(['wal', 'receive']);
      expect(refused.stderr).toContain('is not registered');
      expect((await receiver.run(['wal', 'commands'])).code).toBe(0);
      const running = receiver.spawn(['wal', 'receive']);
      await running.waitFor(/receiving WAL/);
      const { query } = ownDatabase(other);
      const names: string[] = [];
      for (let made = 0; made < 3; made += 1) {
        await waitUntil(
          async () =>
            (await query<{ active: boolean }>('select active from pg_replication_slots'))[0]?.active === true,
          { what: 'a receiver' },
        );
        names.push(...(await closeSegments(other, 1)));
      }
      const [{ id }] = (await query<{ id: string }>(
        'select system_identifier::text as id from pg_control_system()',
      )) as [{ id: string }];
      const target = new FileStore('far', far);
      const stored = async () => {
        const found: string[] = [];
        for await (const item of listWal(target, id)) found.push(item.name);
        return found;
      };
      await waitUntil(async () => (await stored()).length >= 3, {
        timeoutMs: 30_000,
        what: 'three segments',
      });
      expect(await stored()).toEqual(names);
      const received = path.join(folder, 'spool', id, 'received');
      await waitUntil(
        () => fs.readdirSync(received).filter((name) => /^[0-9A-F]{24}$/.test(name)).length === 1,
        { what: 'the older ones to be removed' },
      );
      const copy = path.join(folder, 'copy');
      expect((await readWal(target, id, names[0]!, copy)).closedAt).toBeNull();
      running.kill('SIGTERM');
      expect(await running.done).toMatchObject({ code: 0 });
      expect(
        await query('select 1 from pg_replication_slots where slot_name = $1', ['dbops_wal']),
      ).toHaveLength(1);
    } finally {
      await other.stop();
    }
  });
});
