// What keeps a base backup from being begun: each is refused before anything is written, with what helps.
import fs from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { rdsSnapshotCommand } from '../../../src/backup/create/physical/checks.ts';
import { startStandby } from '../../support/database.ts';
import {
  backupFiles,
  rowsOf,
  startSite,
  unpack,
  verifyUnpacked,
  whyNoBasebackup,
  withRestored,
  type MadeBackup,
  type PhysicalSite,
} from '../../support/physical.ts';

const missing = whyNoBasebackup();
const password = 'correct-horse-battery';

describe('a base backup is refused', () => {
  let site: PhysicalSite;

  beforeAll(async () => {
    if (missing !== undefined) return;
    site = await startSite();
    await site.db.query(`create role plain login password '${password}'`);
    await site.db.query(`create role copier login replication password '${password}'`);
    await site.db.query('grant create on database postgres to plain, copier');
  });

  const as = (user: string, ...args: string[]) =>
    site.run(['backup', 'create', '--kind', 'base', ...args], {
      DATABASE_URL: site.db.url.replace('//postgres@', `//${user}:${password}@`),
    });

  it('to a role without REPLICATION', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const { code, stderr } = await as('plain');
    expect([code, stderr]).toEqual([4, expect.stringContaining('alter role plain with replication;')]);
    expect(backupFiles(site)).toEqual([]);
  });

  it('where pg_hba.conf has no line for replication, and allowed with the line that it names', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const hba = path.join(site.server.dataDir, 'pg_hba.conf');
    const before = fs.readFileSync(hba, 'utf8');
    const without = before
      .split('\n')
      .filter((line) => !/^\w+\s+replication/.test(line))
      .join('\n');
    fs.writeFileSync(hba, without);
    await site.db.query('select pg_reload_conf()');
    const { code, stderr } = await as('copier');
    expect([code, stderr]).toEqual([4, expect.stringContaining('pg_hba.conf')]);
    expect(stderr).not.toContain(password);
    const line = /Add the line "([^"]+)"/.exec(stderr)?.[1];
    expect(line).toBe('host replication copier 127.0.0.1/32 scram-sha-256');
    expect(backupFiles(site)).toEqual([]);
    fs.writeFileSync(hba, `${without}\n${line ?? ''}\n`);
    await site.db.query('select pg_reload_conf()');
    const allowed = await as('copier', '--json');
    expect(allowed.code, allowed.stderr).toBe(0);
    expect(allowed.stdout + allowed.stderr).not.toContain(password);
    const { data } = JSON.parse(allowed.stdout) as { data: MadeBackup };
    expect(fs.readFileSync(path.join(site.store, data.place, 'manifest.json'), 'utf8')).not.toContain(
      password,
    );
    fs.writeFileSync(hba, before);
    await site.db.query('select pg_reload_conf()');
  });

  it('to flags that mean nothing to a whole cluster', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    for (const [flag, value] of [
      ['--table', 'public.parts'],
      ['--exclude-data', 'parts'],
    ] as const) {
      const { code, stderr } = await site.create('base', flag, value);
      expect([code, stderr]).toEqual([2, expect.stringContaining(`${flag} means nothing to --kind base`)]);
    }
  });

  it('by a server before 17 for an incremental one', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    if (site.server.major >= 17) return context.skip('this server can make them');
    const { code, stderr } = await site.create('incremental');
    expect([code, stderr]).toEqual([4, expect.stringContaining('incremental backups need PostgreSQL 17')]);
  });

  it('by a managed service, with what to type there', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    await site.db.query('create role rds_superuser');
    for (const kind of ['base', 'snapshot']) {
      const { code, stderr } = await site.create(kind, '--reason', 'Deploy 2026.11.2!');
      expect([code, stderr]).toEqual([4, expect.stringContaining('aws rds create-db-snapshot')]);
      expect(stderr).toContain('deploy-2026-11-2');
    }
    await site.db.query('drop role rds_superuser');
  });

  it('where every walsender is in use', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    await site.db.query('alter system set max_wal_senders = 0');
    await site.server.restart();
    const { code, stderr } = await site.create('base');
    expect([code, stderr]).toEqual([4, expect.stringContaining('max_wal_senders is 0')]);
    await site.db.query('alter system reset max_wal_senders');
    await site.server.restart();
    expect(backupFiles(site).filter((file) => file.includes('lease'))).toEqual([]);
  });
});

describe('a base backup of a standby', () => {
  it('holds its WAL, leaves the database as it is, and opens', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    const site = await startSite();
    const standby = await startStandby(site.server);
    try {
      const rows = await rowsOf(site.db);
      const { code, stdout, stderr } = await site.run(['backup', 'create', '--kind', 'base', '--json'], {
        DATABASE_URL: standby.url,
      });
      expect(code, stderr).toBe(0);
      expect(stderr).toContain('backup list --rebuild');
      const { data } = JSON.parse(stdout) as { data: MadeBackup };
      expect(data.manifest.physical?.wal).toBe('included');
      const there = await site.db.query("select to_regclass('dbops.backup') as name");
      expect(there).toEqual([{ name: null }]);
      const unpacked = unpack({ ...data, folder: path.join(site.store, data.place) });
      expect(verifyUnpacked(unpacked, site.server)).toMatchObject({ code: 0 });
      // What made it a standby is in it, and has to go where it is to be opened.
      fs.rmSync(path.join(unpacked, 'standby.signal'));
      await withRestored(unpacked, site.server, async (db) => expect(await rowsOf(db)).toEqual(rows));
    } finally {
      await standby.stop({ immediate: true });
    }
  });
});

describe('the command for a snapshot on RDS', () => {
  const now = new Date('2026-11-21T03:15:00Z');

  it('names the instance, the region and the reason', () => {
    expect(
      rdsSnapshotCommand('orders.c9akciq32.eu-west-1.rds.amazonaws.com', { reason: 'deploy 12' }, now),
    ).toBe(
      'aws rds create-db-snapshot --db-instance-identifier orders --db-snapshot-identifier dbops-20261121-0315-deploy-12 --region eu-west-1',
    );
    expect(
      rdsSnapshotCommand('a-b.cluster-ro.ap-northeast-2.rds.amazonaws.com', { reason: null }, now),
    ).toContain('create-db-cluster-snapshot --db-cluster-identifier a-b ');
    expect(rdsSnapshotCommand('10.0.0.7', { reason: '-- ' }, now)).toBe(
      'aws rds create-db-snapshot --db-instance-identifier <instance> --db-snapshot-identifier dbops-20261121-0315',
    );
  });
});
