// What dbops does with the repository of a real pgBackRest: lists, verifies, expires and restores.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PgbackrestPart } from '../../../src/backup/manifest.ts';
import { expirePgbackrest } from '../../../src/backup/pgbackrest/expire.ts';
import { listPgbackrestBackups } from '../../../src/backup/pgbackrest/info.ts';
import { restorePgbackrest } from '../../../src/backup/pgbackrest/restore.ts';
import { findPgbackrest, type PgbackrestSite as Found } from '../../../src/backup/pgbackrest/site.ts';
import { neededSegments, problemsOf, verifyRepository } from '../../../src/backup/pgbackrest/verify.ts';
import { startServer } from '../../../src/backup/cluster/server.ts';
import { ownAccount } from '../../../src/process/account.ts';
import { findTools } from '../../../src/process/tools.ts';
import { ownDatabase, waitUntil } from '../../support/database.ts';
import {
  archiveWal,
  startPgbackrest,
  whyNoPgbackrest,
  type PgbackrestSite,
} from '../../support/pgbackrest.ts';

const missing = whyNoPgbackrest();
const { signal } = new AbortController();

describe('a repository of pgBackRest', () => {
  let site: PgbackrestSite;
  let found: Found;
  let db: ReturnType<typeof ownDatabase>;
  const labels: string[] = [];

  const backup = (...options: string[]) => {
    const { code, output } = site.run('backup', '--no-expire-auto', ...options);
    expect(code, output).toBe(0);
    return (site.run('info').output.match(/(?:full|diff|incr) backup: (\S+)/g) ?? [])
      .at(-1)!
      .split(' ')
      .at(-1)!;
  };
  const part = async (label: string): Promise<PgbackrestPart> =>
    (await listPgbackrestBackups(found, signal)).find((item) => item.part.label === label)!.part;
  const problems = async (label: string) =>
    problemsOf(found, await part(label), 1, await verifyRepository(found, 1, signal), signal);

  beforeAll(async () => {
    if (missing !== undefined) return;
    site = await startPgbackrest();
    db = ownDatabase(site.server);
    found = await findPgbackrest({
      settings: {
        backup: { pgbackrest: { stanza: site.stanza, config: site.config, user: site.user } },
      } as Parameters<typeof findPgbackrest>[0]['settings'],
      findTools: (names) => findTools(names, process.env['PATH'] ?? ''),
      signal,
    });
    await db.query("create table public.t as select 'before' as mark");
    labels.push(backup('--type=full'), backup('--type=diff', '--annotation=dbops=20261121T031500Z-0de3a9c0'));
  });
  afterAll(async () => {
    await site?.stop();
  });

  it('lists backups that pgBackRest made by itself, and says which are ours', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const listed = await listPgbackrestBackups(found, signal);
    expect(listed.map((item) => [item.part.label, item.part.type, item.id])).toEqual([
      [labels[0], 'full', null],
      [labels[1], 'diff', '20261121T031500Z-0de3a9c0'],
    ]);
    const [system] = await db.query<{ id: string }>(
      'select system_identifier::text as id from pg_control_system()',
    );
    expect(listed.map((item) => item.systemIdentifier)).toEqual([system!.id, system!.id]);
    expect(neededSegments(listed[1]!.part)).toContain(listed[1]!.part.stopWal);
  });

  it('recovers to a named point, as a clone that archives nothing', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    await db.query("insert into public.t values ('until')");
    await db.query("select pg_create_restore_point('here')");
    await db.query("insert into public.t values ('after')");
    await archiveWal(site, db);
    const dataDirectory = path.join(site.dir, 'restored');
    const wish = {
      part: await part(labels[1]!),
      dataDirectory,
      target: { kind: 'name', value: 'here' },
      action: 'promote',
      archiving: 'off',
      timeline: undefined,
      tablespaces: {},
    } as const;
    const early = { ...wish, target: { kind: 'time', value: '2020-01-01 00:00:00+00' } } as const;
    await expect(restorePgbackrest(found, early, signal)).rejects.toMatchObject({ code: 'refused' });
    expect(fs.existsSync(dataDirectory)).toBe(false);

    await restorePgbackrest(found, wish, signal);
    await expect(restorePgbackrest(found, wish, signal)).rejects.toMatchObject({ code: 'refused' });
    const restored = await startServer({
      postgres: path.join(site.server.binDir, 'postgres'),
      dataDirectory,
      account: found.account ?? ownAccount(),
      loopback: { port: undefined },
      signal,
    });
    try {
      await restored.ready();
      const clone = ownDatabase({ url: `postgresql://postgres@127.0.0.1:${restored.port}/postgres` });
      await waitUntil(
        async () => (await clone.query<{ in: boolean }>('select pg_is_in_recovery() as in'))[0]?.in === false,
        {
          what: 'the end of the recovery',
        },
      );
      expect(await clone.query('select mark from public.t order by mark')).toEqual([
        { mark: 'before' },
        { mark: 'until' },
      ]);
      expect(await clone.query('show archive_mode')).toEqual([{ archive_mode: 'off' }]);
    } finally {
      await restored.stop();
    }
  });

  it('writes a restore_command that never takes trouble for the end of the WAL', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const settings = fs.readFileSync(path.join(site.dir, 'restored', 'postgresql.auto.conf'), 'utf8');
    const command = /^restore_command = '(.*)'$/m.exec(settings)![1]!.replaceAll("''", "'");
    const target = path.join(site.dir, 'fetched');
    const { uid, gid } = fs.statSync(site.server.dataDir);
    const owner = { uid, gid };
    const fetch = (name: string) =>
      spawnSync('sh', ['-c', command.replaceAll('%f', name).replaceAll('%p', target)], {
        cwd: site.dir,
        ...(process.getuid?.() === 0 ? owner : {}),
      }).status;
    const { startWal } = await part(labels[1]!);
    expect(fetch(startWal!)).toBe(0);
    expect(fetch('0000000100000000000000FE')).toBe(1);
    const away = `${site.repository}-away`;
    fs.renameSync(site.repository, away);
    try {
      expect(fetch(startWal!)).toBe(255);
    } finally {
      fs.renameSync(away, site.repository);
    }
  });

  it('finds each kind of damage, although "pgbackrest verify" ends with 0', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const [full, diff] = labels as [string, string];
    expect(await problems(full)).toEqual([]);
    expect(await problems(diff)).toEqual([]);

    const base = path.join(site.repository, 'backup', site.stanza, full, 'pg_data');
    const file = path.join(base, 'global', '1262.zst');
    const good = fs.readFileSync(file);
    const flipped = Buffer.from(good);
    flipped[30] = flipped[30]! ^ 1;
    fs.writeFileSync(file, flipped);
    // What builds on a damaged backup is damaged.
    expect(await problems(full)).toEqual([expect.stringMatching(/invalid \(checksum invalid: 1\)/)]);
    expect(await problems(diff)).toEqual([expect.stringMatching(/invalid \(checksum invalid: 1\)/)]);
    fs.writeFileSync(file, good);

    const { archive, stopWal } = await part(diff);
    const folder = path.join(site.repository, 'archive', site.stanza, archive, stopWal!.slice(0, 16));
    const segment = path.join(
      folder,
      fs.readdirSync(folder).find((name) => name.startsWith(`${stopWal!}-`))!,
    );
    fs.renameSync(segment, `${site.dir}/segment`);
    expect(await problems(diff)).toEqual([expect.stringContaining(`WAL ${stopWal!} is missing`)]);
    fs.renameSync(`${site.dir}/segment`, segment);
    const wal = fs.readFileSync(segment);
    const broken = Buffer.from(wal);
    broken[60] = broken[60]! ^ 1;
    fs.writeFileSync(segment, broken);
    expect(await problems(diff)).toEqual([expect.stringContaining(`WAL archive ${archive} is damaged`)]);
    fs.writeFileSync(segment, wal);
    expect(await problems(diff)).toEqual([]);
  });

  it('expires only what is named, and nothing that another backup builds on', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const [full, diff] = labels as [string, string];
    await expect(expirePgbackrest(found, 1, [full], signal)).rejects.toMatchObject({
      code: 'refused',
      message: expect.stringContaining(diff) as string,
    });
    const next = backup('--type=full');
    const present = async () => (await listPgbackrestBackups(found, signal)).map((item) => item.part.label);
    expect(await present()).toEqual([full, diff, next]);
    expect(await expirePgbackrest(found, 1, [full, diff], signal)).toEqual([diff, full]);
    expect(await present()).toEqual([next]);
    expect(await expirePgbackrest(found, 1, [full, diff], signal)).toEqual([]);
    // It keeps the last full one by itself.
    await expect(expirePgbackrest(found, 1, [next], signal)).rejects.toMatchObject({ code: 'tool_failed' });
    expect(await present()).toEqual([next]);
  });
});
